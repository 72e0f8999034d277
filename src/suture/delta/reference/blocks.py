"""The block list (spec/delta.md §4.6)."""

from __future__ import annotations

from typing import Final

from suture.core.errors import PatchError
from suture.delta.reference.coder import MASK64, Bit, Coder, Number
from suture.delta.reference.map import Block

_MOST_BLOCKS: Final = 1 << 20


def read_blocks(coder: Coder, old_size: int, new_size: int) -> tuple[list[Block], int]:
    """The block list, and how many bytes lie outside of blocks."""
    count = Number().decode(coder)
    if count > min(new_size, _MOST_BLOCKS):
        raise PatchError("cannot apply the patch: too many blocks")
    gaps, sizes, seeks = ([Number() for _ in range(3)] for _ in range(3))
    ways: dict[tuple[int, int, int], Bit] = {}
    recent = [0, 0, 0, 0]
    to = origin = literals = last_way = last_gap = 0
    blocks: list[Block] = []
    for _ in range(count):
        gap = gaps[min(last_way, 2)].decode(coder)
        if gap > new_size - to:
            raise PatchError("cannot apply the patch: a block begins outside the new file")
        start = to + gap
        guesses = [origin + gap, origin, *(start + shift & MASK64 for shift in recent[1:])]
        kind = 0 if gap == 0 else 1 if gap < 8 else 2
        way = 0
        while way < 5 and not coder.bit(ways.setdefault((last_way, kind, way), Bit())):
            way += 1
        place = guesses[way] if way < 5 else guesses[0] + seeks[min(last_gap, 2)].signed(coder) & MASK64
        size = (sizes[int(way != 0) if way < 5 else 2].decode(coder) + 1) & MASK64
        if place > old_size or size > old_size - place or size > new_size - start:
            raise PatchError("cannot apply the patch: a block reaches outside a file")
        blocks.append((start, place, size))
        literals += gap
        to, origin = start + size, place + size
        shift = place - start & MASK64
        k = recent.index(shift) if shift in recent[:3] else 3
        recent = [shift, *recent[:k], *recent[k + 1 :]]
        last_way, last_gap = way, kind
    return blocks, literals + new_size - to
