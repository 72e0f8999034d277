"""The patch container ``SUTP`` of one component: a bounded header, then one delta for each regular file of the layer.

A published patch leaves the layer out, since the signed manifest has it; a stand-alone one (``suture delta``) holds
it, with the digest of the whole result. Format: spec/improvement.md §4. Never trusts a size that it can compare.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from suture.core.canonical import canonical_json
from suture.core.errors import PatchError, TreeError
from suture.core.limits import MAXIMUM_MANIFEST_BYTES, MAXIMUM_PATCH_BYTES, MAXIMUM_TREE_ENTRIES
from suture.delta import Buffer
from suture.improvement.layer import Layer
from suture.improvement.paths import check_path
from suture.improvement.tree import DigestText
from suture.improvement.tree_rules import check_layer

MAGIC: Final = b"SUTP"
FORMAT_VERSION: Final = 1
_PREFIX: Final = struct.Struct("<4sBBHI")
"""Magic, format version, two reserved fields (0), size of the header in bytes; little-endian."""
MAXIMUM_HEADER_BYTES: Final = 2 * MAXIMUM_MANIFEST_BYTES
"""A stand-alone header holds a layer, as a manifest does, and a line for each of its files."""


class Member(msgspec.Struct, frozen=True):
    """One regular file of the layer: the from-level path that its delta reads, and the delta's size in bytes."""

    reads: str | None
    size: Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_PATCH_BYTES)]


class StandAlone(msgspec.Struct, frozen=True):
    """What a patch without a manifest carries: its layer, and the digest of the whole tree it gives (`tree_digest`)."""

    kind: Literal["file", "tree"]
    layer: Layer
    result: DigestText


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """The container's header: canonical JSON of this."""

    members: Annotated[tuple[Member, ...], msgspec.Meta(max_length=MAXIMUM_TREE_ENTRIES)]
    stand_alone: StandAlone | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """A read container: its header, and where the first delta begins (bytes)."""

    header: Header
    body_offset: int

    def spans(self) -> Iterator[tuple[Member, int, int]]:
        """Each member with its delta's first and one-past-last byte in the container."""
        position = self.body_offset
        for member in self.header.members:
            yield member, position, position + member.size
            position += member.size


def write_container(
    reads: Sequence[str | None], deltas: Sequence[bytes], stand_alone: StandAlone | None = None
) -> bytes:
    """The container's bytes, the same for the same arguments.

    Args:
        reads: for each delta, the path it reads or None.
        deltas: in the layer's order.
        stand_alone: given for patches that no manifest goes with.

    Raises:
        PatchError: over the bounds of the format.
    """
    members = tuple(Member(path, len(delta)) for path, delta in zip(reads, deltas, strict=True))
    header = canonical_json(msgspec.to_builtins(Header(members, stand_alone)))
    if len(header) > MAXIMUM_HEADER_BYTES:
        raise PatchError("cannot write the patch: its header is too large; split the component")
    whole = b"".join((_PREFIX.pack(MAGIC, FORMAT_VERSION, 0, 0, len(header)), header, *deltas))
    if len(whole) > MAXIMUM_PATCH_BYTES:
        raise PatchError(f"cannot write the patch: it is larger than {MAXIMUM_PATCH_BYTES:,} bytes")
    return whole


def read_container(patch: Buffer) -> Container:
    """Read and check the header; the deltas are only measured.

    Raises:
        PatchError: no container, a later version, out of bounds, or its parts do not add up to its size.
    """
    size = len(patch)
    if size > MAXIMUM_PATCH_BYTES:
        raise PatchError(f"cannot read the patch: it is larger than {MAXIMUM_PATCH_BYTES:,} bytes")
    prefix = bytes(patch[: _PREFIX.size])
    if len(prefix) < _PREFIX.size or prefix[:4] != MAGIC:
        raise PatchError("cannot read the patch: it is no Suture patch")
    _, version, first_reserved, second_reserved, header_size = _PREFIX.unpack(prefix)
    if version != FORMAT_VERSION or first_reserved or second_reserved:
        raise PatchError(f"cannot read the patch: its format version {version} is not {FORMAT_VERSION}")
    if header_size > min(MAXIMUM_HEADER_BYTES, size - _PREFIX.size):
        raise PatchError("cannot read the patch: its header is larger than it may be")
    body_offset = _PREFIX.size + header_size
    header = _decode_header(bytes(patch[_PREFIX.size : body_offset]))
    if body_offset + sum(member.size for member in header.members) != size:
        raise PatchError("cannot read the patch: its parts do not add up to its size")
    return Container(header, body_offset)


def _decode_header(data: bytes) -> Header:
    try:
        header = msgspec.json.decode(data, type=Header)
        for member in header.members:
            if member.reads is not None:
                check_path(member.reads)
        if header.stand_alone is not None:
            check_layer(header.stand_alone.layer)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TreeError) as error:
        raise PatchError(f"cannot read the patch: its header is bad ({error})") from error
    return header


def pair_members(layer: Layer, container: Container) -> None:
    """The container has exactly one member for each regular file of the layer.

    Raises:
        PatchError: it has more or fewer.
    """
    files = layer.files()
    if len(files) != len(container.header.members):
        count = len(container.header.members)
        raise PatchError(f"cannot apply the patch: it holds {count} files, its layer {len(files)}")
