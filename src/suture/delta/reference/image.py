"""An executable as sections, streams and address spaces (spec/delta.md §4.4)."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from suture.core.errors import PatchError

UNLOADED: Final = 1 << 44
RELA, UNWIND_HEADER, SYMBOL_HASH, SECTION_HEADERS = range(4)
Span = tuple[int, int]
_HIGHEST: Final = 1 << 43
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_RELATIVE: Final = 8


@dataclass(slots=True)
class Section:
    """One section header; `virtual` is the address that the engine uses."""

    name: int = 0
    type: int = 0
    flags: int = 0
    address: int = 0
    offset: int = 0
    size: int = 0
    link: int = 0
    info: int = 0
    alignment: int = 0
    entry_size: int = 0
    virtual: int = 0
    label: bytes = b""
    match: int = -1

    @property
    def in_file(self) -> bool:
        return self.type != 8

    @property
    def loaded(self) -> bool:
        return bool(self.flags & 2)

    @property
    def code(self) -> bool:
        return bool(self.flags & 4)

    @property
    def thread_zeros(self) -> bool:
        return bool(self.flags & 0x400) and self.type == 8

    @property
    def end(self) -> int:
        return self.offset + self.size

    def place(self) -> None:
        unloaded = not self.loaded and self.in_file and self.size
        self.virtual = UNLOADED + self.offset if unloaded else self.address

    def packed(self) -> bytes:
        return _SECTION.pack(
            *(self.name, self.type, self.flags, self.address, self.offset, self.size),
            *(self.link, self.info, self.alignment, self.entry_size),
        )


@dataclass(slots=True)
class Image:
    size: int
    sections: list[Section] = field(default_factory=list)
    fixed: bool = False
    low: int = 0
    high: int = 0
    headers_offset: int = 0
    tables: list[Span | None] = field(default_factory=lambda: [None] * 4)

    def find(self, label: bytes) -> Section | None:
        return next((s for s in self.sections if s.label == label and s.in_file and s.size), None)

    def holds(self, address: int) -> bool:
        return self.low <= address < self.high


class Stream:
    """The plain bytes of a file: all but its tables."""

    def __init__(self, image: Image) -> None:
        self.pieces: list[tuple[int, int, int]] = []  # position, offset, size
        self.size = at = 0
        for begin, end in [*sorted(t for t in image.tables if t), (image.size, image.size)]:
            if begin > at:
                self.pieces.append((self.size, at, begin - at))
                self.size += begin - at
            at = end

    def piece_at(self, position: int) -> tuple[int, int, int]:
        return self.pieces[max(bisect_right(self.pieces, (position, 1 << 62, 0)) - 1, 0)]

    def offset_of(self, position: int) -> int:
        start, offset, _ = self.piece_at(position)
        return offset + position - start

    def position_of(self, offset: int) -> int:
        for start, begin, size in self.pieces:
            if begin <= offset < begin + size:
                return start + offset - begin
        return -1


class Space:
    """Addresses of a file's bytes, both ways."""

    def __init__(self, image: Image) -> None:
        mapped = [s for s in image.sections if s.in_file and s.size]
        self._by_address = sorted(mapped, key=lambda s: s.virtual)
        self._by_offset = sorted(mapped, key=lambda s: s.offset)

    def offset_of(self, address: int) -> int:
        i = bisect_right(self._by_address, address, key=lambda s: s.virtual)
        if not i:
            return -1
        s = self._by_address[i - 1]
        return s.offset + address - s.virtual if address - s.virtual < s.size else -1

    def address_of(self, offset: int) -> int:
        i = bisect_right(self._by_offset, offset, key=lambda s: s.offset)
        if not i:
            return offset
        s = self._by_offset[i - 1]
        return s.virtual + offset - s.offset


def parse_elf(data: bytes) -> Image:
    """The old file's image with its tables.

    Raises:
        PatchError: it is no whole x86-64 ELF file.
    """
    image = Image(len(data))
    try:
        _read(data, image)
    except (struct.error, ValueError, IndexError) as error:
        raise PatchError("cannot apply the patch: the old file is not the executable it was made for") from error
    _find_tables(data, image)
    return image


