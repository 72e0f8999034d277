"""The range decoder, adaptive bits and numbers (spec/delta.md §4.2)."""

from __future__ import annotations

from typing import Final

from suture.core.errors import PatchError

MASK32: Final = 2**32 - 1
MASK64: Final = 2**64 - 1
RATES: Final = tuple(131072 // (2 * n + 3) for n in range(1024))
_MOST_PAST: Final = 8


class Bit:
    """The probability of a 1, in 22 bits, and how often it was seen."""

    __slots__ = ("p", "seen")

    def __init__(self, p: int = 1 << 21) -> None:
        self.p = p
        self.seen = 0

    def learn(self, bit: int, limit: int = 255) -> None:
        gap = ((1 << 22) - 1 if bit else 0) - self.p
        self.p += gap * RATES[self.seen] >> 16
        if self.seen < limit:
            self.seen += 1


class Coder:
    """The decoder's side; it reads zeros past the end, a few."""

    __slots__ = ("_code", "_data", "_low", "_past", "_position", "_range", "_shifted")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = self._past = self._low = self._shifted = 0
        self._range = MASK32
        self._code = 0
        for _ in range(4):
            self._code = self._code << 8 | self._next()

    def raw(self, p: int) -> int:
        """A bit whose probability of 1 is p / 65536."""
        bound = (self._range >> 16) * p
        bit = int(self._code < bound)
        if bit:
            self._range = bound
        else:
            self._code -= bound
            self._range -= bound
            self._low = self._low + bound & MASK32
        while self._range < 1 << 24:
            self._low = self._low << 8 & MASK32
            self._shifted += 1
            self._code = (self._code << 8 | self._next()) & MASK32
            self._range = self._range << 8 & MASK32
        return bit

    def bit(self, model: Bit, limit: int = 255) -> int:
        bit = self.raw(min(max(model.p >> 6, 1), 65535))
        model.learn(bit, limit)
        return bit

    def ends_well(self) -> bool:
        """Whether the code ends with the value that encoders choose, and without its zero bytes."""
        value, low = self._low, self._low
        for k in range(31, 0, -1):
            candidate = low + (1 << k) - 1 >> k << k
            if candidate < low + self._range:
                value = candidate
                break
        zeros = 0
        while zeros < 4 and not value >> 8 * zeros & 255:
            zeros += 1
        return low + self._code == value and len(self._data) == 4 + self._shifted - zeros

    def _next(self) -> int:
        if self._position < len(self._data):
            self._position += 1
            return self._data[self._position - 1]
        self._past += 1
        if self._past > _MOST_PAST:
            raise PatchError("cannot apply the patch: it ends too early")
        return 0


class Number:
    """A number of at most 64 bits: its length by a tree, its upper and lowest bits by models, the rest flat."""

    __slots__ = ("_large", "_long", "_lower", "_short", "_upper")

    def __init__(self) -> None:
        self._large = Bit()
        self._short: dict[int, Bit] = {}
        self._long: dict[int, Bit] = {}
        self._upper: dict[tuple[int, int], Bit] = {}
        self._lower: dict[tuple[int, int], Bit] = {}

    def decode(self, coder: Coder) -> int:
        large = coder.bit(self._large)
        depth, tree = (6, self._long) if large else (4, self._short)
        node = 1
        for _ in range(depth):
            node = node << 1 | coder.bit(tree.setdefault(node, Bit()))
        length = node - (1 << depth) + 16 * large
        if length > 64:
            raise PatchError("cannot apply the patch: a number of more than 64 bits")
        if length < 2:
            return length
        value = 1
        for i in range(length - 2, -1, -1):
            from_top = length - 2 - i
            if from_top < 3:
                place = (1 << from_top) - 1 + (value & (1 << from_top) - 1)
                got = coder.bit(self._upper.setdefault((length, place), Bit()))
            elif i < 4:
                got = coder.bit(self._lower.setdefault((min(length, 12), i), Bit()))
            else:
                got = coder.raw(32768)
            value = value << 1 | got
        return value

    def signed(self, coder: Coder) -> int:
        """A zigzag number, modulo 2^64: add it and mask."""
        value = self.decode(coder)
        return (value >> 1) ^ -(value & 1)
