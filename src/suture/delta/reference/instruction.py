"""The length of one x86-64 instruction and its 32-bit operands, by table (spec/delta.md §4.5)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

_M, _I8, _IZ, _BAD, _REL, _REL8, _IW, _AM, _PRE = (1 << n for n in range(9))


def _one_byte() -> list[int]:
    t = [0] * 256
    for b in range(0, 0x40, 8):
        t[b : b + 8] = [_M, _M, _M, _M, _I8, _IZ, _BAD, _BAD]
    for codes, flags in (
        ((0x27, 0x2F, 0x37, 0x3F, 0x60, 0x61, 0x82, 0x9A, 0xD4, 0xD5, 0xD6, 0xEA, 0xCE), _BAD),
        ((0x63, *range(0x84, 0x90), *range(0xD0, 0xD4), *range(0xD8, 0xE0), 0xF6, 0xF7, 0xFE, 0xFF), _M),
        ((0x6B, 0x80, 0x83, 0xC0, 0xC1, 0xC6), _M | _I8),
        ((0x69, 0x81, 0xC7), _M | _IZ),
        ((0x68, 0xA9, *range(0xB8, 0xC0)), _IZ),
        ((0x6A, 0xA8, *range(0xB0, 0xB8), 0xCD, *range(0xE0, 0xE8)), _I8),
        ((*range(0x70, 0x80), 0xEB), _REL8),
        (range(0xA0, 0xA4), _AM),
        ((0xC2, 0xCA), _IW),
        ((0xC8,), _IW | _I8),
        ((0xE8, 0xE9), _REL),
        ((0x66, 0xF2, 0xF3, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65, 0x67, 0xF0), _PRE),
    ):
        for code in codes:
            t[code] = flags
    return t


def _two_byte() -> list[int]:
    t = [_M] * 256
    none = (4, 5, 6, 7, 8, 9, 0xA, 0xB, 0xC, 0xE, 0x77, 0xA0, 0xA1, 0xA2, 0xA8, 0xA9, 0xAA)
    for code in (*none, *range(0x30, 0x38), *range(0xC8, 0xD0)):
        t[code] = 0
    for code in range(0x80, 0x90):
        t[code] = _REL
    for code in (0x70, 0x71, 0x72, 0x73, 0xA4, 0xAC, 0xBA, 0xC2, 0xC4, 0xC5, 0xC6, 0x0F):
        t[code] |= _I8
    return t


_ONE: Final = _one_byte()
_TWO: Final = _two_byte()
_MOST_PREFIXES: Final = 14


class Field(IntEnum):
    PREFIX = 0
    OPCODE = 1
    MODRM = 2
    SIB = 3
    DISP8 = 4
    DISP32 = 5
    RIP = 6
    RELATIVE8 = 7
    RELATIVE32 = 8
    IMM8 = 9
    IMM32 = 10
    IMM64 = 11
    OTHER = 12


@dataclass(slots=True)
class Progress:
    """What the next byte of an instruction is, of which some bytes are known, and what they hold so far.

    `size`: bytes of the whole instruction, once `done`. `relative` … `absolute`: offsets of fields, or 0.
    """

    field: Field = Field.PREFIX
    index: int = 0
    opcode: int = 0
    map: int = 0
    modrm: int = 0
    tail: int = 0
    done: bool = False
    bad: bool = False
    size: int = 0
    relative: int = 0
    rip: int = 0
    immediate: int = 0
    absolute: int = 0
    table_load: bool = False
    lea: bool = False


class _Reader:
    """Steps over fields; stops at the first whose bytes are not all known."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.r = Progress()

    def stops(self, field: Field, size: int) -> bool:
        if len(self.data) < self.at + size:
            self.r.field, self.r.index = field, len(self.data) - self.at
            return True
        self.at += size
        return False


def progress_of(data: bytes) -> Progress:
    """Reads what is known of one instruction."""
    s = _Reader(data)
    r = s.r
    narrow = wide = False
    while s.at < len(data) and s.at < _MOST_PREFIXES and _ONE[data[s.at]] == _PRE:
        narrow |= data[s.at] == 0x66
        s.at += 1
    if s.at < len(data) and data[s.at] & 0xF0 == 0x40:
        wide = bool(data[s.at] & 8)
        s.at += 1
    if s.at >= len(data):
        return r
    flags = _read_opcode(s)
    if flags is None:
        return r
    if flags & (_BAD | _PRE):
        r.done = r.bad = True
        r.size = 1
        return r
    if _read_operands(s, flags, narrow, wide):
        return r
    r.done = True
    r.size = s.at
    return r


