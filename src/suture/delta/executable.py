"""The executable-aware engine (spec/delta.md §4): old bytes are copied, and every address in them is predicted.

The work is the kernel's; this module is the engine's face to the registry, and says where a payload's bytes go. A file
that is no x86-64 ELF goes through the same engine without references.
"""

from __future__ import annotations

from dataclasses import dataclass

from suture.delta import kernel
from suture.delta.buffers import Output


@dataclass(frozen=True, slots=True)
class Share:
    """What one part of a payload takes.

    Attributes:
        group: "part" for a part of the format, "kind" for a kind of reference, "section" for a use in a section.
        name: the part, the kind, or the use.
        section: index of the new file's section, for that group; one past the last for bytes in none; else None.
        count: how many blocks, bytes, references or entries of it there are.
        wrong: for kinds: how many were predicted wrong; else None.
        size: bytes of the payload, to a fraction of a bit.
    """

    group: str
    name: str
    section: int | None
    count: int
    wrong: int | None
    size: float


def encode(old: memoryview, new: memoryview, _effort: int) -> bytes | None:
    """The payload, or None where there is no old file or the new one is mostly new."""
    if not len(old) or not len(new):
        return None
    return kernel.encode_executable(old, new) or None


def apply(old: memoryview, payload: memoryview, output: Output, new_size: int) -> None:
    """Give the new bytes.

    Raises:
        PatchError: a malformed payload, or one for another kind of old file.
    """
    kernel.apply_executable(old, payload, new_size, output)


def explain(old: memoryview, payload: memoryview, new_size: int) -> tuple[Share, ...]:
    """Where the bytes of a payload go.

    Raises:
        PatchError: as `apply`.
    """
    return tuple(
        Share(
            group,
            name,
            number if group == "section" else None,
            count,
            number if group == "kind" else None,
            bits / 8,
        )
        for group, number, name, count, bits in kernel.account_executable(old, payload, new_size)
    )
