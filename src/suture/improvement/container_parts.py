"""What a patch container holds, whichever format version it was read from: members, groups, and what it says of itself.

Only shapes and their bounds; reading and writing bytes is `container`, `container_one` and `container_two`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from suture.core.errors import PatchError
from suture.core.limits import MAXIMUM_MANIFEST_BYTES
from suture.improvement.layer import Layer
from suture.improvement.tree import DigestText

MAGIC: Final = b"SUTP"
MAXIMUM_HEADER_BYTES: Final = 2 * MAXIMUM_MANIFEST_BYTES
"""A stand-alone header holds a layer, as a manifest does, and a line for each of its files."""
MAXIMUM_GROUPS: Final = 4096
"""Twice what 64 GiB, the most that a level may have, need in groups of 32 MiB; each costs a prefix to make."""


class StandAlone(msgspec.Struct, frozen=True):
    """What a patch without a manifest carries: its layer, and the digest of the whole tree it gives (`tree_digest`)."""

    kind: Literal["file", "tree"]
    layer: Layer
    result: DigestText


@dataclass(frozen=True, slots=True)
class OldFile:
    """A from-level file as a container names it: by a path of the layer (which is signed) or by a path of its own.

    Attributes:
        place: ``file``, a path among the layer's regular files; ``removed``, one that it removes; ``named``.
        number: which one of that place, from 0.
        path: of a ``named`` one.
    """

    place: Literal["file", "removed", "named"]
    number: int
    path: str | None = None


class OldPaths:
    """The paths that a container's old files stand for, in one layer, or in none where it is not at hand."""

    def __init__(self, layer: Layer | None) -> None:
        self._known = None
        if layer is not None:
            self._known = {"file": tuple(entry.path for entry in layer.files()), "removed": layer.removed}

    def path(self, old: OldFile) -> str:
        """The path; without a layer, for people, where it stands in one.

        Raises:
            PatchError: the layer has no such file.
        """
        if old.path is not None:
            return old.path
        if self._known is None:
            return f"{old.place} {old.number + 1}"
        known = self._known[old.place]
        if old.number >= len(known):
            raise PatchError("cannot apply the patch: it reads a file that its layer does not have")
        return known[old.number]


@dataclass(frozen=True, slots=True)
class Member:
    """How one regular file of the layer is made.

    Attributes:
        engine: its payload's engine; None for a whole delta (version 1) and for a file of a group.
        group: the number of its group from 0; None where it has a payload or delta of its own.
        reads: the old file that its payload or delta reads, if any.
        start, end: first and one-past-last byte of the payload or delta in the container.
    """

    engine: int | None
    group: int | None
    reads: OldFile | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Group:
    """Files that share one stream. `reads`: the old files of its prefix, in order; frame at `start` … `end`."""

    reads: tuple[OldFile, ...]
    members: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Container:
    """A read container. `body_offset`: where its header ends (bytes)."""

    version: int
    members: tuple[Member, ...]
    groups: tuple[Group, ...]
    stand_alone: StandAlone | None
    body_offset: int
