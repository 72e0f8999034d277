"""Walking below a directory's descriptor without ever following a symbolic link.

A store or a component may be written by others than us at the wrong moment; a name that turns into a link in between
must end in an error, never in somebody else's file. Nothing here takes a path that it would resolve by itself.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from suture.core.errors import TreeError
from suture.core.limits import MAXIMUM_PATH_BYTES

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def names_of(path: str) -> list[str]:
    """The names of a relative path.

    Raises:
        TreeError: absolute, empty, too long, or with ``.``, ``..``, an empty name or a NUL in it.
    """
    names = path.split("/")
    if any(name in ("", ".", "..") or "\0" in name for name in names) or len(os.fsencode(path)) > MAXIMUM_PATH_BYTES:
        raise TreeError(f"cannot use {path[:200]!r}: it is no plain path below a component")
    return names


def open_directory(name: str, *, beneath: int | None = None) -> int:
    """A directory's descriptor; a symbolic link is refused (ELOOP or ENOTDIR)."""
    return os.open(name, _DIRECTORY, dir_fd=beneath)


@contextlib.contextmanager
def directory_beneath(start: int, names: list[str], *, make: bool = False) -> Iterator[int]:
    """The descriptor of the directory `names` below `start`; with `make`, what is missing is made with mode 0755."""
    held = os.dup(start)
    try:
        for name in names:
            made = make and _make_directory(name, held)
            following = open_directory(name, beneath=held)
            os.close(held)
            held = following
            if made:
                os.fchmod(held, 0o755)  # whatever the umask is: services read the store
        yield held
    finally:
        os.close(held)


def _make_directory(name: str, beneath: int) -> bool:
    try:
        os.mkdir(name, 0o755, dir_fd=beneath)
    except FileExistsError:
        return False
    return True


def open_file(name: str, *, beneath: int) -> int:
    """A regular file's descriptor for reading.

    Raises:
        TreeError: it is something else.
    """
    descriptor = os.open(name, _FILE, dir_fd=beneath)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise TreeError(f"cannot use {name!r}: it is no regular file")
    return descriptor


def create_file(name: str, *, beneath: int) -> int:
    """A new file's descriptor for writing, private until it is finished; an existing name is an error."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=beneath)


def lstat_beneath(name: str, *, beneath: int) -> os.stat_result | None:
    """What is there, links not followed, or None."""
    try:
        return os.stat(name, dir_fd=beneath, follow_symlinks=False)
    except FileNotFoundError:
        return None


def remove_tree(name: str, *, beneath: int) -> None:
    """Remove a file, link or directory with everything in it; what is missing is fine."""
    found = lstat_beneath(name, beneath=beneath)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=beneath)
        return
    try:
        directory = open_directory(name, beneath=beneath)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=beneath)  # our own unreadable directory; a link in its place is only a stale name
        directory = open_directory(name, beneath=beneath)
    try:
        os.fchmod(directory, 0o700)
        for entry in os.listdir(directory):
            remove_tree(entry, beneath=directory)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=beneath)
