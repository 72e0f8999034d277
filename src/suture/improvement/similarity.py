"""Which old file a new one resembles, where no name tells: by pieces of content that both have. Pure, bounded work.

A file's sketch is the smallest digests of its pieces, cut where the content says (so that an insertion moves nothing):
a bottom-k sketch (Broder, On the resemblance and containment of documents, 1997). Only a hint for the patch's size.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from suture import delta
from suture.core.limits import MIB
from suture.delta import Buffer
from suture.improvement.tree import FileEntry

_CUT: Final = re.compile(rb"[\n\0;}]+")
"""Ends of lines, strings, statements and blocks; in bytes of no meaning every 64th, too."""
_SMALLEST_PIECE: Final = 16
"""Bytes; shorter ones are in every file."""
_SKETCH_SIZE: Final = 256
_LOOKED_AT_BYTES: Final = 1 * MIB
"""Of one file, from its beginning."""
_ALL_BYTES: Final = 256 * MIB
"""Of all old files together: at some 50 MB/s a few seconds."""
_ALL_FILES: Final = 20_000
_OWNERS_OF_A_PIECE: Final = 16
"""A piece of more files than this (a licence's lines) tells nothing."""


def sketch_of(data: Buffer) -> frozenset[int]:
    """The smallest `_SKETCH_SIZE` digests of the pieces of a file's first `_LOOKED_AT_BYTES`."""
    with delta.view_of(data) as view:
        pieces = _CUT.split(bytes(view[:_LOOKED_AT_BYTES]))
    digests = {zlib.crc32(piece) for piece in pieces if len(piece) >= _SMALLEST_PIECE}
    return frozenset(sorted(digests)[:_SKETCH_SIZE])


def match_similar(
    new: Iterable[FileEntry],
    old: Sequence[FileEntry],
    read_new: Callable[[str], Buffer],
    read_old: Callable[[str], Buffer],
) -> dict[str, FileEntry]:
    """Old files by the paths of the new files that resemble them.

    Args:
        new: files to find an old file for.
        old: files to choose from, the likeliest first; of two alike the earlier one is taken.
        read_new, read_old: bytes by path.

    Returns:
        Only the new files that share an eighth of their sketch, and at least two pieces, with an old file.
    """
    wanted = {entry.path: sketch_of(read_new(entry.path)) for entry in list(new)[:_ALL_FILES]}
    pieces = frozenset[int]().union(*wanted.values())
    owners: dict[int, list[int]] = {}
    left = _ALL_BYTES
    for number, entry in enumerate(old[:_ALL_FILES] if pieces else ()):
        left -= min(entry.size, _LOOKED_AT_BYTES)
        if left < 0:
            break
        for piece in sketch_of(read_old(entry.path)) & pieces:
            owners.setdefault(piece, []).append(number)
    matches: dict[str, FileEntry] = {}
    for path, sketch in wanted.items():
        shared = Counter(
            number
            for piece in sketch
            if len(owners.get(piece, ())) <= _OWNERS_OF_A_PIECE
            for number in owners.get(piece, ())
        )
        if shared:
            number, count = min(shared.items(), key=lambda item: (-item[1], item[0]))
            if count >= max(2, len(sketch) // 8):
                matches[path] = old[number]
    return matches
