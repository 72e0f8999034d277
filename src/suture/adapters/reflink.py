"""Copy a file's bytes, sharing its blocks where the file system can; and put a whole file system's writes on disk."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from typing import Final

_FICLONE: Final = 0x40049409
"""_IOW(0x94, 9, int), linux/fs.h; ioctl_ficlone(2)."""
_NOT_HERE: Final = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.ETXTBSY}
)
"""What FICLONE and copy_file_range(2) answer where they cannot serve this pair of files."""
_CHUNK_BYTES: Final = 1 << 20


def clone_or_copy(source: int, destination: int) -> bool:
    """Make an empty file hold what another holds; never a hard link, so neither can change the other.

    Args:
        source: descriptor of a regular file, open for reading.
        destination: descriptor of an empty regular file, open for writing.

    Returns:
        Whether blocks are shared (a reflink).

    Raises:
        OSError: ENOSPC and the like; the destination is then to be thrown away.
    """
    try:
        fcntl.ioctl(destination, _FICLONE, source)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    else:
        return True
    offset = _copy_in_kernel(source, destination)
    os.lseek(source, offset, os.SEEK_SET)
    os.lseek(destination, offset, os.SEEK_SET)
    while chunk := os.read(source, _CHUNK_BYTES):
        view = memoryview(chunk)
        while view:
            view = view[os.write(destination, view) :]
    return False


def _copy_in_kernel(source: int, destination: int) -> int:
    """How many bytes copy_file_range(2) took over before it had enough or had to give up."""
    offset = 0
    try:
        while count := os.copy_file_range(source, destination, 1 << 30, offset, offset):
            offset += count
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    return offset


def sync_filesystem(descriptor: int) -> None:
    """Put everything that was written to the descriptor's file system on disk (syncfs(2)): one flush, not one a file.

    Raises:
        OSError: a write failed since the descriptor was opened (Linux 5.8 and later say so).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
