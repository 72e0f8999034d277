"""Unsigned numbers in as few bytes as they need (LEB128, DWARF 5 §7.6), written one way only and read within bounds."""

from __future__ import annotations

from suture.core.errors import PatchError

_LONGEST = 6
"""Bytes; no number of a container needs more than 42 bits."""


def varint(value: int) -> bytes:
    """Seven bits a byte, lowest first, the top bit on all but the last."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    """Takes numbers and bytes from the front of `data`; never goes beyond its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def number(self, maximum: int | None = None) -> int:
        """The next number, at most `maximum`, or at most what is left of the data where none is given.

        Raises:
            PatchError: cut short, larger, longer than it needs to be.
        """
        value = 0
        for index in range(_LONGEST):
            byte = self.data(1)[0]
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if index and not byte:
                    raise PatchError("cannot read the patch: a number is longer than it needs to be")
                if value > (len(self._data) - self._position if maximum is None else maximum):
                    raise PatchError("cannot read the patch: a number in its header is out of bounds")
                return value
        raise PatchError("cannot read the patch: a number in its header is out of bounds")

    def data(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises:
            PatchError: fewer are left.
        """
        end = self._position + size
        if end > len(self._data):
            raise PatchError("cannot read the patch: its header ends too early")
        piece = self._data[self._position : end]
        self._position = end
        return piece

    def end(self) -> None:
        """Nothing is left.

        Raises:
            PatchError: something is.
        """
        if self._position != len(self._data):
            raise PatchError("cannot read the patch: its header is longer than it needs to be")
