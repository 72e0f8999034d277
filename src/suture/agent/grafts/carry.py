"""Build one component of a versioned tree: the baseline's files carried over, the layer's files in their place.

Unchanged files are reflinks or copies, never hard or symbolic links to the baseline: ``$ORIGIN`` and
``/proc/self/exe`` would lead back to old code, and writing to one would change the other. ``__pycache__`` stays behind,
or Python would run bytecode of a replaced source. The baseline is only ever read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from suture.adapters.reflink import clone_or_copy
from suture.agent.grafts.beneath import (
    create_file,
    directory_beneath,
    lstat_beneath,
    names_of,
    open_directory,
    open_file,
)
from suture.core.errors import MetadataError, TreeError
from suture.core.limits import MAXIMUM_TREE_ENTRIES
from suture.improvement.layer import Layer
from suture.improvement.tree import DirectoryEntry, Entry, FileEntry, LinkEntry

BYTECODE_DIRECTORY = "__pycache__"
_RIGHTS = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")
_ACL_ACCESS = "system.posix_acl_access"


class Carrier:
    """One component's way into a tree that is being made.

    Args:
        layer: what changes.
        new_file: the path of a layer file's verified bytes.
        issued: seconds since the epoch, the time that replaced files get.
    """

    def __init__(self, layer: Layer, new_file: Callable[[FileEntry], Path], *, issued: int) -> None:
        self._entries: dict[str, Entry] = {entry.path: entry for entry in layer.entries}
        self._removed = frozenset(layer.removed)
        self._new_file, self._issued = new_file, issued
        self._left = MAXIMUM_TREE_ENTRIES
        self._modes: dict[str, int] = {}
        self._owners: dict[str, tuple[int, int]] = {}

    def carry(self, baseline: int, destination: int) -> None:
        """Fill the empty directory `destination` (both are descriptors).

        Raises:
            MetadataError: rights that a copy would lose. TreeError: a device, a socket, too many files.
            OSError: the host's own errors.
        """
        self._carry_directory(baseline, destination, "")
        for entry in self._entries.values():
            self._place(entry, destination)
        for path in sorted(self._modes, reverse=True):  # children first: a read-only directory is closed last
            with directory_beneath(destination, names_of(path)) as directory:
                os.fchmod(directory, self._modes[path])
        _finish_like(destination, os.fstat(baseline))

    def _carry_directory(self, baseline: int, destination: int, prefix: str) -> None:
        for name in sorted(os.listdir(baseline)):
            path = prefix + name
            self._left -= 1
            if self._left < 0:
                raise TreeError(f"cannot carry a component over: it has more than {MAXIMUM_TREE_ENTRIES:,} entries")
            found = lstat_beneath(name, beneath=baseline)
            if found is None or name == BYTECODE_DIRECTORY:
                continue
            replaced = self._entries.get(path)
            if path in self._removed or replaced is not None:
                _refuse_rights(name, path, found, baseline, replaced=True)
                self._owners[path] = (found.st_uid, found.st_gid)
            if path in self._removed or isinstance(replaced, FileEntry | LinkEntry):
                continue
            if stat.S_ISDIR(found.st_mode):
                self._carry_subdirectory(name, path, found, baseline, destination)
            elif isinstance(replaced, DirectoryEntry):
                continue  # a directory in a file's place is made with the layer's entries
            elif stat.S_ISLNK(found.st_mode):
                os.symlink(os.readlink(name, dir_fd=baseline), name, dir_fd=destination)
            elif stat.S_ISREG(found.st_mode):
                _refuse_rights(name, path, found, baseline, replaced=False)
                _copy_file(name, baseline, destination)
            else:
                raise TreeError(f"cannot carry {path!r} over: it is neither a file, a directory nor a link")

    def _carry_subdirectory(self, name: str, path: str, found: os.stat_result, baseline: int, destination: int) -> None:
        os.mkdir(name, 0o700, dir_fd=destination)
        source = open_directory(name, beneath=baseline)
        try:
            target = open_directory(name, beneath=destination)
            try:
                self._modes[path] = stat.S_IMODE(found.st_mode)
                _own(target, found.st_uid, found.st_gid)
                self._carry_directory(source, target, f"{path}/")
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _place(self, entry: Entry, destination: int) -> None:
        *parents, name = names_of(entry.path)
        with directory_beneath(destination, parents) as parent:
            if isinstance(entry, LinkEntry):
                os.symlink(entry.target, name, dir_fd=parent)
            elif isinstance(entry, DirectoryEntry):
                if lstat_beneath(name, beneath=parent) is None:
                    os.mkdir(name, 0o700, dir_fd=parent)
                self._modes[entry.path] = int(entry.mode, 8)
            else:
                self._place_file(entry, name, parent)

    def _place_file(self, entry: FileEntry, name: str, parent: int) -> None:
        source = os.open(self._new_file(entry), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            target = create_file(name, beneath=parent)
            try:
                clone_or_copy(source, target)
                if entry.path in self._owners:
                    _own(target, *self._owners[entry.path])
                os.fchmod(target, int(entry.mode, 8))
                os.utime(target, (self._issued, self._issued))
            finally:
                os.close(target)
        finally:
            os.close(source)


def _copy_file(name: str, baseline: int, destination: int) -> None:
    source = open_file(name, beneath=baseline)
    try:
        target = create_file(name, beneath=destination)
        try:
            clone_or_copy(source, target)
            found = os.fstat(source)
            _own(target, found.st_uid, found.st_gid)
            os.fchmod(target, stat.S_IMODE(found.st_mode))
            if _ACL_ACCESS in _rights_of(source):
                os.setxattr(target, _ACL_ACCESS, os.getxattr(source, _ACL_ACCESS))
            os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _finish_like(directory: int, found: os.stat_result) -> None:
    _own(directory, found.st_uid, found.st_gid)
    os.fchmod(directory, stat.S_IMODE(found.st_mode))


def _own(descriptor: int, user: int, group: int) -> None:
    """Root keeps the baseline's owners; anybody else's copy is their own."""
    if os.geteuid() == 0:
        os.fchown(descriptor, user, group)


def _rights_of(descriptor: int) -> tuple[str, ...]:
    try:
        return tuple(name for name in os.listxattr(descriptor) if name in _RIGHTS)
    except OSError:
        return ()


def _refuse_rights(name: str, path: str, found: os.stat_result, baseline: int, *, replaced: bool) -> None:
    """Refuse what a copy in the store cannot carry.

    Set-id bits and capabilities are refused on unchanged files too: the store keeps old levels, and an old set-id
    program that anybody can start would outlive its fix.
    """
    advice = "this product's files need a graft that keeps them in place; tell its vendor"
    if stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode):
        return
    if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise MetadataError(f"cannot carry {path!r} over: it has a set-id bit", advice=advice)
    if stat.S_ISREG(found.st_mode):
        descriptor = open_file(name, beneath=baseline)
        try:
            rights = _rights_of(descriptor)
        finally:
            os.close(descriptor)
        refused = rights if replaced else tuple(right for right in rights if right == "security.capability")
        if refused:
            raise MetadataError(f"cannot carry {path!r} over: it has {', '.join(refused)}", advice=advice)
    if replaced and os.geteuid() != 0 and found.st_uid != os.geteuid():
        raise MetadataError(
            f"cannot replace {path!r}: it belongs to user {found.st_uid}, and only root can keep that",
            advice="let the system's own agent (root) install it",
        )
