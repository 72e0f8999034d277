"""Tables that are rebuilt from other bytes, and the relocation table (spec/delta.md §4.9)."""

from __future__ import annotations

import struct

from suture.core.errors import PatchError
from suture.delta.reference.coder import MASK64, Bit, Coder, Number
from suture.delta.reference.image import RELA, Image, relocations
from suture.delta.reference.map import CERTAIN, AddressMap


def unwind_header(unwind: bytes, address: int, header: int, size: int) -> bytes:
    """.eh_frame_hdr of the new .eh_frame."""
    entries: list[tuple[int, int]] = []
    at = 0
    while at + 4 <= len(unwind):
        length = int.from_bytes(unwind[at : at + 4], "little")
        if length and (length > len(unwind) - at - 4 or length < 8):
            break
        if length and unwind[at + 4 : at + 8] != bytes(4):
            pc = address + at + 8 + int.from_bytes(unwind[at + 8 : at + 12], "little", signed=True)
            entries.append((_signed(pc - header), _signed(address + at - header)))
        at += 4 + length
    out = struct.pack("<III", 0x3B031B01, address - (header + 4) & 0xFFFFFFFF, len(entries) & 0xFFFFFFFF)
    out += b"".join(struct.pack("<ii", *entry) for entry in sorted(entries))
    return out[:size].ljust(size, b"\0")


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def symbol_hash(shape: tuple[int, int, int, int], symbols: bytes, strings: bytes, size: int) -> bytes:
    """.gnu.hash of the new symbols; all zeros where the shape does not fit."""
    buckets, first, words, shift = shape
    count = len(symbols) // 24
    bloom, start = 16, 16 + 8 * words
    chains = start + 4 * buckets
    if size < 16 or first > count or not buckets or not words or shift > 31 or chains + 4 * (count - first) > size:
        return bytes(size)
    out = bytearray(size)
    struct.pack_into("<IIII", out, 0, *shape)
    previous, budget = -1, 16 * len(strings)
    for i in range(first, count):
        at = int.from_bytes(symbols[24 * i : 24 * i + 4], "little")
        end = strings.find(b"\0", at)
        name = strings[at : end if end >= 0 else len(strings)]
        budget -= len(name)
        if budget < 0:
            return bytes(size)
        h = 5381
        for byte in name:
            h = h * 33 + byte & 0xFFFFFFFF
        word = bloom + 8 * (h // 64 % words)
        bits = int.from_bytes(out[word : word + 8], "little") | 1 << h % 64 | 1 << (h >> shift) % 64
        out[word : word + 8] = bits.to_bytes(8, "little")
        chain = chains + 4 * (i - first)
        if h % buckets != previous:
            struct.pack_into("<I", out, start + 4 * (h % buckets), i)
            if previous >= 0:
                out[chain - 4] |= 1
        struct.pack_into("<I", out, chain, h & ~1)
        previous = h % buckets
        if i + 1 == count:
            out[chain] |= 1
    return bytes(out)


class Relocations:
    """.rela.dyn: every old entry through the map, the relative ones in their new order, and what that gets wrong."""

    def __init__(self, coder: Coder, old: bytes, image: Image, address_map: AddressMap) -> None:
        self._coder, self._map = coder, address_map
        span = image.tables[RELA]
        if span is None:
            raise PatchError("cannot apply the patch: a table without a section")
        self._entries = relocations(old, *span)
        symbols = image.find(b".dynsym")
        self._symbols = symbols.virtual if symbols else None
        self._models: dict[tuple[int, int, int], Bit] = {}
        self._place, self._info, self._addend, self._other = Number(), Number(), Number(), Number()
        relative = 0
        while relative < len(self._entries) and self._entries[relative][1] & 0xFFFFFFFF == 8:
            relative += 1
        places = [address_map(e[0])[0] for e in self._entries[:relative]]
        order = sorted(range(relative), key=lambda i: (places[i], i))
        self._order = order + list(range(relative, len(self._entries)))
        self._next = self._history = 0

    def table(self, size: int) -> bytes:
        out = bytearray()
        last = (0, 8, 0)
        for _ in range(size // 24):
            last = self._entry(last)
            out += struct.pack("<QQQ", *last)
        return bytes(out)

    def _entry(self, last: tuple[int, int, int]) -> tuple[int, int, int]:
        coder = self._coder
        while self._next < len(self._order):
            guess, certainty, addend = self._guess(self._entries[self._order[self._next]])
            what = self._what(certainty)
            self._history = self._history << 1 | int(what != 0)
            if what == 3:
                return self._new(last)
            self._next += 1
            if what == 2:
                continue
            if what == 1:
                guess = (guess[0], guess[1], guess[2] + self._other.signed(coder) & MASK64)
                if guess[1] & 0xFFFFFFFF == 8:
                    self._map.correct(addend, guess[2])
            return guess
        self._history = self._history << 1 | 1
        return self._new(last)

    def _what(self, certainty: int) -> int:
        """0 as guessed, 1 with another addend, 2 left out, 3 a new one before it."""
        key = (certainty, self._history & 7)
        for number, limit in ((0, 1000), (1, 255)):
            if not self._coder.bit(self._models.setdefault((*key, number), Bit()), limit):
                return number
        return 2 + self._coder.bit(self._models.setdefault((*key, 2), Bit()))

    def _new(self, last: tuple[int, int, int]) -> tuple[int, int, int]:
        coder = self._coder
        place = last[0] + self._place.signed(coder) & MASK64
        info = last[1] + self._info.signed(coder) & MASK64
        return place, info, last[2] + self._addend.signed(coder) & MASK64

    def _guess(self, entry: tuple[int, int, int]) -> tuple[tuple[int, int, int], int, int]:
        place, info, addend = entry
        new_place, certain = self._map(place)
        certainty = 0 if certain == CERTAIN else 1
        new_addend, old_addend = addend, 0
        new_info = info
        if info >> 32 and self._symbols is not None:
            symbol = self._map(self._symbols + 24 * (info >> 32))[0]
            start = self._map(self._symbols)[0]
            new_info = info & 0xFFFFFFFF | ((symbol - start & MASK64) // 24 << 32 & MASK64)
        if info & 0xFFFFFFFF == 8:
            new_addend, certain = self._map(addend)
            if certain != CERTAIN:
                certainty = 3 if certainty else 2
            old_addend = addend
        return (new_place, new_info, new_addend), certainty, old_addend
