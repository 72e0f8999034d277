"""What a full download would cost: the yardstick that a patch is measured against. Measures only."""

from __future__ import annotations

import sys

from suture.improvement.tree import FileEntry
from suture.publisher.importers.trees import ImportedComponent

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdCompressor
else:
    from backports.zstd import ZstdCompressor

FULL_LEVEL = 19
"""zstd's highest level without --ultra: what a careful vendor ships whole files with."""
_CHUNK_BYTES = 1024 * 1024


def new_size(component: ImportedComponent) -> int:
    """Bytes of all regular files of the new tree."""
    return sum(entry.size for entry in component.new.tree.entries if isinstance(entry, FileEntry))


def compressed_size(component: ImportedComponent) -> int:
    """Bytes of all regular files of the new tree as one zstd -19 stream, in the order of their paths."""
    compressor = ZstdCompressor(level=FULL_LEVEL)
    size = 0
    for entry in component.new.tree.entries:
        if isinstance(entry, FileEntry):
            with memoryview(component.read_new(entry.path)) as view:
                for start in range(0, len(view), _CHUNK_BYTES):
                    size += len(compressor.compress(view[start : start + _CHUNK_BYTES]))
    return size + len(compressor.flush())
