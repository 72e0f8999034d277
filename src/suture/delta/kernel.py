"""The one door to the native kernel (`suture.delta._kernel`, native/kernel.cc).

Each function there has a plain Python reference here that must agree bit for bit. A missing or disagreeing kernel is
an error: it never falls back in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from suture.core.errors import HostError, PatchError
from suture.delta.buffers import Output

if TYPE_CHECKING:
    from types import ModuleType

KERNEL_VERSION: Final = 2
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
    return int(_kernel().self_test(data))


def encode_executable(old: memoryview, new: memoryview) -> bytes:
    """A payload of the executable-aware engine, or nothing where it has none to offer (a file too large or too new).

    Raises:
        HostError: the kernel is missing.
    """
    return bytes(_kernel().encode(old, new))


def apply_executable(old: memoryview, payload: memoryview, new_size: int, output: Output) -> None:
    """Give the new bytes of a payload to `output`, a chunk at a time.

    Raises:
        PatchError: a malformed payload, or one made for another kind of old file.
        HostError: the kernel is missing.
    """
    kernel = _kernel()
    try:
        kernel.apply(old, payload, new_size, output)
    except (kernel.MalformedError, MemoryError) as error:
        raise PatchError(f"cannot apply the patch: {error}") from error


def account_executable(old: memoryview, payload: memoryview, new_size: int) -> list[tuple[str, int, str, int, float]]:
    """Where the bits of a payload go: rows of group, section or wrong ones, name, count, bits.

    Raises:
        PatchError: as `apply_executable`.
        HostError: the kernel is missing.
    """
    kernel = _kernel()
    try:
        return list(kernel.account(old, payload, new_size))
    except (kernel.MalformedError, MemoryError) as error:
        raise PatchError(f"cannot explain the patch: {error}") from error


def _kernel() -> ModuleType:
    try:
        from suture.delta import _kernel as kernel
    except ImportError as error:
        raise HostError(f"cannot load the native kernel: {error}", advice="install Suture again") from error
    return kernel


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
    version = int(_kernel().kernel_version)
    if version != KERNEL_VERSION:
        raise HostError(
            f"cannot use the native kernel: its version is {version}, not {KERNEL_VERSION}",
            advice="install Suture again",
        )
    return version
