"""Models of literals, of addresses among them, and of changed bytes (spec/delta.md §4.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from suture.core.errors import PatchError
from suture.delta.reference.blend import Blend, Contexts, hash_of
from suture.delta.reference.coder import Bit, Coder, Number
from suture.delta.reference.instruction import Field, Progress, decode, progress_of

_HISTORY: Final = (1 << 22) - 1
_SHORTEST: Final = 4
_RING: Final = 1024


@dataclass(slots=True)
class Surroundings:
    """What is known around a byte: the last 64 new bytes, old bytes at the same place, whether it is code."""

    before: bytes = bytes(64)
    aligned: int = 0
    aligned_next: int = 0
    aligned_last: int = 0
    backward: int = 0
    code: bool = False
    offset: int = 0


def _log(least: int, most: int, amount: int) -> int:
    log = least
    while log < most and 1 << log < amount:
        log += 1
    return log


class LiteralModel:
    def __init__(self, literals: int) -> None:
        self._blend = Blend(12, _log(12, 22, literals * 64))
        self._head_shift = 32 - _log(8, 18, literals)
        self._heads: dict[int, int] = {}
        self._history: dict[int, int] = {}
        self._count = self._match = self._length = self._run = 0
        self._instruction = self._opcodes = 0

    def begin_run(self, before: bytes, code: bool) -> None:
        self._instruction = self._opcodes = self._match = 0
        if not code:
            return
        at = len(before) - 48
        while at < len(before):
            i = decode(before, at, len(before))
            if i.size == 1 and not progress_of(before[at:]).done:
                break
            self._opcodes = (self._opcodes << 8 | i.opcode) & 0xFFFFFFFF
            at += i.size
        self._instruction = len(before) - at

    def _known(self, before: bytes) -> bytes:
        return before[len(before) - self._instruction :] if self._instruction else b""

    def code(self, coder: Coder, s: Surroundings) -> int:
        h = s.before
        c4 = int.from_bytes(h[-4:], "big")
        c8 = int.from_bytes(h[-8:-4], "big")
        p = Progress()
        prefix = 0
        if s.code:
            known = self._known(h)
            p = progress_of(known)
            for byte in reversed(known):
                prefix = hash_of(prefix, byte)
        state = 1 + p.field * 8 + min(p.index, 7) if s.code else 0
        column = s.offset & 7
        follows, agree = int(h[-1] == s.aligned_last), int(s.aligned == s.backward)
        low = c4 & 0xFF
        x = Contexts()
        x.add(state, 0)
        x.add(low, state)
        x.add(c4 & 0xFFFF, state)
        x.add(c4 & 0xFFFFFF, 0)
        x.add(c4, 0)
        x.add(c4, c8 & 0xFFFF)
        x.add(s.aligned | s.aligned_next << 8 | low << 16, follows)
        x.add(s.aligned | s.backward << 8 | follows << 16, state)
        x.add(s.backward | low << 8, agree)
        if s.code:
            x.add(prefix, state)
            x.add(hash_of(prefix, self._opcodes & 0xFF), state)
            x.add(hash_of(self._opcodes & 0xFFFF, p.opcode | p.modrm << 8), state)
        else:
            x.add(h[-4] | h[-8] << 8, column + 1000)
            x.add(low | h[-8] << 8 | h[-16] << 16, column + 2000)
            x.add(h[-24] | h[-4] << 8, 3000)
        expected, confidence = -1, 0
        if self._match and self._length >= _SHORTEST:
            expected = self._history[self._match & _HISTORY]
            n = self._length
            confidence = 15 if n > 31 else 13 + (n > 23) if n > 15 else min(n - _SHORTEST + 1, 15)
        closeness = follows | agree << 1
        first, second = confidence * 16 + closeness * 4 + self._run, state * 4 + closeness
        got = self._blend.byte(coder, x.hashes, expected, confidence, first, second)
        self.accept(got, s)
        return got

    def accept(self, got: int, s: Surroundings) -> None:
        """Takes note of a byte, coded here or elsewhere."""
        self._run = min(self._run + 1, 3) if got == s.aligned else 0
        self._remember(got, s.before)
        if s.code:
            self._instruction += 1
            n = 1 if self._instruction > 40 else self._instruction
            known = s.before[len(s.before) - (n - 1) :] + bytes([got]) if n > 1 else bytes([got])
            p = progress_of(known)
            if p.done or n >= 40:
                self._opcodes = (self._opcodes << 8 | p.opcode) & 0xFFFFFFFF
                self._instruction = 0

    def at_reference(self, before: bytes) -> Progress | None:
        """The state before the displacement of a call or of a rip-relative operand."""
        p = progress_of(self._known(before))
        call = p.field == Field.RELATIVE32 and p.map == 0 and p.opcode == 0xE8
        return p if p.index == 0 and (p.field == Field.RIP or call) else None

    def _remember(self, got: int, before: bytes) -> None:
        self._history[self._count & _HISTORY] = got
        match = self._match
        if match and match < self._count and self._history[match & _HISTORY] == got:
            self._match += 1
            self._length = min(self._length + 1, 65535)
        else:
            self._match = self._length = 0
        self._count += 1
        last = got << 24 | int.from_bytes(before[-3:], "big")
        key = hash_of(last, 77) >> self._head_shift
        if not self._match:
            self._match = self._heads.get(key, 0)
            self._length = 0
            if self._match and self._count - self._match <= _HISTORY:
                self._measure()
            else:
                self._match = 0
        self._heads[key] = self._count

    def _measure(self) -> None:
        m, c, n = self._match, self._count, 0
        while (
            n < 32
            and m > n
            and self._history[m - 1 - n & _HISTORY] == self._history[c - 1 - n & _HISTORY]
            and c - (m - n) < _HISTORY
        ):
            n += 1
        self._length = n
        if n < _SHORTEST:
            self._match = 0


class TargetModel:
    """Addresses that calls and rip-relative operands among literals go to."""

    def __init__(self, literals: int) -> None:
        self._blend = Blend(5, 20 if literals > 100000 else 15)
        self._rings: tuple[list[int], list[int]] = ([], [])
        self._last = [0, 0]
        self._history = [0, 0]
        self._last_recent = 0
        self._guessed: dict[tuple[int, int, int], Bit] = {}
        self._recent: dict[tuple[int, int], Bit] = {}
        self._age = (Number(), Number())

    def saw(self, call: int, target: int) -> None:
        ring = self._rings[call]
        ring.append(target & 0xFFFFFFFF)
        if len(ring) > 2 * _RING:
            del ring[:-_RING]

    def code(self, coder: Coder, call: int, guesses: list[int | None], place: int) -> int:
        target = self._code(coder, call, guesses, place)
        self.saw(call, target)
        return target

    def _code(self, coder: Coder, call: int, guesses: list[int | None], place: int) -> int:
        for i, guess in enumerate(guesses):
            if guess is None or (i and guess == guesses[0]):
                continue
            hit = coder.bit(self._guessed.setdefault((call, i, self._history[i] & 3), Bit()))
            self._history[i] = self._history[i] << 1 | hit
            if hit:
                return guess & 0xFFFFFFFF
        ring = self._rings[call]
        if coder.bit(self._recent.setdefault((call, self._last_recent), Bit())):
            self._last_recent = 1
            age = self._age[call].decode(coder)
            if age >= min(len(ring), _RING):
                raise PatchError("cannot apply the patch: it names an address that was not seen")
            return ring[-1 - age]
        self._last_recent = 0
        value = 0
        for i in range(4):
            x = Contexts()
            salt = i * 2 + call
            x.add(i, call)
            x.add(value, salt)
            x.add(value, i)
            x.add(place >> (24 - 8 * i), salt)
            x.add(self._last[call] >> (24 - 8 * i), hash_of(value, salt))
            value = value << 8 | self._blend.byte(coder, x.hashes, -1, 0, salt, 0)
        self._last[call] = value
        return value


class ChangedModel:
    """A byte inside a block that differs from the old one."""

    def __init__(self, changes: int) -> None:
        self._blend = Blend(8, _log(12, 22, changes * 48))
        self.last = 0

    def code(self, coder: Coder, s: Surroundings) -> int:
        old, h, last, code = s.aligned, s.before, self.last, int(s.code)
        x = Contexts()
        x.add(old, 0)
        x.add(old | h[-1] << 8, 0)
        x.add(old | h[-1] << 8 | h[-2] << 16, 0)
        x.add(old | s.aligned_next << 8, 0)
        x.add(last, code)
        x.add(old, last + 256)
        x.add(h[-1] | h[-2] << 8, last | code << 8)
        x.add(code, 1 + (s.offset & 3))
        self.last = self._blend.byte(coder, x.hashes, -1, 0, code, last)
        return old + self.last & 255


class WatchModel:
    """Whether the next old byte of a block changes, soon after one that did."""

    WATCHED: Final = 32

    def __init__(self, changes: int) -> None:
        self._blend = Blend(8, _log(12, 20, changes * 32), 16000)

    def code(
        self,
        coder: Coder,
        old: bytes,
        before: bytes,
        distance: int,
        gaps: tuple[int, int],
        last: int,
        place: tuple[int, int],
    ) -> int:
        here, following, third = (*old, 0, 0, 0)[:3]
        offset, section = place
        g, g2 = min(gaps[0], 64), min(gaps[1], 64)
        x = Contexts()
        x.add(distance, g | section << 8)
        x.add(here | before[-1] << 8, section)
        x.add(here | before[-1] << 8 | before[-2] << 16, following)
        x.add(here | following << 8 | third << 16, min(distance, 4))
        x.add(here, last | section << 8)
        x.add(distance | (offset & 7) << 8, here)
        x.add(distance, g | g2 << 8)
        x.add(before[-1] | before[-2] << 8 | before[-3] << 16, before[-4] | distance << 8)
        return self._blend.flag(coder, x.hashes, distance, here)
