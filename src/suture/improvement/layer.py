"""The layer: what one improvement changes or removes in one component, against the bare baseline.

Its digest covers every path, mode, link and byte of the result (spec/improvement.md §3).
"""

from __future__ import annotations

import msgspec

from suture.core.canonical import canonical_json
from suture.core.digests import Digest, digest_bytes
from suture.improvement.tree import Entry, FileEntry

LAYER_FORMAT = "suture-layer/1"


class Layer(msgspec.Struct, frozen=True):
    """Attributes:
    entries: files, directories and links that are new or different, sorted by the bytes of their paths.
    removed: baseline paths that are gone, sorted likewise; a removed directory's contents are listed too.
    """

    entries: tuple[Entry, ...] = ()
    removed: tuple[str, ...] = ()

    def files(self) -> tuple[FileEntry, ...]:
        """The regular files among the entries."""
        return tuple(entry for entry in self.entries if isinstance(entry, FileEntry))


def layer_digest(layer: Layer) -> Digest:
    """Digest of the canonical JSON of ``{"format", "entries", "removed"}``."""
    body = {"format": LAYER_FORMAT, "entries": msgspec.to_builtins(layer.entries), "removed": list(layer.removed)}
    return digest_bytes(canonical_json(body))
