"""The solid group: files that go through one stream, in layer order, against a prefix of old files and layer lines.

Both sides make the prefix here, so it is part of the format (spec/improvement.md §4.3). Never holds the group's new
bytes, and never more than the bounded prefix of its old ones.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from suture import delta
from suture.core.digests import Digest, hex_of
from suture.core.errors import PatchError
from suture.core.limits import MIB
from suture.delta import SOLID_NEW_BYTES, SOLID_OLD_BYTES, Buffer
from suture.improvement.layer import Layer

LINES_BYTES: Final = 4 * MIB
"""Of layer lines in a prefix; a manifest has no room for more."""


def layer_lines(layer: Layer) -> bytes:
    """``PATH,sha256=DIGEST,SIZE`` of each regular file: as in a wheel's RECORD (PyPA, recording installed projects).

    A tree that lists its own digests repeats what the layer says already; with these lines they cost nothing again.
    The digest in URL-safe base64 without padding; whole lines, as many as fit into `LINES_BYTES`.
    """
    lines: list[bytes] = []
    left = LINES_BYTES
    for entry in layer.files():
        digest = base64.urlsafe_b64encode(bytes.fromhex(hex_of(Digest(entry.digest)))).decode().rstrip("=")
        line = f"{entry.path},sha256={digest},{entry.size}\n".encode()
        left -= len(line)
        if left < 0:
            break
        lines.append(line)
    return b"".join(lines)


def prefix_of(old: Iterable[Buffer], lines: bytes) -> bytearray:
    """The old files, one after the other, then the layer's lines.

    Raises:
        PatchError: the old files have more than `SOLID_OLD_BYTES`.
    """
    prefix = bytearray()
    for buffer in old:
        with delta.view_of(buffer) as view:
            if len(prefix) + len(view) > SOLID_OLD_BYTES:
                raise PatchError(f"cannot apply the patch: a group reads more than {SOLID_OLD_BYTES:,} bytes")
            prefix += view
    prefix += lines
    return prefix


class SolidReader:
    """The files of one group, one after the other."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def give(self, size: int, take: Callable[[bytes], object]) -> None:
        """Hand the next `size` bytes to `take`.

        Raises:
            PatchError: the stream is malformed or ends too early.
        """
        while size:
            if not self._left:
                self._left = memoryview(self._next())
            piece = self._left[:size]
            self._left = self._left[size:]
            size -= len(piece)
            take(bytes(piece))

    def _next(self) -> bytes:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise PatchError("cannot apply the patch: a group ends before its files do")
        return chunk

    def end(self) -> None:
        """The stream ends here, too.

        Raises:
            PatchError: it does not, or its end is malformed.
        """
        if self._left or next(self._chunks, None) is not None:
            raise PatchError("cannot apply the patch: a group goes on after its files")


def open_group(old: Iterable[Buffer], lines: bytes, frame: memoryview, new_size: int) -> SolidReader:
    """Start to read one group.

    Args:
        old: the old files of its prefix, in order.
        lines: `layer_lines` of the signed layer.
        frame: the group's bytes of the container.
        new_size: its files' sizes together, from the layer.

    Raises:
        PatchError: it reads or gives more than a group may.
    """
    if not 1 <= new_size <= SOLID_NEW_BYTES:
        raise PatchError(f"cannot apply the patch: a group gives {new_size:,} bytes, which no group may")
    return SolidReader(delta.solid_chunks(prefix_of(old, lines), frame, new_size=new_size))
