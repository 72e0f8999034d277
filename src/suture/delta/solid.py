"""One stream for a group of small files, against a prefix that both sides make of the old files they know.

What the prefix and the new bytes are made of is the container's (spec/improvement.md §4.3); here is only the frame and
its bounds. Never holds a whole output: the chunks are pulled, so that files go to their sinks one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from suture.core.errors import PatchError
from suture.core.limits import MIB
from suture.delta.buffers import Buffer, view_of
from suture.delta.zstandard import encode_solid as _encode
from suture.delta.zstandard import solid_chunks as _chunks

SOLID_NEW_BYTES: Final = 32 * MIB
SOLID_OLD_BYTES: Final = 64 * MIB
"""What one frame gives and reads at most: the bounds of a segment of ``zstd-from`` (spec/delta.md §3.3)."""
SMALLEST_PREFIX_BYTES: Final = 8
"""What the zstd library takes as a prefix."""


def encode_solid(prefix: Buffer, new: Buffer, effort: int) -> bytes:
    """One frame, already decoded again and compared.

    Args:
        prefix: at least `SMALLEST_PREFIX_BYTES`.
        new: at least one byte.
        effort: Zstandard level, 1 … 22.

    Raises:
        PatchError: the frame did not give back the new bytes.
    """
    with view_of(prefix) as prefix_view, view_of(new) as new_view:
        frame = _encode(prefix_view, new_view, effort)
        position = 0
        for chunk in _chunks(prefix_view, memoryview(frame), len(new_view)):
            if new_view[position : position + len(chunk)] != chunk:
                raise PatchError("cannot make a patch: a group did not give back the right bytes")
            position += len(chunk)
    return frame


def solid_chunks(prefix: Buffer, frame: Buffer, *, new_size: int) -> Iterator[bytes]:
    """The new bytes, pulled a chunk at a time; the prefix is copied and may go.

    Args:
        prefix: as it was when the frame was made; at least `SMALLEST_PREFIX_BYTES`.
        frame: `encode_solid`'s, or anything at all.
        new_size: from signed values; never exceeded.

    Raises:
        PatchError: a malformed frame, one that gives another number of bytes, or bytes after it.
    """
    with view_of(prefix) as prefix_view:
        return _chunks(prefix_view, view_of(frame), new_size)  # which has copied the prefix
