"""The reference finder, version 1, as a list (spec/delta.md §4.5)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from suture.delta.reference.coder import MASK64
from suture.delta.reference.image import Image, Section, Space, relocations
from suture.delta.reference.instruction import decode
from suture.delta.reference.unwind import unwind_references


class Kind(IntEnum):
    BRANCH = 0
    RIP = 1
    JUMP_TABLE = 2
    WORD64 = 3
    WORD32 = 4
    UNWIND = 5
    UNWIND_BACK = 6
    INDEX24 = 7
    STRING_INDEX = 8
    SLOT = 9
    EXTENT = 10


@dataclass(slots=True)
class Reference:
    """`offset` in the old file; `base`, `target`: old addresses; `size` in bytes."""

    offset: int
    base: int
    target: int
    size: int
    kind: Kind


_WORDS: Final = (b".data", b".data.rel.ro", b".init_array", b".fini_array", b".got", b".got.plt", b".tdata")
_GO_WORDS: Final = (b".noptrdata", b".itablink")
_LOOSE: Final = (b".debug_info", b".debug_loc", b".debug_ranges", b".debug_aranges", b".debug_line", b".debug_addr")
_POINTER_TAGS: Final = frozenset(
    (*range(3, 8), 12, 13, 23, 25, 26, 32, 36, *range(0x6FFFFEF5, 0x6FFFFF00), 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFE)
)


class Finder:
    """Finds every reference of an image, in the order of the file."""

    def __init__(self, data: bytes, image: Image, space: Space) -> None:
        self.data, self.image, self.space = data, image, space
        self.rodata, self.text = image.find(b".rodata"), image.find(b".text")
        self.slots, self.symbols = image.find(b".rela.plt"), image.find(b".dynsym")
        self.evident: set[int] = set()
        self.named: set[int] = set()
        regions = self._regions()
        found: list[tuple[Section, list[Reference]]] = []
        later: list[Section] = []
        for section, find in regions:
            if find is None:
                later.append(section)
            else:
                found.append((section, list(find(section))))
        marked = self._marked() if not image.fixed else set()
        for section in later:
            if section is self.rodata and not image.fixed:
                found.append((section, list(self._tables(section))))
            else:
                found.append((section, list(self._words(section, marked))))
        self.references = [r for _, rs in sorted(found, key=lambda f: f[0].offset) for r in rs]

    def _regions(self) -> list[tuple[Section, Callable[[Section], Iterator[Reference]] | None]]:
        chosen: list[tuple[Section, Callable[[Section], Iterator[Reference]] | None]] = []
        for s in self.image.sections:
            if not s.in_file or not s.size:
                continue
            if s.code:
                chosen.append((s, self._code))
            elif s is self.image.find(b".eh_frame") and s.loaded:
                chosen.append((s, self._unwind))
            elif s.type in (2, 11):
                chosen.append((s, self._symbols))
            elif s.label == b".rela.plt" and s.type == 4:
                chosen.append((s, self._slots))
            elif s.label in _WORDS or s.label in _GO_WORDS or s is self.rodata:
                chosen.append((s, None))
            elif s.label in _LOOSE:
                chosen.append((s, self._loose))
            elif s.label == b".dynamic":
                chosen.append((s, self._dynamic))
        kept, end = [], 0
        for section, find in sorted(chosen, key=lambda c: c[0].offset):
            if section.offset >= end:
                kept.append((section, find))
                end = section.end
        return kept

    def _u32(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 4], "little")

    def _u64(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 8], "little")

    def _i32(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 4], "little", signed=True)

    def _absolute(self, value: int) -> bool:
        return self.image.fixed and self.image.low + 0x1000 <= value < self.image.high

    def _code(self, s: Section) -> Iterator[Reference]:
        at, number = s.offset, 0
        recent: list[tuple[int, int]] = []
        tables = self.rodata is not None and not self.image.fixed
        while at < s.end:
            i = decode(self.data, at, s.end)
            after = s.virtual + at - s.offset + i.size
            if i.rip:
                target = after + self._i32(at + i.rip) & MASK64
                if self.image.holds(target):
                    yield Reference(at + i.rip, after, target, 4, Kind.RIP)
                    if tables:
                        self._name(target, i.lea, number, recent)
            elif i.table_load and tables:
                self.evident.update(t for t, n in recent[-8:] if t and number - n < 12)
            if i.absolute and self._absolute(self._u32(at + i.absolute)):
                yield Reference(at + i.absolute, 0, self._u32(at + i.absolute), 4, Kind.WORD32)
            if i.relative:
                target = after + self._i32(at + i.relative) & MASK64
                if self.image.holds(target):
                    yield Reference(at + i.relative, after, target, 4, Kind.BRANCH)
            if i.immediate:
                value = self._u32(at + i.immediate)
                if self.slots and s.label == b".plt" and i.opcode == 0x68:
                    if value * 24 < self.slots.size:
                        base = self.slots.virtual
                        yield Reference(at + i.immediate, base, base + 24 * value, 4, Kind.INDEX24)
                elif self._absolute(value):
                    yield Reference(at + i.immediate, 0, value, 4, Kind.WORD32)
            at += i.size
            number += 1

    def _name(self, target: int, lea: bool, number: int, recent: list[tuple[int, int]]) -> None:
        assert self.rodata is not None  # noqa: S101  # the caller looked
        if 0 <= target - self.rodata.virtual < self.rodata.size and not target & 3:
            self.named.add(target)
            if lea:
                recent.append((target, number))

    def _tables(self, s: Section) -> Iterator[Reference]:
        if not self.text:
            return
        text = self.text
        for base in sorted(self.named | self.evident):
            evident = base in self.evident
            found: list[Reference] = []
            address = base
            while address + 4 <= s.virtual + s.size and len(found) < 16384:
                if address != base and (address in self.named or address in self.evident):
                    break
                offset = s.offset + address - s.virtual
                target = base + self._i32(offset) & MASK64
                in_text = 0 <= target - text.virtual < text.size
                if not in_text and not (evident and 0 <= target - s.virtual < s.size):
                    break
                if not evident and found and abs(target - found[0].target) > 1 << 20:
                    break
                found.append(Reference(offset, base, target, 4, Kind.JUMP_TABLE))
                address += 4
            if found and (evident or len(found) >= 4):
                yield from found

    def _unwind(self, s: Section) -> Iterator[Reference]:
        for offset, base, target, kind in unwind_references(self.data, s, self.image):
            yield Reference(offset, base, target, 4, Kind(kind))

    def _symbols(self, s: Section) -> Iterator[Reference]:
        for at in range(s.offset, s.end - 23, 24):
            name, info, _, section, value, size = struct.unpack_from("<IBBHQQ", self.data, at)
            if name and s.link < len(self.image.sections):
                strings = self.image.sections[s.link]
                if strings.in_file and name < strings.size:
                    yield Reference(at, strings.virtual, strings.virtual + name, 4, Kind.STRING_INDEX)
            if not value or not section or section >= 0xFF00 or info & 15 == 6 or not self.image.holds(value):
                continue
            yield Reference(at + 8, 0, value, 8, Kind.WORD64)
            if size and size < 1 << 32 and self.image.holds(value + size - 1):
                yield Reference(at + 16, value, value + size, 8, Kind.EXTENT)

    def _slots(self, s: Section) -> Iterator[Reference]:
        for at in range(s.offset, s.end - 23, 24):
            yield Reference(at, 0, self._u64(at), 8, Kind.SLOT)
            index = self._u32(at + 12)
            if self.symbols and index and index * 24 < self.symbols.size:
                base = self.symbols.virtual
                yield Reference(at + 12, base, base + 24 * index, 4, Kind.INDEX24)

    def _dynamic(self, s: Section) -> Iterator[Reference]:
        for at in range(s.offset, s.end - 15, 16):
            if self._u64(at) in _POINTER_TAGS and self.image.holds(self._u64(at + 8)):
                yield Reference(at + 8, 0, self._u64(at + 8), 8, Kind.WORD64)

    def _loose(self, s: Section) -> Iterator[Reference]:
        at = s.offset
        while at + 8 <= s.end:
            value = self._u64(at)
            if self.image.fixed:
                good = self._absolute(value)
            else:
                good = self.text is not None and 0 <= value - self.text.virtual < self.text.size
            if good:
                yield Reference(at, 0, value, 8, Kind.WORD64)
            at += 8 if good else 1

    def _words(self, s: Section, marked: set[int]) -> Iterator[Reference]:
        for at in range((s.offset + 7) & ~7, s.end - 7, 8):
            value = self._u64(at)
            if (self.image.fixed and not self._absolute(value)) or (not self.image.fixed and at not in marked):
                continue
            if value and self.image.holds(value):
                yield Reference(at, 0, value, 8, Kind.WORD64)

    def _marked(self) -> set[int]:
        """File offsets of words that a relocation makes addresses."""
        addresses: list[int] = []
        for s in self.image.sections:
            if not s.in_file:
                continue
            slots = s.label == b".rela.plt"
            if s.type == 4 and (slots or s.label == b".rela.dyn"):
                entries = relocations(self.data, s.offset, s.end)
                addresses += [place for place, info, _ in entries if slots or info & 0xFFFFFFFF == 8]
            elif s.type == 19:
                addresses += self._packed(s)
        offsets = (self.space.offset_of(a) for a in addresses)
        return {o for o in offsets if o > 0 and not o & 7}

    def _packed(self, s: Section) -> Iterator[int]:
        where = 0
        for at in range(s.offset, s.end - 7, 8):
            entry = self._u64(at)
            if not entry & 1:
                yield entry
                where = entry + 8 & MASK64
            else:
                yield from (where + 8 * i & MASK64 for i in range(63) if entry >> (i + 1) & 1)
                where = where + 63 * 8 & MASK64
