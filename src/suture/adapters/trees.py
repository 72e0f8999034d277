"""Directory trees: scanned, read and walked without ever following a symbolic link (openat(2), O_NOFOLLOW).

Whatever is no regular file, directory or symbolic link inside the tree is refused by name and reason. Nothing here
changes a tree.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from suture.adapters.files import host_errors
from suture.core.digests import digest_from_hex
from suture.core.errors import StorageError, TreeError
from suture.core.limits import MAXIMUM_FILE_BYTES, MAXIMUM_TREE_ENTRIES, MIB
from suture.improvement.metadata_rules import ROOT
from suture.improvement.paths import check_link, check_path, shown
from suture.improvement.tree import DirectoryEntry, Entry, FileEntry, LinkEntry, Metadata, Tree
from suture.improvement.tree_rules import check_tree, sorted_tree

BYTECODE_DIRECTORY: Final = "__pycache__"
_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_SPECIAL_BITS: Final = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_RIGHTS_PREFIXES: Final = ("security.", "system.", "trusted.")
"""xattr(7): capabilities and labels, ACLs, and what only the administrator sees. ``user.`` carries no rights."""
_READ_BYTES: Final = 1 * MIB

Progress = Callable[[str, int], object]
"""Called before each file is read with its path and how many entries were found before it."""


@dataclass(frozen=True, slots=True)
class ScannedTree:
    """A scanned tree, what its entries carry beside their bytes (by path, ``""`` for the root), and where it is."""

    tree: Tree
    metadata: dict[str, Metadata]
    root: Path


def scan_tree(
    root: Path,
    *,
    hard_links: Literal["refuse", "allow"] = "refuse",
    skip_bytecode: bool = False,
    maximum_entries: int = MAXIMUM_TREE_ENTRIES,
    progress: Progress | None = None,
) -> ScannedTree:
    """Read every entry of a tree, and digest every file of it.

    Args:
        root: the component's directory; the last component of its path may not be a link.
        hard_links: what to do with a regular file of several names; a publisher's tree may have none, since the
            layer could not give the second name back.
        skip_bytecode: leave out ``__pycache__`` directories.
        maximum_entries: more are refused.
        progress: see `Progress`.

    Raises:
        TreeError: an entry that an improvement may not hold, named with its reason; or a tree that changes meanwhile.
        StorageError, RightsError: the host cannot read it.
    """
    scan = _Scan(hard_links == "refuse", skip_bytecode, maximum_entries, progress)
    with _open_directory(root) as descriptor:
        scan.metadata[ROOT] = _metadata_of(descriptor, os.fstat(descriptor))
        _scan_directory(scan, descriptor, "")
    return ScannedTree(check_tree(sorted_tree(scan.entries)), scan.metadata, root)


def read_member(root: Path, path: str) -> mmap.mmap | bytes:
    """A file of a tree, mapped for reading; ``b""`` for an empty one.

    Args:
        root: the component's directory.
        path: relative to it; no part of it may be a link.

    Raises:
        TreeError: a bad path, a link on the way, no regular file, larger than `MAXIMUM_FILE_BYTES`.
        StorageError, RightsError: missing or unreadable.
    """
    with open_member(root, path) as descriptor, host_errors(f"read {path} in {root}"):
        size = os.fstat(descriptor).st_size
        return mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else b""


@contextlib.contextmanager
def open_member(root: Path, path: str) -> Iterator[int]:
    """A descriptor of a tree's regular file, found without following any link; errors as `read_member`."""
    *parents, name = check_path(path).split("/")
    with contextlib.ExitStack() as stack:
        descriptor = stack.enter_context(_open_directory(root))
        for parent in parents:
            descriptor = stack.enter_context(_open_at(parent, descriptor, _DIRECTORY_FLAGS, path))
        file = stack.enter_context(_open_at(name, descriptor, _FILE_FLAGS, path))
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise TreeError(f"cannot read {shown(path)}: it is no regular file")
        if status.st_size > MAXIMUM_FILE_BYTES:
            raise TreeError(f"cannot read {shown(path)}: it is larger than {MAXIMUM_FILE_BYTES:,} bytes")
        yield file


@dataclass(slots=True)
class _Scan:
    """What a scan gathers, and its rules."""

    refuses_hard_links: bool
    skips_bytecode: bool
    maximum_entries: int
    progress: Progress | None
    entries: list[Entry] = field(default_factory=list)
    metadata: dict[str, Metadata] = field(default_factory=dict)


