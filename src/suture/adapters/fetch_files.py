"""The same door for ``file:///`` addresses: a mirror on a stick or a disk, trusted no more than a web server.

Regular files only, no symbolic link in the last component, every read bounded. A path that is not there is "404", so
that the callers' rules (a missing next root means that there is none) hold unchanged.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from suture.adapters.fetch_answers import StatusError, TooLongError
from suture.adapters.fetch_connection import Deadline
from suture.core.errors import InputError, UnreachableError
from suture.core.limits import MIB

_SCHEME = "file:"
_NOT_FOUND = 404


def is_file_address(url: str) -> bool:
    """Whether `url` is one of these."""
    return url.startswith(_SCHEME)


def path_of_address(url: str) -> str:
    """The absolute path that a ``file:///`` address names (RFC 8089, without a host).

    Raises:
        InputError: a host, a query, a fragment, a part ``..`` or a NUL byte.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or parts.query or parts.fragment or not path.startswith("/") or "\0" in path:
        raise InputError(f"cannot use {url[:200]!r} as a repository address: write it as file:///path")
    if ".." in PurePosixPath(path).parts:
        raise InputError(f"cannot use {url[:200]!r} as a repository address: its path has a '..' part")
    return path


def read_address(url: str, maximum_bytes: int) -> bytes:
    """A small file whole.

    Raises:
        StatusError: 404, it is not there.
        TooLongError: it is longer than `maximum_bytes`.
        UnreachableError: it cannot be read, or is no regular file.
    """
    with _opened(url) as file:
        data = _some(file, url, maximum_bytes + 1)
    if len(data) > maximum_bytes:
        raise TooLongError(f"cannot use {url}: it is longer than {maximum_bytes:,} bytes")
    return data


def stream_address(url: str, *, size: int, offset: int, deadline: Deadline, write: Callable[[bytes], None]) -> None:
    """A large file from `offset` on, never beyond `size`; errors as `read_address`, and SlowError."""
    with _opened(url) as file:
        if os.fstat(file.fileno()).st_size > size:
            raise TooLongError(f"cannot use {url}: it is longer than {size:,} bytes")
        file.seek(offset)
        while offset < size and (chunk := _some(file, url, min(MIB, size - offset))):
            deadline.remaining()
            write(chunk)
            offset += len(chunk)


def _opened(url: str) -> BinaryIO:
    path = path_of_address(url)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StatusError(f"cannot read {url}: there is no such file", _NOT_FOUND) from error
    except OSError as error:
        raise UnreachableError(f"cannot read {url}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreachableError(f"cannot read {url}: it is no regular file")
    return os.fdopen(descriptor, "rb")


def _some(file: BinaryIO, url: str, count: int) -> bytes:
    try:
        return file.read(count)
    except OSError as error:  # a stick that was pulled out
        raise UnreachableError(f"cannot read {url}: {error.strerror}") from error