def _read(data: bytes, image: Image) -> None:
    if data[:7] != b"\x7fELF\2\1\1":
        raise ValueError
    kind, machine = struct.unpack_from("<HH", data, 16)
    program_size, program_count, section_size, count, names = struct.unpack_from("<HHHHH", data, 54)
    if kind not in (2, 3) or machine != 62 or program_size != 56 or section_size != 64:
        raise ValueError
    image.fixed = kind == 2
    programs, image.headers_offset = struct.unpack_from("<QQ", data, 32)
    if not 2 <= count <= 4096 or names >= count:
        raise ValueError
    for i in range(count):
        s = Section(*_SECTION.unpack_from(data, image.headers_offset + 64 * i))
        if (s.in_file and s.size and s.end > len(data)) or s.address >= _HIGHEST or s.size >= _HIGHEST:
            raise ValueError
        s.place()
        image.sections.append(s)
    text = image.sections[names]
    if not text.in_file or not text.size:
        raise ValueError
    for s in image.sections:
        if s.name >= text.size:
            raise ValueError
        start = text.offset + s.name
        s.label = data[start : data.index(0, start, text.end)]
    loads = [struct.unpack_from("<IIQQQQQQ", data, programs + 56 * i) for i in range(program_count)]
    spans = [(p[3], p[3] + p[6]) for p in loads if p[0] == 1]
    if not spans or any(begin >= _HIGHEST or end - begin >= _HIGHEST for begin, end in spans):
        raise ValueError
    image.low, image.high = min(s[0] for s in spans), max(s[1] for s in spans)
    if image.low >= image.high:
        raise ValueError


def relocations(data: bytes, begin: int, end: int) -> list[tuple[int, int, int]]:
    """Entries of a relocation table: place, info, addend."""
    return [struct.unpack_from("<QQQ", data, at) for at in range(begin, end - 23, 24)]


def _find_tables(data: bytes, image: Image) -> None:
    def span(label: bytes) -> Span | None:
        s = image.find(label)
        return (s.offset, s.end) if s and s.loaded else None

    rela = image.find(b".rela.dyn")
    if rela and rela.loaded and rela.size % 24 == 0 and rela.type == 4 and _in_order(data, rela):
        image.tables[RELA] = (rela.offset, rela.end)
    header, unwind = span(b".eh_frame_hdr"), span(b".eh_frame")
    if (
        header
        and unwind
        and header[1] - header[0] >= 12
        and unwind[1] - unwind[0] <= 32 << 20
        and data[header[0] : header[0] + 4] == bytes.fromhex("011b033b")
    ):
        image.tables[UNWIND_HEADER] = header
    table, symbols, strings = span(b".gnu.hash"), span(b".dynsym"), span(b".dynstr")
    if table and symbols and strings and symbols[1] - symbols[0] + strings[1] - strings[0] <= 32 << 20:
        shape = hash_shape(data[table[0] : table[1]])
        if shape and shape[0] and shape[2] and shape[3] < 32:
            image.tables[SYMBOL_HASH] = table
    headers = image.headers_offset
    image.tables[SECTION_HEADERS] = (headers, headers + 64 * len(image.sections))
    for t in range(4):
        for k in range(t):
            a, b = image.tables[t], image.tables[k]
            if a and b and a[0] < b[1] and b[0] < a[1]:
                image.tables[t] = None


def _in_order(data: bytes, rela: Section) -> bool:
    last = 0
    for place, info, _ in relocations(data, rela.offset, rela.end):
        if info & 0xFFFFFFFF != _RELATIVE:
            break
        if place < last:
            return False
        last = place
    return True


def hash_shape(table: bytes) -> tuple[int, int, int, int] | None:
    """Buckets, first symbol, bloom words, bloom shift of a .gnu.hash."""
    return struct.unpack_from("<IIII", table) if len(table) >= 16 else None


def first_match(sections: Iterable[Section], good: Callable[[Section], bool]) -> Section | None:
    """The first section that continues an old one and is good."""
    return next((s for s in sections if s.match >= 0 and s.in_file and good(s)), None)
