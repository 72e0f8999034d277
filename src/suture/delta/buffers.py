"""What the engine reads and writes: buffers in, chunks out. No files, no copies beyond a chunk."""

from __future__ import annotations

from collections.abc import Callable
from mmap import mmap
from typing import Final, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap
"""Bytes that can be sliced without being read whole: a mapped file is the usual one."""
Output: TypeAlias = Callable[[bytes], object]
"""Takes the new bytes in order, a chunk at a time; whatever it raises passes through untouched."""

CHUNK_BYTES: Final = 256 * 1024
"""Of output handed on at a time."""


def view_of(buffer: Buffer) -> memoryview:
    """The buffer as plain bytes, uncopied. The caller releases it (``with``), or a mapped file cannot be closed."""
    view = memoryview(buffer)
    return view if view.format == "B" and view.ndim == 1 and view.contiguous else view.cast("B")
