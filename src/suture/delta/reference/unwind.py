"""References of .eh_frame: pointers to CIEs, code, extents, language data (LSB, "Exception Frames")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from suture.delta.reference.coder import MASK64
from suture.delta.reference.image import Image, Section

_UNWIND: Final = 5
_UNWIND_BACK: Final = 6
_EXTENT: Final = 10


def unwind_references(data: bytes, s: Section, image: Image) -> Iterator[tuple[int, int, int, int]]:
    """Offset, base, target and kind of each."""
    at = s.offset
    while at + 4 <= s.end:
        length = _u32(data, at)
        if length == 0xFFFFFFFF or length > s.end - at - 4:
            return
        if length >= 4:
            yield from _entry(data, s, image, at, length)
        at += 4 + length


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _pointer(data: bytes, s: Section, image: Image, at: int, nonzero: bool) -> Iterator[tuple[int, int, int, int]]:
    value = int.from_bytes(data[at : at + 4], "little", signed=True)
    base = s.virtual + at - s.offset
    if image.holds(base + value & MASK64) and (value or not nonzero):
        yield at, base, base + value & MASK64, _UNWIND


def _entry(data: bytes, s: Section, image: Image, at: int, length: int) -> Iterator[tuple[int, int, int, int]]:
    back = _u32(data, at + 4)
    if back == 0:
        if length >= 9:
            personality = _encodings(data, at, at + 4 + length)[2]
            if personality:
                yield from _pointer(data, s, image, at + personality, False)
        return
    here = at + 4
    base = s.virtual + here - s.offset
    yield here, base, base - back & MASK64, _UNWIND_BACK
    if back > here - s.offset:
        return
    cie = here - back
    cie_length = _u32(data, cie)
    if cie_length < 9 or cie_length > s.end - cie - 4 or _u32(data, cie + 4):
        return
    pc, language, _ = _encodings(data, cie, cie + 4 + cie_length)
    if pc != 0x1B or length < 12:
        return
    yield from _pointer(data, s, image, at + 8, False)
    start = s.virtual + at + 8 - s.offset + int.from_bytes(data[at + 8 : at + 12], "little", signed=True) & MASK64
    extent = _u32(data, at + 12)
    if image.holds(start) and extent and image.holds(start + extent - 1):
        yield at + 12, start, start + extent, _EXTENT
    if language == 0x1B and length >= 17 and data[at + 16] == 4:
        yield from _pointer(data, s, image, at + 17, True)


def _encodings(data: bytes, cie: int, stop: int) -> tuple[int, int, int]:
    """Encodings of pc and language pointer, and where the personality pointer lies in the CIE, or 0."""
    pc, language, personality = 0, 0xFF, 0
    q = cie + 9
    end = data.find(b"\0", q, stop)
    if end < 0 or data[q : q + 1] != b"z":
        return pc, language, personality
    augmentation = data[q + 1 : end]
    q = end + 1
    for _ in range(4):  # alignment factors, return register, augmentation length
        while q < stop and data[q] & 128:
            q += 1
        q += 1
    for letter in augmentation:
        if q >= stop:
            break
        if letter == ord("L"):
            language = data[q]
            q += 1
        elif letter == ord("R"):
            pc = data[q]
            q += 1
        elif letter == ord("P"):
            encoding = data[q]
            q += 1
            if encoding & 15 == 0xB:
                if stop - q >= 4 and encoding & 0x10:
                    personality = q - cie
                q += 4
            else:
                q += 8
    return pc, language, personality