def _scan_directory(scan: _Scan, directory: int, prefix: str) -> None:
    with host_errors(f"list {shown(prefix or '.')}"):
        names = sorted(os.listdir(directory), key=os.fsencode)
    for name in names:
        if len(scan.entries) >= scan.maximum_entries:
            raise TreeError(f"cannot scan a tree of more than {scan.maximum_entries:,} entries")
        path = check_path(f"{prefix}{name}")
        with host_errors(f"look at {shown(path)}"):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        mode = f"{stat.S_IMODE(status.st_mode) & 0o777:04o}"
        if stat.S_ISDIR(status.st_mode):
            if scan.skips_bytecode and name == BYTECODE_DIRECTORY:
                continue
            with _open_at(name, directory, _DIRECTORY_FLAGS, path) as child:
                scan.entries.append(DirectoryEntry(path, mode))
                scan.metadata[path] = _metadata_of(child, os.fstat(child))
                _scan_directory(scan, child, f"{path}/")
        elif stat.S_ISLNK(status.st_mode):
            _scan_link(scan, directory, name, path, status)
        elif stat.S_ISREG(status.st_mode):
            _scan_file(scan, directory, name, path)
        else:
            raise TreeError(f"cannot put {shown(path)} into an improvement: it is {_kind_of(status.st_mode)}")


def _scan_link(scan: _Scan, directory: int, name: str, path: str, status: os.stat_result) -> None:
    with host_errors(f"read the link {shown(path)}"):
        target = os.readlink(name, dir_fd=directory)
    scan.entries.append(LinkEntry(path, check_link(path, target)))
    attributes = _attributes_of(f"/proc/self/fd/{directory}/{name}", follows=False)
    scan.metadata[path] = Metadata(status.st_uid, status.st_gid, 0, attributes)


def _scan_file(scan: _Scan, directory: int, name: str, path: str) -> None:
    if scan.progress is not None:
        scan.progress(path, len(scan.entries))
    with _open_at(name, directory, _FILE_FLAGS, path) as file:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise TreeError(f"cannot scan {shown(path)}: it changed while it was read")
        if scan.refuses_hard_links and status.st_nlink > 1:
            raise TreeError(
                f"cannot put {shown(path)} into an improvement: it is a hard link (of {status.st_nlink} names)"
            )
        if status.st_size > MAXIMUM_FILE_BYTES:
            raise TreeError(f"cannot use {shown(path)}: it is larger than {MAXIMUM_FILE_BYTES:,} bytes")
        digest = _digest_of(file, status.st_size, path)
        mode = f"{stat.S_IMODE(status.st_mode) & 0o777:04o}"
        scan.entries.append(FileEntry(path, mode, status.st_size, digest))
        scan.metadata[path] = _metadata_of(file, status)


def _digest_of(file: int, size: int, path: str) -> str:
    """Digest of exactly `size` bytes; a file that grows or shrinks meanwhile is refused, and never read for ever."""
    state = hashlib.sha256()
    left = size
    with host_errors(f"read {shown(path)}"):
        while chunk := os.read(file, min(_READ_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            state.update(chunk)
    if left:
        raise TreeError(f"cannot scan {shown(path)}: it changed while it was read")
    return digest_from_hex(state.hexdigest())


def _metadata_of(descriptor: int, status: os.stat_result) -> Metadata:
    attributes = _attributes_of(descriptor, follows=True)
    return Metadata(status.st_uid, status.st_gid, status.st_mode & _SPECIAL_BITS, attributes)


def _attributes_of(target: int | str, *, follows: bool) -> tuple[tuple[str, bytes], ...]:
    """Extended attributes that carry rights or labels, in the order of their names; none where there is no support."""
    if not hasattr(os, "listxattr"):
        return ()
    try:
        names = os.listxattr(target, follow_symlinks=follows)
        wanted = sorted(name for name in names if name.startswith(_RIGHTS_PREFIXES))
        return tuple((name, os.getxattr(target, name, follow_symlinks=follows)) for name in wanted)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA, errno.ENOENT, errno.ENOSYS):
            return ()
        raise StorageError(f"cannot read extended attributes: {error.strerror}") from error


@contextlib.contextmanager
def _open_directory(path: Path) -> Iterator[int]:
    with host_errors(f"open the directory {path}"):
        descriptor = os.open(path, _DIRECTORY_FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _open_at(name: str, directory: int, flags: int, path: str) -> Iterator[int]:
    """openat(2) of one name; a link there (ELOOP, or ENOTDIR for a directory) is refused as such."""
    with host_errors(f"read {shown(path)}"):
        try:
            descriptor = os.open(name, flags, dir_fd=directory)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise TreeError(f"cannot read {shown(path)}: a part of it is a link or no directory") from error
            if error.errno == errno.ENXIO:
                raise TreeError(f"cannot read {shown(path)}: it is no regular file") from error
            raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _kind_of(mode: int) -> str:
    """The reason for refusing what is no file, directory or link."""
    kinds = ((stat.S_ISBLK, "a block device"), (stat.S_ISCHR, "a character device"), (stat.S_ISFIFO, "a named pipe"))
    for is_kind, words in kinds:
        if is_kind(mode):
            return words
    return "a socket" if stat.S_ISSOCK(mode) else "of an unknown kind"