def _read_opcode(s: _Reader) -> int | None:
    op = s.data[s.at]
    s.at += 1
    flags, table = _ONE[op], 0
    if op == 0x0F:
        if s.stops(Field.OPCODE, 1):
            return None
        op, table = s.data[s.at - 1], 1
        flags = _TWO[op]
        if op in (0x38, 0x3A):
            table = 2 if op == 0x38 else 3
            flags = _M if op == 0x38 else _M | _I8
            s.r.map = table
            if s.stops(Field.OPCODE, 1):
                return None
            op = s.data[s.at - 1]
    elif op in (0xC5, 0xC4, 0x62):
        payload = {0xC5: 1, 0xC4: 2, 0x62: 3}[op]
        if s.stops(Field.OTHER, payload):
            return None
        first = s.data[s.at - payload]
        table = 1 if op == 0xC5 else first & 31 if op == 0xC4 else first & 7
        if s.stops(Field.OPCODE, 1):
            return None
        op = s.data[s.at - 1]
        if table == 1:
            flags = 0 if op == 0x77 else _TWO[op] & _I8 | _M
        else:
            flags = {2: _M, 5: _M, 6: _M, 3: _M | _I8}.get(table, _BAD)
    s.r.opcode, s.r.map = op, table
    return flags


def _read_operands(s: _Reader, flags: int, narrow: bool, wide: bool) -> bool:
    """Whether the known bytes end before the instruction does."""
    r = s.r
    if flags & _M:
        if s.stops(Field.MODRM, 1):
            return True
        r.modrm = s.data[s.at - 1]
        if r.map == 0 and r.opcode & 0xFE == 0xF6 and r.modrm >> 3 & 7 < 2:
            flags |= _I8 if r.opcode == 0xF6 else _IZ
        if r.modrm >> 6 != 3 and _read_memory(s, flags, narrow):
            return True
    if flags & _IW and s.stops(Field.OTHER, 2):
        return True
    if flags & _I8 and s.stops(Field.IMM8, 1):
        return True
    if flags & _REL8 and s.stops(Field.RELATIVE8, 1):
        return True
    if flags & _REL:
        if s.stops(Field.RELATIVE32, 4):
            return True
        r.relative = s.at - 4
    if flags & _AM and s.stops(Field.IMM64, 8):
        return True
    if not flags & _IZ:
        return False
    if r.map == 0 and 0xB8 <= r.opcode < 0xC0 and wide:
        return s.stops(Field.IMM64, 8)
    if narrow:
        return s.stops(Field.OTHER, 2)
    if s.stops(Field.IMM32, 4):
        return True
    r.immediate = s.at - 4
    return False


def _read_memory(s: _Reader, flags: int, narrow: bool) -> bool:
    r = s.r
    mod, rm = r.modrm >> 6, r.modrm & 7
    if rm == 4:
        if s.stops(Field.SIB, 1):
            return True
        sib = s.data[s.at - 1]
        r.table_load = r.map == 0 and r.opcode == 0x63 and sib >> 6 == 2
        if mod == 0 and sib & 7 == 5:
            if s.stops(Field.DISP32, 4):
                return True
            r.absolute = s.at - 4
    elif mod == 0 and rm == 5:
        r.tail = (1 if flags & _I8 else 0) + (2 if narrow else 4) * bool(flags & _IZ)
        if s.stops(Field.RIP, 4):
            return True
        r.tail = 0
        r.rip = s.at - 4
        r.lea = r.map == 0 and r.opcode == 0x8D
    if mod == 1 and s.stops(Field.DISP8, 1):
        return True
    if mod == 2:
        if s.stops(Field.DISP32, 4):
            return True
        r.absolute = s.at - 4
    return False


def decode(data: bytes, at: int, end: int) -> Progress:
    """The whole instruction at an offset; one whose bytes do not make one is a single byte without operands."""
    r = progress_of(data[at : min(end, at + 40)])
    if not r.done or r.bad:
        return Progress(size=1)
    return r
