"""The patch container ``SUTP`` of one component: a bounded header, then streams of groups and payloads of files.

A published patch leaves the layer out, since the signed manifest has it; a stand-alone one (``suture delta``) holds
it, with the digest of the whole result. Format: spec/improvement.md §4. Never trusts a size that it can compare.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, Literal

from suture.core.errors import PatchError
from suture.core.limits import MAXIMUM_PATCH_BYTES
from suture.delta import Buffer
from suture.improvement import container_one, container_two
from suture.improvement.container_parts import MAGIC, MAXIMUM_HEADER_BYTES, Container, StandAlone
from suture.improvement.container_two import PlannedGroup, PlannedMember
from suture.improvement.layer import Layer

_PREFIX: Final = struct.Struct("<4sBBHI")
"""Magic, format version, kind (version 2; else 0), reserved (0), size of the header in bytes; little-endian."""
_KINDS: Final[tuple[Literal["file", "tree"] | None, ...]] = (None, "tree", "file")
"""Of version 2: published, or what a stand-alone container is for."""


def write_container(
    members: Sequence[PlannedMember | None],
    groups: Sequence[PlannedGroup] = (),
    names: Sequence[str] = (),
    stand_alone: StandAlone | None = None,
) -> bytes:
    """The container's bytes in format version 2, the same for the same arguments (`container_two.write_header`).

    Raises:
        PatchError: over the bounds of the format.
    """
    header = container_two.write_header(members, groups, names, stand_alone)
    if len(header) > MAXIMUM_HEADER_BYTES:
        raise PatchError("cannot write the patch: its header is too large; split the component")
    kind = _KINDS.index(None if stand_alone is None else stand_alone.kind)
    frames = [group.frame for group in groups]
    payloads = [member.payload for member in members if member is not None]
    prefix = _PREFIX.pack(MAGIC, container_two.VERSION, kind, 0, len(header))
    whole = b"".join((prefix, header, *frames, *payloads))
    if len(whole) > MAXIMUM_PATCH_BYTES:
        raise PatchError(f"cannot write the patch: it is larger than {MAXIMUM_PATCH_BYTES:,} bytes")
    return whole


def read_container(patch: Buffer) -> Container:
    """Read and check the header, of any format version; what follows is only measured.

    Raises:
        PatchError: no container, a later version, out of bounds, or its parts do not add up to its size.
    """
    size = len(patch)
    if size > MAXIMUM_PATCH_BYTES:
        raise PatchError(f"cannot read the patch: it is larger than {MAXIMUM_PATCH_BYTES:,} bytes")
    prefix = bytes(patch[: _PREFIX.size])
    if len(prefix) < _PREFIX.size or prefix[:4] != MAGIC:
        raise PatchError("cannot read the patch: it is no Suture patch")
    _, version, kind, reserved, header_size = _PREFIX.unpack(prefix)
    kinds = _KINDS if version == container_two.VERSION else _KINDS[:1]
    if version not in (container_one.VERSION, container_two.VERSION) or kind >= len(kinds) or reserved:
        raise PatchError(f"cannot read the patch: its format version {version} is not one that this version knows")
    if header_size > min(MAXIMUM_HEADER_BYTES, size - _PREFIX.size):
        raise PatchError("cannot read the patch: its header is larger than it may be")
    body_offset = _PREFIX.size + header_size
    header = bytes(patch[_PREFIX.size : body_offset])
    if version == container_one.VERSION:
        container = container_one.read_header(header, body_offset)
    else:
        container = container_two.read_header(header, body_offset, kinds[kind])
    ends = (*(group.end for group in container.groups), *(member.end for member in container.members))
    if max(ends, default=body_offset) != size:  # the parts follow one another
        raise PatchError("cannot read the patch: its parts do not add up to its size")
    return container


def pair_members(layer: Layer, container: Container) -> None:
    """The container has exactly one member for each regular file of the layer.

    Raises:
        PatchError: it has more or fewer.
    """
    files = layer.files()
    if len(files) != len(container.members):
        count = len(container.members)
        raise PatchError(f"cannot apply the patch: it holds {count} files, its layer {len(files)}")
