"""A target's bytes onto the disk: resumable, private until whole, never through a symbolic link.

`tuf.ngclient` would open the destination for writing and follow whatever lies there. Here the bytes go to a partial
file of ours beside it, opened relative to the directory's descriptor; they are digested on that very descriptor, synced
and renamed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from suture.adapters.fetch import Deadline, Fetcher
from suture.adapters.files import host_errors
from suture.core.errors import BusyError, DigestMismatchError, NetworkError, UnreachableError
from suture.core.limits import MIB

Progress = Callable[[int, int], None]
"""Called with the bytes at hand and the whole size."""

_READ_BYTES = MIB


def download_target(
    fetcher: Fetcher,
    urls: Sequence[str],
    *,
    digest: str,
    size: int,
    destination: Path,
    deadline: Deadline,
    progress: Progress | None = None,
) -> None:
    """Bring a target of known digest and size to `destination`, replacing what is there.

    Args:
        fetcher: the door to the web.
        urls: where the same bytes lie; tried in turn, each going on where the last one broke off.
        digest: of the whole file, signed: ``sha256:`` or another kind that `hashlib` knows, and hex digits.
        size: of the whole file in bytes, signed.
        destination: in an existing directory; a symbolic link there is replaced, not followed.
        deadline: for all of it.
        progress: told after each chunk.

    Raises:
        NetworkError: none of the addresses gave all bytes; the partial file stays for the next try.
        DigestMismatchError: all bytes came and are not the signed ones; nothing stays.
        BusyError: another process downloads the same file to the same place.
        StorageError: (or a kind of it) the disk said no.
    """
    with _open_directory(destination.parent) as directory:
        name = f".{destination.name}.{digest[-16:]}.part"
        _drop_other_partials(directory, destination, name)
        with _open_partial(directory, name, size, destination) as partial:
            if not _complete(fetcher, urls, partial, size, digest, deadline, progress):
                with host_errors(f"remove {name}"):
                    os.unlink(name, dir_fd=directory)
                raise DigestMismatchError(f"cannot use {destination.name}: its bytes are not those that were signed")
            with host_errors(f"write {destination}"):
                os.fsync(partial)
                os.rename(name, destination.name, src_dir_fd=directory, dst_dir_fd=directory)
                os.fsync(directory)


def _complete(
    fetcher: Fetcher,
    urls: Sequence[str],
    partial: int,
    size: int,
    digest: str,
    deadline: Deadline,
    progress: Progress | None,
) -> bool:
    """Fill the partial file. False where all came and the digest is another."""
    resumed = os.fstat(partial).st_size > 0
    kind = digest.partition(":")[0]
    if _fill(fetcher, urls, partial, size, kind, deadline, progress) == digest:
        return True
    if not resumed:
        return False
    # What an earlier try left may be what was bad: once more from the first byte.
    with host_errors("empty the partial file"):
        os.ftruncate(partial, 0)
    return _fill(fetcher, urls, partial, size, kind, deadline, progress) == digest


def _fill(
    fetcher: Fetcher,
    urls: Sequence[str],
    partial: int,
    size: int,
    kind: str,
    deadline: Deadline,
    progress: Progress | None,
) -> str:
    failure: NetworkError | None = None
    etag, etag_url = "", ""
    for position, url in enumerate(urls):
        with host_errors("read the partial file"):
            sink = _Sink(partial, size, kind, progress)
        if sink.length == size:
            return sink.digest()
        try:
            etag = fetcher.download(
                url,
                size=size,
                offset=sink.length,
                deadline=deadline.part(len(urls) - position),
                write=sink.write,
                restart=sink.restart,
                if_range=etag if etag_url == url else "",
            )
            etag_url = url
        except NetworkError as error:
            failure = failure or error
            continue
        if sink.length == size:
            return sink.digest()
        failure = failure or UnreachableError(f"cannot read {url}: it ends after {sink.length:,} of {size:,} bytes")
    raise failure or UnreachableError("cannot read the file: there is no address to read it from")


class _Sink:
    """Appends to the partial file and keeps the running digest of all of it."""

    def __init__(self, partial: int, size: int, kind: str, progress: Progress | None) -> None:
        self._kind = kind
        self._partial = partial
        self._size = size
        self._progress = progress
        self._state = hashlib.new(self._kind)
        self.length = 0
        os.lseek(partial, 0, os.SEEK_SET)
        while chunk := os.read(partial, _READ_BYTES):
            self._state.update(chunk)
            self.length += len(chunk)

    def write(self, chunk: bytes) -> None:
        with host_errors("write the partial file"):
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._partial, view) :]
        self._state.update(chunk)
        self.length += len(chunk)
        if self._progress is not None:
            self._progress(self.length, self._size)

    def restart(self) -> None:
        with host_errors("empty the partial file"):
            os.ftruncate(self._partial, 0)
            os.lseek(self._partial, 0, os.SEEK_SET)
        self._state = hashlib.new(self._kind)
        self.length = 0

    def digest(self) -> str:
        return f"{self._kind}:{self._state.hexdigest()}"


def has_target(destination: Path, digest: str, size: int) -> bool:
    """Whether the target lies there already, whole and as signed; a symbolic link is not it."""
    try:
        descriptor = os.open(destination, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return False
        kind, _, hexdigits = digest.partition(":")
        return hashlib.file_digest(file, kind).hexdigest() == hexdigits


@contextlib.contextmanager
def _open_directory(path: Path) -> Iterator[int]:
    with host_errors(f"open {path}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _open_partial(directory: int, name: str, size: int, destination: Path) -> Iterator[int]:
    """The partial file, ours alone and locked; what was planted or is too long is removed first."""
    with host_errors(f"write beside {destination}"):
        if not _is_our_partial(directory, name, size):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
        except FileExistsError:
            descriptor = os.open(name, flags, dir_fd=directory)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"cannot fetch {destination.name}: another process is fetching it") from error
        yield descriptor
    finally:
        os.close(descriptor)


def _drop_other_partials(directory: int, destination: Path, kept: str) -> None:
    """Remove what broken-off downloads of other bytes to the same destination left."""
    with host_errors(f"clear {destination.parent}"):
        for name in os.listdir(directory):
            if name.startswith(f".{destination.name}.") and name.endswith(".part") and name != kept:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)


def _is_our_partial(directory: int, name: str, size: int) -> bool:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink == 1
    return ours and status.st_size <= size
