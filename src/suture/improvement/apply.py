"""From a layer, its patch and the old files to the layer's files, over streams. Pure.

Every size comes from the layer, which is signed; every file's digest is compared before its sink is closed in peace.
Holds one chunk of output at a time (and what the engine's window holds, see spec/delta.md §3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from suture import delta
from suture.core.digests import digest_from_hex
from suture.core.errors import DigestMismatchError, PatchError
from suture.delta import Buffer
from suture.improvement.container import pair_members, read_container
from suture.improvement.layer import Layer
from suture.improvement.paths import shown
from suture.improvement.tree import FileEntry


class Sink(Protocol):
    """Where one file's bytes go. Open binary files are sinks."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""
        ...

    def close(self) -> object:
        """Called once, after success and after failure alike; on failure an error follows from `apply_patch`."""
        ...


def apply_patch(
    layer: Layer,
    patch: Buffer,
    *,
    read_old: Callable[[str], Buffer],
    open_sink: Callable[[FileEntry], Sink],
) -> None:
    """Give every regular file of the layer, in its order.

    Args:
        layer: signed, and already checked (`check_layer`).
        patch: the container's bytes.
        read_old: bytes of a from-level file by path; called only for paths that keep the rules of `paths`.
        open_sink: a sink for one file; directories and links are the caller's.

    Raises:
        PatchError: the patch is malformed or does not fit the layer.
        DigestMismatchError: a file's bytes are not the signed ones. Whatever was written is worthless.
    """
    container = read_container(patch)
    pair_members(layer, container)
    for entry, (member, start, end) in zip(layer.files(), container.spans(), strict=True):
        old: Buffer = b"" if member.reads is None else read_old(member.reads)
        with delta.view_of(patch) as view, view[start:end] as piece:
            _apply_file(entry, old, piece, open_sink)


def _apply_file(entry: FileEntry, old: Buffer, piece: memoryview, open_sink: Callable[[FileEntry], Sink]) -> None:
    state = hashlib.sha256()
    sink = open_sink(entry)

    def take(chunk: bytes) -> None:
        state.update(chunk)
        sink.write(chunk)

    try:
        try:
            delta.apply(old, piece, take, new_size=entry.size)
        except PatchError as error:
            raise type(error)(f"{error.message} ({shown(entry.path)})", advice=error.advice) from error
        if digest_from_hex(state.hexdigest()) != entry.digest:
            raise DigestMismatchError(f"cannot use {shown(entry.path)}: its bytes are not the signed ones")
    finally:
        sink.close()
