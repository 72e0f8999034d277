"""The container's format version 1, which is only read any more: a JSON header, and one whole delta for each file.

Format: spec/improvement.md §4.5. It decodes for ever; nothing writes it.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from suture.core.errors import PatchError, TreeError
from suture.core.limits import MAXIMUM_PATCH_BYTES, MAXIMUM_TREE_ENTRIES
from suture.improvement.container_parts import Container, Member, OldFile, StandAlone
from suture.improvement.paths import check_path
from suture.improvement.tree_rules import check_layer

VERSION: Final = 1


class _Member(msgspec.Struct, frozen=True):
    """One regular file of the layer: the from-level path that its delta reads, and the delta's size in bytes."""

    reads: str | None
    size: Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_PATCH_BYTES)]


class _Header(msgspec.Struct, frozen=True):
    members: Annotated[tuple[_Member, ...], msgspec.Meta(max_length=MAXIMUM_TREE_ENTRIES)]
    stand_alone: StandAlone | None = None


def read_header(data: bytes, body_offset: int) -> Container:
    """The container of a header's bytes; where it ends is the caller's to compare.

    Raises:
        PatchError: malformed or out of bounds.
    """
    try:
        header = msgspec.json.decode(data, type=_Header)
        for member in header.members:
            if member.reads is not None:
                check_path(member.reads)
        if header.stand_alone is not None:
            check_layer(header.stand_alone.layer)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TreeError) as error:
        raise PatchError(f"cannot read the patch: its header is bad ({error})") from error
    members, position = [], body_offset
    for number, member in enumerate(header.members):
        reads = None if member.reads is None else OldFile("named", number, member.reads)
        members.append(Member(None, None, reads, position, position + member.size))
        position += member.size
    return Container(VERSION, tuple(members), (), header.stand_alone, body_offset)
