"""The header of the container's format version 2: a table of varints, and the stand-alone part behind it.

Format: spec/improvement.md §4.2, §4.4. Every count is compared with what is left of the header before it is believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from suture.core.errors import PatchError, TreeError
from suture.core.limits import MAXIMUM_PATCH_BYTES, MAXIMUM_TREE_ENTRIES
from suture.improvement.container_parts import MAXIMUM_GROUPS, Container, Group, Member, OldFile, StandAlone
from suture.improvement.paths import check_order
from suture.improvement.stand_alone_part import read_part, write_part
from suture.improvement.varints import Reader, varint

VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class PlannedMember:
    """A file to write: its engine, the old file's number plus 1 (0 where it reads none) and its payload."""

    engine: int
    reads: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """A group to write: how many members, the numbers of its old files ascending, and its frame."""

    members: int
    reads: tuple[int, ...]
    frame: bytes


def write_header(
    members: Sequence[PlannedMember | None],
    groups: Sequence[PlannedGroup],
    names: Sequence[str],
    stand_alone: StandAlone | None,
) -> bytes:
    """The header's bytes.

    Args:
        members: in the layer's order; None for the next file of the groups.
        groups: in the order of their members.
        names: old files that the layer does not name, sorted by bytes.
        stand_alone: for patches that no manifest goes with.
    """
    parts = [varint(len(members)), varint(len(names))]
    for name in names:
        parts += (varint(len(name.encode())), name.encode())
    parts.append(varint(len(groups)))
    for group in groups:
        parts += (varint(group.members), varint(len(group.reads)))
        before = -1
        for number in group.reads:
            parts.append(varint(number - before - 1))
            before = number
        parts.append(varint(len(group.frame)))
    for member in members:
        if member is None:
            parts.append(varint(0))
        else:
            parts += (varint(member.engine), varint(member.reads), varint(len(member.payload)))
    if stand_alone is not None:
        parts.append(write_part(stand_alone))
    return b"".join(parts)


def read_header(data: bytes, body_offset: int, kind: Literal["file", "tree"] | None) -> Container:
    """The container of a header's bytes; where it ends is the caller's to compare.

    Args:
        data: the header.
        body_offset: where it ends in the container.
        kind: of a stand-alone container, None of a published one.

    Raises:
        PatchError: malformed or out of bounds.
    """
    reader = Reader(data)
    count = reader.number(MAXIMUM_TREE_ENTRIES)
    names = _read_names(reader)
    groups = _read_groups(reader, count, names, body_offset)
    members = _read_members(reader, count, names, groups, groups[-1].end if groups else body_offset)
    stand_alone = None if kind is None else read_part(reader, kind)
    reader.end()
    return Container(VERSION, members, groups, stand_alone, body_offset)


def _read_names(reader: Reader) -> tuple[str, ...]:
    try:
        names = tuple(reader.data(reader.number()).decode() for _ in range(reader.number(MAXIMUM_TREE_ENTRIES)))
        check_order(names)
    except (UnicodeError, TreeError) as error:
        raise PatchError(f"cannot read the patch: its header is bad ({error})") from error
    return names


def _read_groups(reader: Reader, count: int, names: tuple[str, ...], position: int) -> tuple[Group, ...]:
    groups = []
    for _ in range(reader.number(MAXIMUM_GROUPS)):
        members = reader.number(count)
        reads, number = [], -1
        for _ in range(reader.number(MAXIMUM_TREE_ENTRIES)):
            number += 1 + reader.number(2 * MAXIMUM_TREE_ENTRIES)
            reads.append(_old_file(number, count, names))
        size = reader.number(MAXIMUM_PATCH_BYTES)
        if not members:
            raise PatchError("cannot read the patch: it has a group of no files")
        groups.append(Group(tuple(reads), members, position, position + size))
        position += size
    return tuple(groups)


def _read_members(
    reader: Reader, count: int, names: tuple[str, ...], groups: tuple[Group, ...], position: int
) -> tuple[Member, ...]:
    following = (number for number, group in enumerate(groups) for _ in range(group.members))  # lazily: unbounded
    members = []
    for _ in range(count):
        engine = reader.number(255)
        if not engine:
            group = next(following, None)
            if group is None:
                raise PatchError("cannot read the patch: its groups have fewer files than it says")
            members.append(Member(None, group, None, 0, 0))
            continue
        reads = reader.number(3 * MAXIMUM_TREE_ENTRIES)
        size = reader.number(MAXIMUM_PATCH_BYTES)
        old = _old_file(reads - 1, count, names) if reads else None
        members.append(Member(engine, None, old, position, position + size))
        position += size
    if next(following, None) is not None:
        raise PatchError("cannot read the patch: its groups have more files than it says")
    return tuple(members)


def _old_file(number: int, count: int, names: tuple[str, ...]) -> OldFile:
    """Numbers go over the layer's files, then the container's own names, then what the layer removes."""
    if number < count:
        return OldFile("file", number)
    number -= count
    if number < len(names):
        return OldFile("named", number, names[number])
    return OldFile("removed", number - len(names))
