"""The ``copy`` engine: new bytes that equal the old ones (a renamed file, a changed mode). Its payload is empty."""

from __future__ import annotations

from suture.core.errors import PatchError
from suture.delta.buffers import CHUNK_BYTES, Output


def encode(old: memoryview, new: memoryview, _effort: int) -> bytes | None:
    """The empty payload where old and new are equal, else None."""
    return b"" if old == new else None


def apply(old: memoryview, payload: memoryview, output: Output, new_size: int) -> None:
    """Give the old bytes.

    Raises:
        PatchError: a payload, or another size than the old one's.
    """
    if len(payload):
        raise PatchError("cannot apply the patch: a copy carries no payload")
    if len(old) != new_size:
        raise PatchError("cannot apply the patch: a copy has the old file's size")
    for start in range(0, len(old), CHUNK_BYTES):
        output(bytes(old[start : start + CHUNK_BYTES]))
