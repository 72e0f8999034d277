"""Files, read bounded and written atomically, with the host's errors in our words.

A write is seen whole or not at all, and is on disk when the call returns: temporary file in the same directory, fsync,
rename, fsync of the directory. Reads never follow a symbolic link in the last component and never exceed their bound.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from suture.core.errors import BusyError, DiskFullError, ReadOnlyError, RightsError, StorageError

PRIVATE_DIRECTORY = 0o700
PUBLIC_DIRECTORY = 0o755
_LOCK_RETRY_SECONDS = 0.02


@contextlib.contextmanager
def host_errors(doing: str) -> Iterator[None]:
    """Turn OSError into our storage errors; `doing` completes "cannot …"."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"cannot {doing}: {reason}") from error
        if error.errno == errno.EROFS:
            raise ReadOnlyError(f"cannot {doing}: {reason}") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise RightsError(f"cannot {doing}: {reason}") from error
        raise StorageError(f"cannot {doing}: {reason}") from error


def read_file(path: Path, *, maximum_bytes: int) -> bytes:
    """The bytes of a regular file.

    Args:
        path: the file; a symbolic link in its last component is refused.
        maximum_bytes: more than this is an error, whatever the file system says of its size.

    Raises:
        StorageError: missing, no regular file, too large, unreadable.
    """
    with host_errors(f"read {path}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StorageError(f"cannot read {path}: it is no regular file")
            data = file.read(maximum_bytes + 1)
    if len(data) > maximum_bytes:
        raise StorageError(f"cannot read {path}: it is larger than {maximum_bytes:,} bytes")
    return data


def read_file_if_there(path: Path, *, maximum_bytes: int) -> bytes | None:
    """As `read_file`, or None where there is no such file."""
    if not os.path.lexists(path):
        return None
    return read_file(path, maximum_bytes=maximum_bytes)


def sync_directory(path: Path) -> None:
    """Put a directory's entries on disk."""
    with host_errors(f"sync {path}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file atomically and durably.

    Args:
        path: what to replace; its directory must exist.
        data: the new content.
        mode: permission bits of the new file, the umask notwithstanding.

    Raises:
        StorageError: (or a kind of it) nothing changed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.new")
    with host_errors(f"write {path}"):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    sync_directory(path.parent)


def make_directory(path: Path, *, mode: int = PRIVATE_DIRECTORY) -> None:
    """Make a directory and its parents where missing; the last one gets `mode`, parents 0755."""
    with host_errors(f"make the directory {path}"):
        if path.is_dir():
            return
        path.parent.mkdir(mode=PUBLIC_DIRECTORY, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=mode)
            path.chmod(mode)
    sync_directory(path.parent)


@contextlib.contextmanager
def exclusive_lock(path: Path, *, doing: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold an advisory lock on `path` (flock(2)).

    Args:
        path: the lock's file; made where missing.
        doing: completes "cannot …".
        wait_seconds: how long to wait for somebody else who holds it; 0 tries once.

    Raises:
        BusyError: somebody else held it all the while.
    """
    with host_errors(f"lock {path}"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise BusyError(f"cannot {doing}: another Suture process holds {path.name}") from error
            time.sleep(_LOCK_RETRY_SECONDS)
        yield
    finally:
        os.close(descriptor)
