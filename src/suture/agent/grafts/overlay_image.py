"""What goes into a component's image: the layer's files, the directories above them, and whiteouts of what is gone.

Who may do what with a file is the baseline's word, never the publisher's: owners, set-id bits, capabilities, ACLs and
labels of what is replaced are carried over from the baseline's file. What cannot be carried is refused. The baseline is
only ever read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from suture.adapters.reflink import clone_or_copy
from suture.agent.grafts.beneath import create_file, directory_beneath, lstat_beneath, names_of
from suture.agent.grafts.carry import BYTECODE_DIRECTORY
from suture.core.errors import MetadataError, TreeError
from suture.improvement.layer import Layer
from suture.improvement.tree import DirectoryEntry, Entry, FileEntry, LinkEntry, Metadata

_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_RIGHTS_PREFIXES = ("security.", "system.", "trusted.")
"""xattr(7): capabilities and labels, ACLs, and what only the administrator sees."""
_OF_THE_OLD_BYTES = ("security.ima", "security.evm", "trusted.overlay.")
"""Signatures over the replaced bytes, and an overlay's own marks: neither can be true of the new file."""
_ACL = "system.posix_acl_access"
_ADVICE = "this product's files need rights that this device cannot carry over; tell its vendor"


class ImageTree:
    """One component's tree for mkfs.erofs.

    Args:
        layer: what changes.
        new_file: the path of a layer file's verified bytes.
    """

    def __init__(self, layer: Layer, new_file: Callable[[FileEntry], Path]) -> None:
        self._entries: dict[str, Entry] = {entry.path: entry for entry in layer.entries}
        self._removed = layer.removed
        self._new_file = new_file
        self._made: dict[str, tuple[int, Metadata]] = {}
        """Directories, with the mode and rights that they get at the end."""

    def fill(self, baseline: int, destination: int) -> None:
        """Fill the empty directory `destination` (both are descriptors).

        Raises:
            MetadataError: rights that cannot be carried. TreeError: a path that is no plain path below the component.
            OSError: the host's own errors.
        """
        for path, entry in self._entries.items():
            self._place(path, entry, baseline, destination)
        for path in (*self._removed, *self._stale_bytecode(baseline)):
            self._white_out(path, baseline, destination)
        for path in sorted(self._made, reverse=True):  # children first: rights of a parent must not reach into them
            with directory_beneath(destination, names_of(path)) as directory:
                _finish(directory, path, *self._made[path])
        found = os.fstat(baseline)
        _finish(destination, ".", stat.S_IMODE(found.st_mode) & 0o777, rights_of(baseline, "."))

    def _place(self, path: str, entry: Entry, baseline: int, destination: int) -> None:
        *parents, name = names_of(path)
        self._make_parents(parents, baseline, destination)
        before = _rights_at(path, baseline, type(entry))
        with directory_beneath(destination, parents) as parent:
            if isinstance(entry, LinkEntry):
                os.symlink(entry.target, name, dir_fd=parent)
                os.chown(name, before.owner, before.group, dir_fd=parent, follow_symlinks=False)
            elif isinstance(entry, DirectoryEntry):
                if path not in self._made:
                    os.mkdir(name, 0o700, dir_fd=parent)
                self._made[path] = (int(entry.mode, 8), before)
            else:
                self._place_file(entry, name, parent, before)

    def _make_parents(self, parents: list[str], baseline: int, destination: int) -> None:
        """The directories above an entry, as the layer has them or else as the baseline does."""
        for depth in range(1, len(parents) + 1):
            path = "/".join(parents[:depth])
            if path in self._made:
                continue
            entry = self._entries.get(path)
            if entry is None:
                with directory_beneath(baseline, parents[:depth]) as directory:
                    mode = stat.S_IMODE(os.fstat(directory).st_mode) & 0o777
                    self._made[path] = (mode, rights_of(directory, path))
            elif isinstance(entry, DirectoryEntry):
                self._made[path] = (int(entry.mode, 8), _rights_at(path, baseline, DirectoryEntry))
            else:
                raise TreeError(f"cannot put anything below {path!r}: the layer has no directory there")
            with directory_beneath(destination, parents[: depth - 1]) as parent:
                os.mkdir(parents[depth - 1], 0o700, dir_fd=parent)

    def _place_file(self, entry: FileEntry, name: str, parent: int, before: Metadata) -> None:
        source = os.open(self._new_file(entry), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            target = create_file(name, beneath=parent)
            try:
                clone_or_copy(source, target)
                _finish(target, entry.path, int(entry.mode, 8), before)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _white_out(self, path: str, baseline: int, destination: int) -> None:
        """A character device 0:0 hides what lies beneath (overlayfs.rst, "whiteouts and opaque directories")."""
        *parents, name = names_of(path)
        above = {"/".join(parents[:depth]) for depth in range(1, len(parents) + 1)}
        hidden = {one for one, entry in self._entries.items() if not isinstance(entry, DirectoryEntry)}
        if above & (hidden | set(self._removed)) or path in self._entries:
            return
        try:
            with directory_beneath(baseline, parents) as directory:
                if lstat_beneath(name, beneath=directory) is None:
                    return
        except (FileNotFoundError, NotADirectoryError):
            return
        self._make_parents(parents, baseline, destination)
        with directory_beneath(destination, parents) as parent:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)

    def _stale_bytecode(self, baseline: int) -> Iterator[str]:
        """Cached bytecode of sources that change or go: Python would run the old one."""
        for source in sorted({*self._entries, *self._removed}):
            path = PurePosixPath(source)
            if path.suffix != ".py":
                continue
            cache = path.parent / BYTECODE_DIRECTORY
            try:
                with directory_beneath(baseline, names_of(str(cache))) as directory:
                    names = sorted(os.listdir(directory))
            except (FileNotFoundError, NotADirectoryError):
                continue
            yield from (str(cache / name) for name in names if name.startswith(f"{path.stem}."))


