"""From what was chosen for each file to the container's parts, and to what people are told of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suture.improvement.container_two import PlannedGroup, PlannedMember
from suture.improvement.grouping import Alone, Rank, SolidGroup
from suture.improvement.layer import Layer

SOLID = "solid"
"""What people see as the engine of a file in a group."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How one file of the layer goes over the wire. Sizes in bytes.

    Attributes:
        path: the new file.
        reads: the from-level file that it is made from, None where there is none.
        engine: the engine that won, ``solid`` for a file in a group.
        new_size, delta_size: of the file and of its payload; of a group's stream, the share that its files' own
            payloads would have.
        group: the group's number from 0, None outside.
        alone_engine, alone_size: the best payload of its own, which a group's share beat or which it has.
    """

    path: str
    reads: str | None
    engine: str
    new_size: int
    delta_size: int
    group: int | None
    alone_engine: str
    alone_size: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A container's parts, in order; every old path that is read; and what was chosen."""

    members: tuple[PlannedMember | None, ...]
    groups: tuple[PlannedGroup, ...]
    reads: tuple[str, ...]
    choices: tuple[Choice, ...]


class Numbers:
    """The numbers of old files: the layer's own files, then further ones by name, then the ones that it removes."""

    def __init__(self, layer: Layer) -> None:
        self._files = {entry.path: number for number, entry in enumerate(layer.files())}
        self._removed = {path: number for number, path in enumerate(layer.removed)}
        self._further: dict[str, int] = {}

    def rank(self, path: str) -> Rank:
        """Sorts paths as their numbers will be."""
        if path in self._files:
            return 0, self._files[path]
        return (2, self._removed[path]) if path in self._removed else (1, path.encode())

    def settle(self, paths: set[str]) -> None:
        """These are all the paths that are read."""
        further = [path for path in paths if path not in self._files and path not in self._removed]
        self._further = {path: number for number, path in enumerate(sorted(further, key=str.encode))}

    def number(self, path: str) -> int:
        """The number of a settled path."""
        if path in self._files:
            return self._files[path]
        if path in self._further:
            return len(self._files) + self._further[path]
        return len(self._files) + len(self._further) + self._removed[path]

    def names(self) -> tuple[str, ...]:
        """The further paths."""
        return tuple(self._further)


def draft(alone: Sequence[Alone], groups: Sequence[SolidGroup], numbers: Numbers) -> Draft:
    """The container's parts.

    Args:
        alone: the layer's files in its order.
        groups: in the order of their members.
        numbers: not settled yet; they are then.
    """
    of_file = {position: number for number, group in enumerate(groups) for position in group.members}
    reads = {source.path for group in groups for source in group.sources}
    own = {
        position: path for position, file in enumerate(alone) if (path := _own_read(file)) and position not in of_file
    }
    reads.update(own.values())
    numbers.settle(reads)
    members = tuple(
        None if position in of_file else _member(file, numbers.number(own[position]) + 1 if position in own else 0)
        for position, file in enumerate(alone)
    )
    planned = tuple(
        PlannedGroup(len(group.members), tuple(numbers.number(source.path) for source in group.sources), group.frame)
        for group in groups
    )
    shares = {position: share for group in groups for position, share in _shares(alone, group).items()}
    choices = tuple(_choice(file, of_file.get(position), shares.get(position)) for position, file in enumerate(alone))
    return Draft(members, planned, tuple(sorted(reads, key=str.encode)), choices)


def _own_read(file: Alone) -> str | None:
    return file.source.path if file.source is not None and file.reads_old else None


def _member(file: Alone, read: int) -> PlannedMember:
    return PlannedMember(file.payload.engine, read, file.payload.data)


def _shares(alone: Sequence[Alone], group: SolidGroup) -> dict[int, int]:
    """The group's bytes by its files' own payloads, rounded so that they add up."""
    weights = [len(alone[position].payload.data) + 1 for position in group.members]
    shares, weight, given = {}, 0, 0
    for position, one in zip(group.members, weights, strict=True):
        weight += one
        until = len(group.frame) * weight // sum(weights)
        shares[position], given = until - given, until
    return shares


def _choice(file: Alone, group: int | None, share: int | None) -> Choice:
    size = len(file.payload.data)
    reads = file.source.path if file.source is not None and (file.reads_old or group is not None) else None
    return Choice(
        path=file.entry.path,
        reads=reads,
        engine=file.engine if group is None else SOLID,
        new_size=file.entry.size,
        delta_size=size if share is None else share,
        group=group,
        alone_engine=file.engine,
        alone_size=size,
    )
