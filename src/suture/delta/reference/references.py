"""What becomes of a reference in a copied block: predicted, and corrected where that was wrong (spec/delta.md §4.6)."""

from __future__ import annotations

from typing import Final

from suture.delta.reference.coder import MASK64, Bit, Coder, Number
from suture.delta.reference.finder import Kind, Reference
from suture.delta.reference.image import Space
from suture.delta.reference.map import CERTAIN, GUESSED, AddressMap
from suture.delta.reference.models import TargetModel

_OWN_BASE: Final = (Kind.BRANCH, Kind.RIP, Kind.UNWIND, Kind.UNWIND_BACK)
_MAPPED_BASE: Final = (Kind.JUMP_TABLE, Kind.INDEX24, Kind.STRING_INDEX, Kind.EXTENT)
_PLAIN: Final = (Kind.WORD64, Kind.WORD32, Kind.SLOT)


class ReferenceValues:
    """Gives new values of references, and learns."""

    def __init__(
        self, coder: Coder, address_map: AddressMap, spaces: tuple[Space, Space], targets: TargetModel
    ) -> None:
        self.coder, self.map, self.spaces, self.targets = coder, address_map, spaces, targets
        self.wrong: dict[tuple[int, int, int, int], Bit] = {}
        self.same_error = {kind: Bit() for kind in Kind}
        self.errors = {kind: Number() for kind in Kind}
        self.last_error = dict.fromkeys(Kind, 0)
        self.history = dict.fromkeys(Kind, 0)
        self.global_history = 0

    def value(self, offset: int, ref: Reference) -> bytes:
        """The bytes of a reference at an offset of the new file."""
        kind = ref.kind
        base = 0
        if kind in _OWN_BASE:
            base = self.spaces[1].address_of(offset) + ref.base - self.spaces[0].address_of(ref.offset)
        elif kind in _MAPPED_BASE:
            base = self.map(ref.base)[0]
        address, certainty = self.map.end(ref.target) if kind == Kind.EXTENT else self.map(ref.target)
        value = address
        if kind == Kind.UNWIND_BACK:
            value = base - value
        elif kind == Kind.INDEX24:
            value = (value - base & MASK64) // 24
        elif kind not in _PLAIN:
            value -= base
        mask = (1 << 8 * ref.size) - 1
        value &= mask
        first = 1 << 14 if certainty == CERTAIN else 1 << 20
        key = (kind, certainty, self.history[kind] & 7, self.global_history & 1)
        wrong = self.coder.bit(self.wrong.setdefault(key, Bit(first)), 1000)
        self.history[kind] = self.history[kind] << 1 | wrong
        self.global_history = self.global_history << 1 | wrong
        if wrong:
            error = self._error(kind)
            value = value + error & mask
            if kind != Kind.EXTENT:
                step = -error if kind == Kind.UNWIND_BACK else 24 * error if kind == Kind.INDEX24 else error
                self.map.correct(ref.target, address + step)
        elif certainty == GUESSED and kind != Kind.EXTENT:
            self.map.confirm(ref.target, address)
        if kind in (Kind.BRANCH, Kind.RIP):
            self.targets.saw(int(kind == Kind.BRANCH), base + value)
        return value.to_bytes(ref.size, "little")

    def _error(self, kind: Kind) -> int:
        if not self.coder.bit(self.same_error[kind]):
            self.last_error[kind] = self.errors[kind].signed(self.coder)
        return self.last_error[kind]
