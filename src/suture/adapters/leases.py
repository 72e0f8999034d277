"""File leases (fcntl(2), F_SETLEASE): the kernel's own answer to "does anybody have this file open or mapped?".

A write lease is granted only while no other open file of the inode exists, whoever's it is, mappings included
(Linux, fs/locks.c, `check_conflicting_open`). So it speaks for processes that nobody may read. The lease is given back
at once; whoever opens the file in that instant waits for that instant.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
from pathlib import Path


def is_held_elsewhere(descriptor: int) -> bool | None:
    """Whether any other open file of the same inode exists, this process's own included.

    Args:
        descriptor: open for reading, of a regular file of this user, or any as root.

    Returns:
        True, False, or None where the file system or our rights do not let the kernel say.
    """
    try:
        # Who opens the file in these microseconds makes the kernel signal us: SIGURG does nothing, SIGIO would kill.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def is_in_use(path: Path) -> bool | None:
    """As `is_held_elsewhere`, for a path whose last component is no link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return is_held_elsewhere(descriptor)
    finally:
        os.close(descriptor)
