"""When a process that may not be inspected can be cleared after all: by the kernel's own word on the files.

A write lease (fcntl(2), F_SETLEASE with F_WRLCK) is granted only where the whole system has no other open file
description of the file, mappings included: so it proves, whoever may be inspected, that nobody has an old file open or
mapped. What it cannot see is a file that was read once and closed. Therefore such a process is cleared only if it also
began before the old files existed, and its command line (which is not hidden with the rest) does not name them.
Everything else stays unknown.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from suture.adapters.leases import is_held_elsewhere
from suture.adapters.process import epoch_of_ticks, read_process
from suture.agent.restarts.look import Wanted, names_old_files

_CLOCK_GRAIN_SECONDS = 1.0
"""Start times are on a 10 ms grid and reckoned back from now; ctime is the kernel's coarse clock."""


def still_unknown(unknown: Sequence[int], files: Sequence[Path], wanted: Wanted) -> tuple[int, ...]:
    """Those of `unknown` that cannot be cleared.

    Args:
        unknown: pids that may not be inspected.
        files: every old file that differs from the active one; with none given, nobody can be cleared.
    """
    if not unknown or not files:
        return tuple(unknown)
    since = _unused_since(files)
    if since is None:
        return tuple(unknown)
    return tuple(pid for pid in unknown if not _is_cleared(pid, since - _CLOCK_GRAIN_SECONDS, wanted))


def _is_cleared(pid: int, since: float, wanted: Wanted) -> bool:
    state = read_process(pid)
    if state is None:
        return True  # it ended
    try:
        return epoch_of_ticks(state.started) < since and not names_old_files(f"/proc/{pid}", wanted)
    except OSError:
        return False


def _unused_since(files: Sequence[Path]) -> float | None:
    """The first moment at which any of the files existed as it is (its ctime, seconds since the epoch), if nobody has
    any of them open or mapped now; None where somebody has, or the file system cannot say."""
    since: list[float] = []
    for path in files:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue
            return None
        try:
            if is_held_elsewhere(descriptor) is not False:
                return None
            since.append(os.fstat(descriptor).st_ctime)
        finally:
            os.close(descriptor)
    return min(since, default=None)
