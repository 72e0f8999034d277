"""New files and trees, made beside their place and put there in one step, so that nobody sees half of one.

Without `force` nothing that exists is ever replaced, not even by a race (link(2) and renameat2's absence make a
directory's check and rename two steps; an empty directory is the most that can be lost there).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from suture.adapters.files import host_errors, sync_directory
from suture.core.errors import InputError
from suture.improvement.tree import DirectoryEntry, FileEntry, LinkEntry, Tree

_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise before any work where the output is already there.

    Raises:
        InputError: it exists and `force` is not set.
    """
    if os.path.lexists(path) and not force:
        raise InputError(f"cannot write {path}: it exists", advice="choose another name, or say --force to replace it")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: its directory does not exist", advice=f"make {path.parent} first")


@contextlib.contextmanager
def new_file(path: Path, *, force: bool = False, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file to write, put at `path` with `mode` when the block ends well, and gone when it does not.

    Raises:
        InputError: something is at `path` and `force` is not set.
        StorageError: (or a kind of it) the host cannot.
    """
    refuse_existing(path, force=force)
    temporary = _temporary_beside(path)
    try:
        with host_errors(f"write {path}"):
            with open_new(temporary) as file:
                yield file
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            if force:
                temporary.replace(path)
            else:
                _link_new(temporary, path)
        sync_directory(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def new_tree(path: Path, *, force: bool = False) -> Iterator[Path]:
    """An empty private directory to fill, put at `path` when the block ends well, and gone when it does not.

    Raises:
        InputError: something is at `path` and `force` is not set.
        StorageError: (or a kind of it) the host cannot.
    """
    refuse_existing(path, force=force)
    temporary = _temporary_beside(path)
    with host_errors(f"write {path}"):
        temporary.mkdir(mode=0o700)
    try:
        yield temporary
        with host_errors(f"write {path}"):
            _put_tree(temporary, path)
        sync_directory(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_new(path: Path) -> BinaryIO:
    """A new private file for writing; an existing one, or a link, is an OSError."""
    return os.fdopen(os.open(path, _WRITE_FLAGS, 0o600), "wb")


def write_directories(root: Path, tree: Tree) -> None:
    """Make the tree's directories, writable for now; `finish_tree` sets their modes."""
    for entry in tree.entries:
        if isinstance(entry, DirectoryEntry):
            with host_errors(f"make the directory {entry.path}"):
                (root / entry.path).mkdir(mode=0o700)


def finish_tree(root: Path, tree: Tree, *, mode: int = 0o755) -> None:
    """Make the links, set every mode (directories last, deepest first), and put it all on disk."""
    with host_errors(f"finish {root}"):
        for entry in tree.entries:
            if isinstance(entry, LinkEntry):
                (root / entry.path).symlink_to(entry.target)
            elif isinstance(entry, FileEntry):
                _set_mode(root / entry.path, int(entry.mode, 8))
        for entry in reversed(tree.entries):
            if isinstance(entry, DirectoryEntry):
                _set_mode(root / entry.path, int(entry.mode, 8))
        _set_mode(root, mode)


def _set_mode(path: Path, mode: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary_beside(path: Path) -> Path:
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.new")


def _link_new(temporary: Path, path: Path) -> None:
    """Give the file its name without replacing one that came meanwhile."""
    try:
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError as error:
        raise InputError(f"cannot write {path}: it exists") from error
    except OSError:
        # A file system without hard links (FAT, some network ones): the check before the work has to do.
        refuse_existing(path, force=False)
        temporary.replace(path)


def _put_tree(temporary: Path, path: Path) -> None:
    """Rename into place; what was there is moved aside first and deleted last."""
    if not os.path.lexists(path):
        temporary.rename(path)
        return
    aside = _temporary_beside(path)
    path.rename(aside)
    try:
        temporary.rename(path)
    except OSError:
        aside.rename(path)
        raise
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink()
