"""A patch is applied before anybody signs it: what a device will get is what was meant."""

from __future__ import annotations

from collections.abc import Callable

from suture.delta import Buffer
from suture.improvement.apply import apply_patch
from suture.improvement.layer import Layer
from suture.improvement.tree import FileEntry


class _Nowhere:
    """A sink for bytes of which only the digest matters."""

    def write(self, data: bytes, /) -> object:
        """Drop them."""
        return len(data)

    def close(self) -> object:
        """Nothing is open."""
        return None


def prove_patch(layer: Layer, patch: bytes, read_old: Callable[[str], Buffer]) -> None:
    """Apply a patch and compare every file with the layer's digest.

    Raises:
        PatchError, DigestMismatchError: the patch is wrong; it must not be staged.
    """

    def nowhere(_: FileEntry) -> _Nowhere:
        return _Nowhere()

    apply_patch(layer, patch, read_old=read_old, open_sink=nowhere)
