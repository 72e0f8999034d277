"""Digest what lies on disk against what was signed: a baseline's pinned files, a staged level's changed files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from suture.agent.grafts.beneath import directory_beneath, lstat_beneath, names_of, open_directory, open_file
from suture.core.digests import Digest, digest_chunks
from suture.core.errors import BaselineMismatchError, DigestMismatchError, StorageError, TreeError
from suture.improvement.layer import Layer
from suture.improvement.manifest import Pin
from suture.improvement.tree import DirectoryEntry, Entry, LinkEntry

_CHUNK_BYTES = 1 << 20


def verify_pins(root: Path, component_path: str, pins: Sequence[Pin]) -> None:
    """Every pinned file of one component of the baseline has its size and digest.

    Args:
        root: the baseline; a person or a package manager chose it, so links in its own path are followed.

    Raises:
        BaselineMismatchError: names the first file that is missing, unreadable or different.
    """
    try:
        base = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BaselineMismatchError(f"cannot use the baseline {root}: {error.strerror}") from error
    try:
        for pin in pins:
            _verify_pin(base, component_path, pin)
    finally:
        os.close(base)


def _verify_pin(base: int, component_path: str, pin: Pin) -> None:
    where = f"{component_path}/{pin.path}"
    try:
        *parents, name = names_of(where)
        with directory_beneath(base, parents) as parent:
            size, digest = _size_and_digest(name, parent)
    except OSError as error:
        raise BaselineMismatchError(f"cannot use the baseline: {where} cannot be read: {error.strerror}") from error
    except TreeError as error:
        raise BaselineMismatchError(f"cannot use the baseline: {where} is no regular file") from error
    if size != pin.size:
        raise BaselineMismatchError(f"cannot use the baseline: {where} has {size:,} bytes, not {pin.size:,}")
    if digest != pin.digest:
        raise BaselineMismatchError(f"cannot use the baseline: {where} has other bytes than the release")


def _size_and_digest(name: str, parent: int) -> tuple[int, Digest]:
    descriptor = open_file(name, beneath=parent)
    try:
        return os.fstat(descriptor).st_size, digest_chunks(_chunks(descriptor))
    finally:
        os.close(descriptor)


def _chunks(descriptor: int) -> Iterator[bytes]:
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        yield chunk


def verify_component(tree: int, component_path: str, layer: Layer) -> None:
    """What the layer adds or changes is there with the signed bytes and mode, and what it removes is gone.

    Args:
        tree: descriptor of the staged tree.

    Raises:
        DigestMismatchError: names what differs.
    """
    names = names_of(component_path)
    try:
        with directory_beneath(tree, names) as component:
            verify_opened(component, component_path, layer)
    except OSError as error:
        raise DigestMismatchError(f"cannot use the staged {component_path}: {error.strerror}") from error


def verify_opened(component: int, component_path: str, layer: Layer, *, mode_bits: int = 0o7777) -> None:
    """As `verify_component`, for a component's own descriptor.

    Args:
        component_path: what to call it in messages.
        mode_bits: the bits of modes that must be the layer's; a graft that carries set-id bits leaves those out.
    """
    for entry in layer.entries:
        problem = _problem_with(entry, component, mode_bits)
        if problem:
            raise DigestMismatchError(f"cannot use the staged {component_path}/{entry.path}: {problem}")
    for path in layer.removed:
        if _is_there(path, component):
            raise DigestMismatchError(f"cannot use the staged {component_path}: {path} should be gone")


def _problem_with(entry: Entry, component: int, mode_bits: int) -> str:
    *parents, name = names_of(entry.path)
    try:
        with directory_beneath(component, parents) as parent:
            found = lstat_beneath(name, beneath=parent)
            if found is None:
                return "it is missing"
            if isinstance(entry, LinkEntry):
                is_same = stat.S_ISLNK(found.st_mode) and os.readlink(name, dir_fd=parent) == entry.target
                return "" if is_same else "it is not the signed link"
            kind = stat.S_ISDIR if isinstance(entry, DirectoryEntry) else stat.S_ISREG
            if not kind(found.st_mode):
                return f"it is no {entry.__class__.__name__.removesuffix('Entry').lower()}"
            if found.st_mode & mode_bits != int(entry.mode, 8):
                return f"its mode is {stat.S_IMODE(found.st_mode):04o}, not {entry.mode}"
            if isinstance(entry, DirectoryEntry):
                return ""
            size, digest = _size_and_digest(name, parent)
    except OSError as error:
        return error.strerror or str(error)
    return "" if (size, digest) == (entry.size, entry.digest) else "its bytes are not the signed ones"


def _is_there(path: str, component: int) -> bool:
    *parents, name = names_of(path)
    try:
        with directory_beneath(component, parents) as parent:
            return lstat_beneath(name, beneath=parent) is not None
    except (FileNotFoundError, NotADirectoryError):
        return False


def open_tree(path: Path) -> int:
    """The descriptor of a staged tree.

    Raises:
        StorageError: there is none.
    """
    try:
        return open_directory(str(path))
    except OSError as error:
        raise StorageError(f"cannot open the staged tree {path}: {error.strerror}") from error
