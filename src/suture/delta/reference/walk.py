"""The walk that gives the new file (spec/delta.md §4.1): the block list, then literals, copies and tables in order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from suture.core.errors import PatchError
from suture.delta.reference.blocks import read_blocks
from suture.delta.reference.coder import MASK64, Coder, Number
from suture.delta.reference.finder import Finder
from suture.delta.reference.image import (
    RELA,
    SECTION_HEADERS,
    SYMBOL_HASH,
    UNWIND_HEADER,
    Image,
    Section,
    Space,
    Stream,
    first_match,
    hash_shape,
    parse_elf,
)
from suture.delta.reference.layout import decode_layout
from suture.delta.reference.map import AddressMap
from suture.delta.reference.models import ChangedModel, LiteralModel, Surroundings, TargetModel, WatchModel
from suture.delta.reference.references import ReferenceValues
from suture.delta.reference.tables import Relocations, symbol_hash, unwind_header

_LARGEST = 1 << 31
_MOST_HOISTED = 32 << 20


def apply(old: bytes, payload: bytes, new_size: int) -> bytes:
    """The new file.

    Args:
        old: the old file's bytes.
        payload: of the executable-aware engine.
        new_size: in bytes, from a signed value.

    Raises:
        PatchError: a malformed payload, or one for another kind of old file.
    """
    if len(payload) < 2 or payload[0] != 1 or payload[1] > 1:
        raise PatchError("cannot apply the patch: a payload of another version")
    if max(len(old), new_size) >= _LARGEST:
        raise PatchError("cannot apply the patch: a file too large for this engine")
    return _Walk(old, Coder(payload[2:]), new_size, bool(payload[1])).run()


@dataclass(slots=True)
class _Run:
    """Of the new stream: position and size; in the new file: offset; the block and its place in the old file."""

    position: int
    size: int
    offset: int
    block: int | None
    start: int
    following: int


class _Walk:
    def __init__(self, old: bytes, coder: Coder, new_size: int, elf: bool) -> None:
        self.old, self.coder, self.new_size, self.elf = old, coder, new_size, elf
        self.old_image = parse_elf(old) if elf else Image(len(old))
        self.new_image = decode_layout(coder, self.old_image, new_size) if elf else Image(new_size)
        self.spaces = Space(self.old_image), Space(self.new_image)
        self.streams = Stream(self.old_image), Stream(self.new_image)
        self.blocks, self.literals = read_blocks(coder, self.streams[0].size, self.streams[1].size)
        self.references = Finder(old, self.old_image, self.spaces[0]).references if elf else []
        self.places = [r.offset for r in self.references]
        self.map = AddressMap((self.old_image, self.new_image), self.spaces, self.streams, self.blocks)
        self.literal, self.targets = LiteralModel(self.literals), TargetModel(self.literals)
        self.changes_left = Number().decode(coder)
        if self.changes_left > new_size:
            raise PatchError("cannot apply the patch: more changed bytes than bytes")
        self.changed, self.watch = ChangedModel(self.changes_left), WatchModel(self.changes_left)
        self.change_gap = Number()
        self.plain_at = self.after_change = self.watched = 0
        self.gaps = (64, 64)
        self.values = ReferenceValues(coder, self.map, self.spaces, self.targets)
        self.gap: int | None = None
        self._next_gap()
        self.out = bytearray()

    def run(self) -> bytes:
        hoisted = self._hoist()
        fixed = [(begin, end, label, -1) for label, (begin, end, _) in hoisted.items()]
        fixed += [(*span, b"", t) for t, span in enumerate(self.new_image.tables) if span]
        whole = bytearray()
        at = 0
        self.out = whole
        for begin, end, label, table in sorted(fixed):
            if begin > at:
                self._walk(at, begin)
            whole += hoisted[label][2] if label else self._table(table, begin, end - begin, hoisted)
            at = end
        if at < self.new_size:
            self._walk(at, self.new_size)
        if self.changes_left:
            raise PatchError("cannot apply the patch: changed bytes are left over")
        if not self.coder.ends_well():
            raise PatchError("cannot apply the patch: it does not end where its code does")
        return bytes(whole)

    # --- parts that come first, because tables follow from them

    def _continues(self, label: bytes) -> Section:
        old = self.old_image.sections
        s = first_match(self.new_image.sections, lambda s: old[s.match].label == label)
        if s is None:
            raise PatchError("cannot apply the patch: a table's source is missing")
        return s

    def _hoist(self) -> dict[bytes, tuple[int, int, bytes]]:
        tables, stream = self.new_image.tables, self.streams[1]
        labels = [b".dynsym", b".dynstr"] if tables[SYMBOL_HASH] else []
        labels += [b".eh_frame"] if tables[UNWIND_HEADER] else []
        spans: dict[bytes, tuple[int, int]] = {}
        for label in labels:
            s = self._continues(label)
            first, last = stream.position_of(s.offset), stream.position_of(s.end - 1)
            if not s.size or first < 0 or last < 0 or last - first != s.size - 1:
                raise PatchError("cannot apply the patch: a table's source is no plain bytes")
            if any(begin < s.end and s.offset < end for begin, end in spans.values()):
                raise PatchError("cannot apply the patch: sections overlap")
            spans[label] = s.offset, s.end
            if sum(end - begin for begin, end in spans.values()) > _MOST_HOISTED:
                raise PatchError("cannot apply the patch: a table's source is too large")
        hoisted = {}
        for label, (begin, end) in spans.items():
            self.out = bytearray()
            self._walk(begin, end)
            hoisted[label] = begin, end, bytes(self.out)
        return hoisted

    def _table(self, table: int, begin: int, size: int, hoisted: dict[bytes, tuple[int, int, bytes]]) -> bytes:
        if table == RELA:
            return Relocations(self.coder, self.old, self.old_image, self.map).table(size)
        if table == SECTION_HEADERS:
            return b"".join(s.packed() for s in self.new_image.sections)
        if table == UNWIND_HEADER:
            address = self._continues(b".eh_frame").virtual
            return unwind_header(hoisted[b".eh_frame"][2], address, self.spaces[1].address_of(begin), size)
        span = self.old_image.tables[SYMBOL_HASH]
        was = hash_shape(self.old[span[0] : span[1]]) if span else None
        if was is None:
            raise PatchError("cannot apply the patch: a table without a section")
        number = Number()
        buckets, first, words, shift = (value + number.signed(self.coder) & 0xFFFFFFFF for value in was)
        return symbol_hash((buckets, first, words, shift), hoisted[b".dynsym"][2], hoisted[b".dynstr"][2], size)

    # --- plain bytes

    def _walk(self, begin: int, end: int) -> None:
        at = self.streams[1].position_of(begin)
        stop, shift = at + end - begin, begin - at
        i = bisect_right(self.blocks, at, key=lambda b: b[0] + b[2])
        while at < stop:
            start = self.blocks[i][0] if i < len(self.blocks) else stop
            if at < start:
                size = min(start, stop) - at
                self._literals(_Run(at, size, at + shift, None, 0, i))
                at += size
                continue
            to, origin, length = self.blocks[i]
            while at < min(stop, to + length):
                position = origin + at - to
                first, offset, piece = self.streams[0].piece_at(position)
                size = min(min(stop, to + length) - at, first + piece - position)
                self._copy(_Run(at, size, at + shift, i, offset + position - first, i))
                at += size
            if at == to + length:
                i += 1

    def _old(self, position: int) -> int:
        stream = self.streams[0]
        return self.old[stream.offset_of(position)] if 0 <= position < stream.size else 0

    def _before(self) -> bytes:
        return bytes(self.out[-64:]).rjust(64, b"\0")

    def _in_code(self, offset: int) -> bool:
        return any(s.in_file and s.code and s.offset <= offset < s.end for s in self.new_image.sections)

    def _literals(self, r: _Run) -> None:
        forward = backward = 0
        if r.following:
            forward = self.blocks[r.following - 1][1] - self.blocks[r.following - 1][0]
        if r.following < len(self.blocks):
            backward = self.blocks[r.following][1] - self.blocks[r.following][0]
        code = self._in_code(r.offset)
        self.literal.begin_run(self._before(), code)
        i = 0
        while i < r.size:
            p = r.position + i
            s = Surroundings(
                self._before(),
                self._old(p + forward),
                self._old(p + forward + 1),
                self._old(p + forward - 1),
                self._old(p + backward),
                code,
                r.offset + i,
            )
            progress = self.literal.at_reference(s.before) if code and r.size - i >= 4 else None
            if progress is None:
                self.out.append(self.literal.code(self.coder, s))
                i += 1
                continue
            call = int(progress.tail == 0 and progress.opcode == 0xE8 and progress.field == 8)
            following = self.spaces[1].address_of(s.offset) + 4 + progress.tail
            guesses = [self._suggested(p + shift, s.before[-1], progress.tail) for shift in (forward, backward)]
            target = self.targets.code(self.coder, call, guesses, following)
            for k, byte in enumerate((target - following & 0xFFFFFFFF).to_bytes(4, "little")):
                s.before, s.aligned = self._before(), self._old(p + forward + k)
                self.literal.accept(byte, s)
                self.out.append(byte)
            i += 4

    def _suggested(self, position: int, last: int, tail: int) -> int | None:
        stream = self.streams[0]
        if position < 1 or position + 4 > stream.size or self._old(position - 1) != last:
            return None
        value = int.from_bytes(bytes(self._old(position + k) for k in range(4)), "little", signed=True)
        target = self.spaces[0].address_of(stream.offset_of(position)) + 4 + tail + value & MASK64
        return self.map(target)[0] if self.old_image.holds(target) else None

    def _copy(self, r: _Run) -> None:
        k = bisect_left(self.places, r.start)
        at = 0
        while at < r.size:
            reference = self.references[k] if k < len(self.references) else None
            if reference is None or reference.offset + reference.size > r.start + r.size:
                self._plain(r, at, r.size - at)
                return
            skip = reference.offset - r.start
            self._plain(r, at, skip - at)
            self.out += self.values.value(r.offset + skip, reference)
            at = skip + reference.size
            k += 1
            while k < len(self.references) and self.references[k].offset < r.start + at:
                k += 1

    def _next_gap(self) -> None:
        self.watched = 0
        self.gap = self.change_gap.decode(self.coder) if self.changes_left else None

    def _plain(self, r: _Run, skip: int, size: int) -> None:
        end = skip + size
        while skip < end:
            if self.watched:
                self._watch(r, skip)
                skip += 1
                continue
            part = end - skip if self.gap is None else min(end - skip, self.gap)
            self.out += self.old[r.start + skip : r.start + skip + part]
            skip += part
            self.plain_at += part
            if self.gap is not None:
                self.gap -= part
                if self.gap == 0 and skip < end:
                    self._change(r, skip)
                    skip += 1

    def _watch(self, r: _Run, skip: int) -> None:
        at, offset = r.start + skip, r.offset + skip
        sections = self.new_image.sections
        section = next((i for i, s in enumerate(sections) if s.in_file and s.offset <= offset < s.end), len(sections))
        distance = WatchModel.WATCHED - self.watched
        place = (offset, section & 63)
        old = self.old[at : at + 3]
        if self.watch.code(self.coder, old, self._before(), distance, self.gaps, self.changed.last, place):
            self._change(r, skip)
            return
        self.out.append(self.old[at])
        self.plain_at += 1
        self.watched -= 1
        if not self.watched:
            self._next_gap()

    def _change(self, r: _Run, skip: int) -> None:
        at, offset = r.start + skip, r.offset + skip
        following = self.old[at + 1] if at + 1 < len(self.old) else 0
        s = Surroundings(self._before(), self.old[at], following, code=self._in_code(offset), offset=offset)
        self.out.append(self.changed.code(self.coder, s))
        self.gaps = (self.plain_at - self.after_change, self.gaps[0])
        self.plain_at += 1
        self.after_change = self.plain_at
        self.gap = None
        self.changes_left -= 1
        self.watched = WatchModel.WATCHED if self.changes_left else 0
