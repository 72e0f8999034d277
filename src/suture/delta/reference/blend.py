"""Context mixing of bytes and flags, in integers (spec/delta.md §4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from suture.delta.reference.coder import MASK32, RATES, Bit, Coder

_KNOTS: Final = (
    *(22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911),
    *(53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514),
)
SQUASH: Final = tuple(
    (_KNOTS[x >> 7] * (128 - (x & 127)) + _KNOTS[(x >> 7) + 1] * (x & 127) + 64) >> 7 for x in range(4096)
)
_FIRST_WEIGHT: Final = 18000
_LIMIT: Final = 16


def _stretches() -> tuple[int, ...]:
    table, x = [], 0
    for p in range(4096):
        while x < 4095 and SQUASH[x] < p * 16 + 8:
            x += 1
        table.append(x - 2048)
    return tuple(table)


STRETCH: Final = _stretches()


def hash_of(a: int, b: int) -> int:
    """The hash that makes contexts; 32 bits."""
    h = ((a & MASK32) * 0x9E3779B1 ^ ((b & MASK32) + 0x7F4A7C15 & MASK32) * 0x85EBCA6B) & MASK32
    h ^= h >> 15
    h = h * 0xC2B2AE35 & MASK32
    return h ^ h >> 13


class Contexts:
    """Collects the hashes of one byte's contexts; each is salted with its number."""

    __slots__ = ("hashes",)

    def __init__(self) -> None:
        self.hashes: list[int] = []

    def add(self, a: int, b: int) -> None:
        self.hashes.append(hash_of(a, b + len(self.hashes) * 0x01000193))


class Blend:
    """A mixture of hashed contexts and one predicted bit, weighed by three mixers."""

    def __init__(self, contexts: int, slots_log: int, fresh: int = 32768) -> None:
        self._n = contexts + 2
        self._shift = 32 - slots_log
        self._fresh = fresh
        self._slots: dict[int, int] = {}
        self._weights: tuple[dict[int, list[int]], ...] = ({}, {}, {})
        self._match = [Bit() for _ in range(16)]
        self._bits = 0

    def byte(self, coder: Coder, hashes: Sequence[int], expected: int, confidence: int, first: int, second: int) -> int:
        partial = 1
        for i in range(7, -1, -1):
            agrees = expected >= 0 and (expected | 256) >> (i + 1) == partial
            bit = self._bit(coder, hashes, partial, expected >> i & 1 if agrees else -1, confidence, first, second)
            partial = partial << 1 | bit
        return partial & 255

    def flag(self, coder: Coder, hashes: Sequence[int], first: int, second: int) -> int:
        return self._bit(coder, hashes, 1, -1, 0, first, second)

    def _bit(
        self, coder: Coder, hashes: Sequence[int], partial: int, expected: int, confidence: int, first: int, second: int
    ) -> int:
        x: list[int] = []
        used: list[int] = []
        for context in hashes:
            h = hash_of(context, partial)
            slot = self._slots.get(h >> self._shift, self._fresh)
            if ((slot >> 22) ^ h) & 1023:
                slot = (h & 1023) << 22 | self._fresh
            self._slots[h >> self._shift] = slot
            used.append(h >> self._shift)
            x.append(STRETCH[(slot & 65535) >> 4])
        match = self._match[0 if expected < 0 else confidence]
        s = STRETCH[match.p >> 10]
        x += (0 if expected < 0 else s if expected else -s, 256)
        weights = [
            table.setdefault(key, [_FIRST_WEIGHT] * self._n)
            for table, key in zip(self._weights, (first, second, partial), strict=True)
        ]
        sums = [min(max(sum(a * b for a, b in zip(x, w, strict=True)) >> 16, -2047), 2047) for w in weights]
        bit = coder.raw(SQUASH[(sum(sums) * 21845 >> 16) + 2048])
        rate = self._rate()
        for w, d in zip(weights, sums, strict=True):
            error = ((bit << 16) - SQUASH[d + 2048]) * rate
            for i, a in enumerate(x):
                w[i] += (a * error + (1 << 19)) >> 20
        self._bits += 1
        for place in used:
            self._learn(place, bit)
        if expected >= 0:
            match.learn(int(bit == expected))
        return bit

    def _rate(self) -> int:
        return 100 if self._bits < 256 else 60 if self._bits < 4096 else 28 if self._bits < 65536 else 18

    def _learn(self, place: int, bit: int) -> None:
        slot = self._slots[place]
        p, seen = slot & 65535, slot >> 16 & 63
        q = p + (((65535 if bit else 0) - p) * RATES[seen] >> 16)
        self._slots[place] = (slot & 0xFFC00000) | min(seen + 1, max(seen, _LIMIT)) << 16 | q
