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
from collections.abc import Iterable, Iterator
from pathlib import Path


def is_in_use(path: Path) -> bool | None:
    """Whether any process, this one included, has the file open or mapped.

    Args:
        path: a regular file of this user, or any as root.

    Returns:
        True, False, or None where the file system or our rights do not let the kernel say.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(descriptor)
    return False


def are_unused(paths: Iterable[Path]) -> bool:
    """True only where the kernel says of every one of `paths` that nobody has it open or mapped."""
    with _without_lease_signal():
        return all(is_in_use(path) is False for path in paths)


@contextlib.contextmanager
def _without_lease_signal() -> Iterator[None]:
    """Somebody who opens the file while the lease stands sends us SIGIO, whose default action ends a process."""
    try:
        before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    except ValueError:  # not the main thread: the signal goes to the main thread's disposition anyway
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGIO, before)
