"""The one door to the native kernel (`suture.delta._kernel`, native/kernel.cc).

Each function there has a plain Python reference here that must agree bit for bit. A missing or disagreeing kernel is
an error: it never falls back in silence.
"""

from __future__ import annotations

from typing import Final

from suture.core.errors import HostError

KERNEL_VERSION: Final = 1
_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_SAMPLES: Final = (b"", b"a", b"foobar", bytes(range(256)) * 3)


def fnv1a(data: bytes) -> int:
    """FNV-1a, 64 bit (Fowler, Noll, Vo; draft-eastlake-fnv §2): the reference of the kernel's own."""
    value = _FNV_OFFSET
    for byte in data:
        value = (value ^ byte) * _FNV_PRIME % 2**64
    return value


def native_fnv1a(data: bytes) -> int:
    """The kernel's FNV-1a.

    Raises:
        HostError: the kernel is missing.
    """
    try:
        from suture.delta import _kernel
    except ImportError as error:
        raise HostError(f"cannot load the native kernel: {error}", advice="install Suture again") from error
    return int(_kernel.self_test(data))


def self_test() -> int:
    """Compare kernel and reference.

    Returns:
        The kernel's version.

    Raises:
        HostError: the kernel is missing, of another version, or disagrees.
    """
    for sample in _SAMPLES:
        if native_fnv1a(sample) != fnv1a(sample):
            raise HostError(
                "cannot use the native kernel: it disagrees with its reference", advice="install Suture again"
            )
    from suture.delta import _kernel

    version = int(_kernel.kernel_version)
    if version != KERNEL_VERSION:
        raise HostError(
            f"cannot use the native kernel: its version is {version}, not {KERNEL_VERSION}",
            advice="install Suture again",
        )
    return version
