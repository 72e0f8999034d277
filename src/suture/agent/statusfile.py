"""The status file: written after every transition, read by anyone; and whether the agent that it names still runs.

It never trusts the file's word for more than display: only a process that is this user's, has that start time and
waits for the signal is woken.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec

from suture.adapters.files import read_file_if_there, write_file
from suture.agent.places import Places
from suture.core.errors import StorageError
from suture.core.limits import MAXIMUM_STATUS_BYTES
from suture.wire.status import STATUS_FORMAT, Status

_START_TOLERANCE_SECONDS = 2.0
"""Start times come from the boot time, which moves a little when the clock is set."""


def write_status(places: Places, status: Status) -> None:
    """Replace the status file atomically; anyone may read it (0644).

    Raises:
        StorageError: (or a kind of it) the old file is still there.
    """
    write_file(places.status_file, msgspec.json.encode(status), mode=0o644)


def read_status(places: Places) -> Status | None:
    """The status file, or None where the agent has written none.

    Raises:
        StorageError: it is broken, too large, of another format or unreadable; the agent writes it anew.
    """
    document = read_file_if_there(places.status_file, maximum_bytes=MAXIMUM_STATUS_BYTES)
    if document is None:
        return None
    try:
        status = msgspec.json.decode(document, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _broken(places, str(error)[:200]) from error
    if status.format != STATUS_FORMAT:
        raise _broken(places, f"its format is {status.format[:40]!r}, not {STATUS_FORMAT}")
    return status


def is_agent_running(status: Status) -> bool:
    """The process that the status names is alive and has that start time."""
    if status.agent_pid is None or status.agent_started is None:
        return False
    import psutil  # here, not above: `suture --version` and products need none of it

    try:
        process = psutil.Process(status.agent_pid)
        started: float = process.create_time()
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
    except (psutil.Error, ValueError, OverflowError):
        return False
    return abs(started - status.agent_started) <= _START_TOLERANCE_SECONDS


def wake_agent(status: Status) -> bool:
    """Tell a running agent of this user to look at its settings again (SIGUSR1).

    Returns:
        True where it was told. A process of another user, another start time, or one that does not wait for the signal
        is left alone: a status file that somebody else wrote must not choose what we signal.
    """
    if status.agent_pid is None or status.agent_pid <= 1:
        return False
    try:
        # The descriptor holds on to the very process that the checks below look at, whoever gets its number later.
        descriptor = os.pidfd_open(status.agent_pid)
    except (OSError, OverflowError):
        return False
    try:
        if not is_agent_running(status) or not _waits_for_us(status.agent_pid):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGUSR1)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _waits_for_us(pid: int) -> bool:
    # proc(5): Uid's second word is the effective user; SigCgt is the mask of caught signals, bit 0 for signal 1.
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    caught = int(fields.get("SigCgt", "0").strip(), 16)
    users = fields.get("Uid", "").split()
    return len(users) == 4 and users[1] == str(os.geteuid()) and bool(caught >> (signal.SIGUSR1 - 1) & 1)


def _broken(places: Places, reason: str) -> StorageError:
    return StorageError(
        f"cannot read the status in {places.status_file}: {reason}",
        advice="the agent writes it anew after its next look; run `suture agent run`, or `suture check`",
    )
