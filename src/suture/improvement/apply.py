"""From a layer, its patch and the old files to the layer's files, over streams. Pure.

Every size comes from the layer, which is signed; every file's digest is compared before its sink is closed in peace.
Holds one chunk of output at a time, what the engine's window holds (spec/delta.md §3), and one group's prefix.
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
from suture.improvement.container_parts import Container, Member, OldFile, OldPaths
from suture.improvement.layer import Layer
from suture.improvement.paths import shown
from suture.improvement.solid import SolidReader, layer_lines, open_group
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
    paths = OldPaths(layer)

    def read(old: OldFile) -> Buffer:
        return read_old(paths.path(old))

    with delta.view_of(patch) as view:
        groups = _Groups(layer, container, view, read)
        for entry, member in zip(layer.files(), container.members, strict=True):
            if member.group is not None:
                _write_file(entry, groups.giver(member.group, entry), open_sink)
                groups.written(member.group)
                continue
            old: Buffer = b"" if member.reads is None else read(member.reads)
            with view[member.start : member.end] as piece:
                _write_file(entry, _alone(entry, member, old, piece), open_sink)


Giver = Callable[[Callable[[bytes], object]], None]
"""Gives one file's bytes to what it is called with."""


def _alone(entry: FileEntry, member: Member, old: Buffer, piece: memoryview) -> Giver:
    """The bytes of a file with a payload, or in version 1 a whole delta, of its own."""
    engine = member.engine
    if engine is None:
        return lambda take: delta.apply(old, piece, take, new_size=entry.size)
    return lambda take: delta.apply_payload(engine, old, piece, take, new_size=entry.size)


class _Groups:
    """The groups of a container, of which one is open at a time: members come in the groups' order."""

    def __init__(self, layer: Layer, container: Container, view: memoryview, read: Callable[[OldFile], Buffer]) -> None:
        self._groups, self._view, self._read = container.groups, view, read
        self._lines = layer_lines(layer) if container.groups else b""
        self._left = [group.members for group in container.groups]
        self._sizes = [0] * len(container.groups)
        for entry, member in zip(layer.files(), container.members, strict=True):
            if member.group is not None:
                self._sizes[member.group] += entry.size
        self._open: SolidReader | None = None

    def giver(self, number: int, entry: FileEntry) -> Giver:
        """The next file of a group, which is opened with its first."""
        if self._open is None:
            group = self._groups[number]
            frame = self._view[group.start : group.end]
            self._open = open_group(map(self._read, group.reads), self._lines, frame, self._sizes[number])
        reader = self._open
        return lambda take: reader.give(entry.size, take)

    def written(self, number: int) -> None:
        """After each file of a group: the last one closes it."""
        self._left[number] -= 1
        if not self._left[number] and self._open is not None:
            self._open.end()
            self._open = None


def _write_file(entry: FileEntry, give: Giver, open_sink: Callable[[FileEntry], Sink]) -> None:
    state = hashlib.sha256()
    sink = open_sink(entry)

    def take(chunk: bytes) -> None:
        state.update(chunk)
        sink.write(chunk)

    try:
        try:
            give(take)
        except PatchError as error:
            raise type(error)(f"{error.message} ({shown(entry.path)})", advice=error.advice) from error
        if digest_from_hex(state.hexdigest()) != entry.digest:
            raise DigestMismatchError(f"cannot use {shown(entry.path)}: its bytes are not the signed ones")
    finally:
        sink.close()
