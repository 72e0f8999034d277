"""The address map of the block list, and what corrections teach (spec/delta.md §4.6)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import Final

from suture.delta.reference.coder import MASK64
from suture.delta.reference.image import UNLOADED, Image, Space, Stream

CERTAIN, GUESSED, LEARNT = range(3)
_MOST_LESSONS: Final = 1 << 18
Block = tuple[int, int, int]
"""Position in the new stream, position in the old one, size."""


class AddressMap:
    """Where old addresses went."""

    def __init__(
        self,
        images: tuple[Image, Image],
        spaces: tuple[Space, Space],
        streams: tuple[Stream, Stream],
        blocks: list[Block],
    ) -> None:
        self._old = images[0]
        self._old_space, self._new_space = spaces
        self._old_stream, self._new_stream = streams
        self._moves = _moves(blocks)
        self._ends = [end for _, end, _ in self._moves]
        self._shifts = [0] * len(self._old.sections)
        known: set[int] = set()
        for s in images[1].sections:
            if s.match >= 0 and s.match not in known:
                known.add(s.match)
                self._shifts[s.match] = s.virtual - self._old.sections[s.match].virtual
        self._lessons: dict[int, int] = {}
        self._guesses: dict[int, int] = {}
        self._guess_keys: list[int] = []

    def __call__(self, address: int) -> tuple[int, int]:
        """The new address, and CERTAIN, GUESSED or LEARNT."""
        address &= MASK64
        if address in self._lessons:
            return self._lessons[address], LEARNT
        found = self._of_block(address)
        if found and found[1] is None:
            return found[0], CERTAIN
        i = bisect_right(self._guess_keys, address)
        if i:
            key = self._guess_keys[i - 1]
            if not found or found[1] is None or address - key < found[1]:
                return address + self._guesses[key] & MASK64, GUESSED
        if found:
            return found[0], GUESSED
        for s, shift in zip(self._old.sections, self._shifts, strict=True):
            there = not s.thread_zeros if s.loaded else s.virtual >= UNLOADED
            if there and 0 <= address - s.virtual < s.size:
                return address + shift & MASK64, GUESSED
        return address, GUESSED

    def end(self, address: int) -> tuple[int, int]:
        """One past where the last byte went."""
        new, certainty = self(address - 1)
        return new + 1 & MASK64, certainty

    def confirm(self, old: int, new: int) -> None:
        """A guess was right."""
        old &= MASK64
        if len(self._guesses) < _MOST_LESSONS:
            if old not in self._guesses:
                insort(self._guess_keys, old)
            self._guesses[old] = new - old & MASK64

    def correct(self, old: int, new: int) -> None:
        """A prediction was wrong."""
        if len(self._lessons) < _MOST_LESSONS:
            self._lessons[old & MASK64] = new & MASK64
        self.confirm(old, new)

    def _of_block(self, address: int) -> tuple[int, int | None] | None:
        """The new address by the block that holds the old one, or by the last one before it with the distance."""
        offset = self._old_space.offset_of(address)
        position = self._old_stream.position_of(offset) if offset >= 0 else -1
        if position < 0:
            return None
        i = bisect_right(self._ends, position)
        distance = None
        if i == len(self._moves) or self._moves[i][0] > position:
            if not i:
                return None
            i -= 1
            distance = position - self._moves[i][1] + 1
        to = position + self._moves[i][2]
        if not 0 <= to < self._new_stream.size:
            return None
        return self._new_space.address_of(self._new_stream.offset_of(to)), distance


def _moves(blocks: list[Block]) -> list[tuple[int, int, int]]:
    """Begin and end in the old stream, and shift; where blocks overlap, the longer and then the earlier one counts."""
    taken: list[tuple[int, int, int]] = []
    for to, start, size in sorted(blocks, key=lambda b: -b[2]):
        begin, end, shift = start, start + size, to - start
        i = bisect_left(taken, (begin + 1, 0, 0))
        if i:
            begin = max(begin, taken[i - 1][1])
        while begin < end:
            limit = min(end, taken[i][0]) if i < len(taken) else end
            if begin < limit:
                taken.insert(i, (begin, limit, shift))
                i += 1
            if i == len(taken) or taken[i][0] >= end:
                break
            begin = taken[i][1]
            i += 1
    return taken
