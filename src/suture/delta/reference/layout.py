"""What the patch says of the new file's sections (spec/delta.md §4.4)."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from suture.core.errors import PatchError
from suture.delta.reference.coder import MASK64, Bit, Coder, Number
from suture.delta.reference.image import RELA, SECTION_HEADERS, Image, Section, Span, first_match

_FIELDS: Final = ("type", "flags", "address", "offset", "size", "name", "link", "info", "alignment", "entry_size")
_HIGHEST: Final = 1 << 43


def decode_layout(coder: Coder, old: Image, new_size: int) -> Image:
    """The new file's image, without labels.

    Raises:
        PatchError: a layout that cannot be.
    """
    return _Layout(coder, old, Image(new_size)).run()


class _Layout:
    def __init__(self, coder: Coder, old: Image, new: Image) -> None:
        self.coder, self.old, self.new = coder, old, new
        self.count, self.match = Number(), Number()
        self.as_expected = Bit((1 << 22) - (1 << 17))
        self.plain = Bit()
        self.all_tables = Bit((1 << 22) - (1 << 18))
        self.table = Bit()
        self.same = {name: Bit() for name in _FIELDS}
        self.fields = {name: Number() for name in _FIELDS}
        self.name_shift = 0

    def run(self) -> Image:
        old, new, coder = self.old, self.new, self.coder
        count = self.count.signed(coder) + len(old.sections) & MASK64
        if count > 4096:
            raise PatchError("cannot apply the patch: too many sections")
        expected = 0
        for _ in range(count):
            match = self._match(expected)
            expected = match + 1
            new.sections.append(self._section(match))
        guess = _after(_end_of(old), old.headers_offset, _end_of(new), 8)
        new.headers_offset = guess + self.count.signed(coder) & MASK64
        everything = coder.bit(self.all_tables)
        for t, span in enumerate(old.tables):
            if span and (everything or coder.bit(self.table)):
                new.tables[t] = self._table(t, span)
        self._validate()
        return new

    def _match(self, expected: int) -> int:
        count = len(self.old.sections)
        if self.coder.bit(self.as_expected):
            if expected >= count:
                raise PatchError("cannot apply the patch: a section continues none")
            return expected
        value = self.match.decode(self.coder)
        if value > count:
            raise PatchError("cannot apply the patch: a section continues none")
        return value - 1

    def _section(self, match: int) -> Section:
        was = self.old.sections[match] if match >= 0 else Section()
        s = Section(match=match)
        plain = self.coder.bit(self.plain)
        for name in _FIELDS:
            if name == "address":
                guess = self._address(was)
            elif name == "offset":
                guess = self._offset(was, s.address)
            else:
                guess = getattr(was, name) + (self.name_shift if name == "name" else 0)
            bits = 32 if name in ("name", "type", "link", "info") else 64
            if not plain and not self.coder.bit(self.same[name]):
                guess += self.fields[name].signed(self.coder)
            setattr(s, name, guess & (1 << bits) - 1)
        s.place()
        self.name_shift = s.name - was.name if match >= 0 else 0
        return s

    def _before(self) -> list[tuple[Section, Section]]:
        """Sections before this one that continue an old one, the nearest first, each with its old one."""
        return [(s, self.old.sections[s.match]) for s in reversed(self.new.sections) if s.match >= 0]

    def _address(self, was: Section) -> int:
        if was.loaded:
            for p, q in self._before():
                if p.loaded:
                    p_end = p.address + (0 if p.thread_zeros else p.size)
                    q_end = q.address + (0 if q.thread_zeros else q.size)
                    if was.address == _aligned(q_end, was.alignment):
                        return _aligned(p_end, was.alignment)
                    return was.address + p.address - q.address
        return was.address

    def _offset(self, was: Section, address: int) -> int:
        if was.loaded and was.in_file:
            return address - was.address + was.offset
        for p, q in self._before():
            p_end, q_end = p.offset + p.size * p.in_file, q.offset + q.size * q.in_file
            return _after(q_end, was.offset, p_end, was.alignment)
        return was.offset

    def _table(self, table: int, span: Span) -> Span:
        new, old = self.new, self.old
        if table == SECTION_HEADERS:
            return new.headers_offset, new.headers_offset + 64 * len(new.sections)

        def continues(s: Section) -> bool:
            q = old.sections[s.match]
            return bool(q.in_file and q.size and (q.offset, q.end) == span)

        s = first_match(new.sections, continues)
        if s is None or not s.size:
            raise PatchError("cannot apply the patch: a table without a section")
        return s.offset, s.end

    def _validate(self) -> None:
        for s in self.new.sections:
            if s.address >= _HIGHEST or s.size >= _HIGHEST or (s.in_file and s.size and s.end > self.new.size):
                raise PatchError("cannot apply the patch: a section is out of bounds")
        spans = sorted(t for t in self.new.tables if t)
        if any(a[1] > b[0] for a, b in pairwise(spans)) or any(e > self.new.size for _, e in spans):
            raise PatchError("cannot apply the patch: tables overlap or lie outside the file")
        rela = self.new.tables[RELA]
        if rela and (rela[1] - rela[0]) % 24:
            raise PatchError("cannot apply the patch: a relocation table of broken entries")


def _aligned(value: int, alignment: int) -> int:
    a = alignment if alignment and not alignment & alignment - 1 else 1
    return value + a - 1 & ~(a - 1) & MASK64


def _after(old_end: int, old_start: int, new_end: int, alignment: int) -> int:
    if old_start == _aligned(old_end, alignment):
        return _aligned(new_end, alignment)
    return old_start + new_end - old_end


def _end_of(image: Image) -> int:
    return max((s.end for s in image.sections if s.in_file and s.size), default=0)
