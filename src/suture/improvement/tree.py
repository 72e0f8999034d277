"""What a component is made of: regular files, directories and symbolic links, and nothing else.

Paths are relative to the component's root, ``/`` between names, sorted by their UTF-8 bytes. Modes are permission bits
in octal text (``0644``): set-id bits, owners, ACLs, capabilities and labels are never in a layer (see `metadata`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from suture.core.digests import DIGEST_PATTERN
from suture.core.limits import MAXIMUM_FILE_BYTES

Mode = Annotated[str, msgspec.Meta(pattern=r"^0[0-7]{3}$")]
DigestText = Annotated[str, msgspec.Meta(pattern=DIGEST_PATTERN)]
FileSize = Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_FILE_BYTES)]


class FileEntry(msgspec.Struct, frozen=True, tag_field="kind", tag="file"):
    """A regular file. `size` in bytes."""

    path: str
    mode: Mode
    size: FileSize
    digest: DigestText


class DirectoryEntry(msgspec.Struct, frozen=True, tag_field="kind", tag="directory"):
    """A directory; its mode only."""

    path: str
    mode: Mode


class LinkEntry(msgspec.Struct, frozen=True, tag_field="kind", tag="link"):
    """A symbolic link that stays inside the component."""

    path: str
    target: str


Entry = FileEntry | DirectoryEntry | LinkEntry


class Tree(msgspec.Struct, frozen=True):
    """A scanned component: its entries, sorted by the bytes of their paths, no path twice, the root itself left out."""

    entries: tuple[Entry, ...]

    def by_path(self) -> dict[str, Entry]:
        """The entries by their paths."""
        return {entry.path: entry for entry in self.entries}


class Metadata(msgspec.Struct, frozen=True):
    """What an entry carries beside its bytes and permission bits; compared, never shipped.

    Attributes:
        owner, group: numeric ids.
        special_mode: the set-user-id, set-group-id and sticky bits alone (``st_mode & 0o7000``).
        attributes: extended attributes that carry rights or labels, by name: capabilities, ACLs, security labels.
    """

    owner: int
    group: int
    special_mode: int
    attributes: tuple[tuple[str, bytes], ...] = ()