def rights_of(descriptor: int, path: str) -> Metadata:
    """Owner, set-id bits and extended attributes that carry rights, of an open file or directory.

    Raises:
        MetadataError: a signature over the old bytes, or attributes that cannot be read.
    """
    found = os.fstat(descriptor)
    attributes: list[tuple[str, bytes]] = []
    try:
        for name in sorted(os.listxattr(descriptor)):
            if name.startswith(_OF_THE_OLD_BYTES):
                raise MetadataError(f"cannot replace {path!r}: it has {name}, which fits its old bytes", advice=_ADVICE)
            if name.startswith(_RIGHTS_PREFIXES):
                attributes.append((name, os.getxattr(descriptor, name)))
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENOSYS):
            raise MetadataError(f"cannot read the rights of {path!r}: {error.strerror}", advice=_ADVICE) from error
    return Metadata(found.st_uid, found.st_gid, found.st_mode & _SPECIAL_BITS, tuple(attributes))


def _rights_at(path: str, baseline: int, kind: type[Entry]) -> Metadata:
    """What an entry of that kind gets: all that the baseline's has where it is of one kind with it, else its owner."""
    return _rights_of_kind(path, baseline, kind) or _owner_at(path, baseline)


def _owner_at(path: str, component: int) -> Metadata:
    *parents, name = names_of(path)
    try:
        with directory_beneath(component, parents) as directory:
            found = lstat_beneath(name, beneath=directory)
    except (FileNotFoundError, NotADirectoryError):
        found = None
    return Metadata(0, 0, 0) if found is None else Metadata(found.st_uid, found.st_gid, 0)


def _rights_of_kind(path: str, component: int, kind: type[Entry]) -> Metadata | None:
    """The rights of the regular file or directory at `path`, or None where there is no such thing."""
    *parents, name = names_of(path)
    is_kind = {FileEntry: stat.S_ISREG, DirectoryEntry: stat.S_ISDIR}.get(kind)
    if is_kind is None:
        return None
    try:
        with directory_beneath(component, parents) as directory:
            found = lstat_beneath(name, beneath=directory)
            if found is None or not is_kind(found.st_mode):
                return None
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(name, flags, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return rights_of(descriptor, path)
    finally:
        os.close(descriptor)


def _finish(descriptor: int, path: str, mode: int, rights: Metadata) -> None:
    """Owner first, since a change of owner takes set-id bits and capabilities away (chown(2))."""
    os.fchown(descriptor, rights.owner, rights.group)
    os.fchmod(descriptor, mode | rights.special_mode)
    try:
        for name, value in rights.attributes:
            os.setxattr(descriptor, name, value)
    except OSError as error:
        raise MetadataError(f"cannot carry the rights of {path!r} over: {error.strerror}", advice=_ADVICE) from error
    if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o777 != mode:
        # An ACL holds the group's bits (acl(5)): the layer's mode and the baseline's ACL contradict each other.
        raise MetadataError(f"cannot give {path!r} the mode {mode:04o}: its access control list says otherwise")


def verify_rights(baseline: int, made: int, layer: Layer) -> None:
    """Every entry that replaces a baseline file has that file's owner, set-id bits and attributes.

    Args:
        baseline: descriptor of the bare component. made: descriptor of the component with the layer in place.

    Raises:
        MetadataError: names the first that has not.
    """
    for entry in layer.entries:
        wanted = _rights_of_kind(entry.path, baseline, type(entry))
        if wanted is not None and wanted != _rights_of_kind(entry.path, made, type(entry)):
            raise MetadataError(f"cannot carry the rights of {entry.path!r} over: the image has others", advice=_ADVICE)
