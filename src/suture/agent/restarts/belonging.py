"""Which systemd unit or supervised service a process belongs to: the kernel's word, never the process's own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from suture.adapters.process import ProcessState, is_running, owner_of
from suture.agent.supervisor_state import SupervisedState, read_state, state_directory_of
from suture.core.errors import SutureError

_MAXIMUM_SERVICES = 1000
_UNITS = (".service", ".scope", ".socket")
_DEEPEST = 64
"""Of a chain of parents; deeper ones are cut, as a loop could only come from pids reused in mid-scan."""


@dataclass(frozen=True, slots=True)
class Supervised:
    """The services whose supervisors run, by their supervisor's pid."""

    by_supervisor: Mapping[int, SupervisedState]

    def service_of(self, pid: int, processes: Mapping[int, ProcessState]) -> tuple[SupervisedState, int] | None:
        """The service that `pid` is a worker of or a descendant of one, and that worker's pid (or, for a worker's
        orphan, the pid of its session). The supervisor itself belongs to none."""
        for _ in range(_DEEPEST):
            state = processes.get(pid)
            if state is None or state.parent <= 1:
                return None
            found = self.by_supervisor.get(state.parent)
            if found is not None:
                return found, state.session
            pid = state.parent
        return None


def read_supervised(state_directory: Path) -> Supervised:
    """Every service under this state directory whose supervisor runs and belongs to root or to us."""
    found: dict[int, SupervisedState] = {}
    try:
        names = sorted(os.listdir(state_directory_of(state_directory)))
    except OSError:
        names = []
    for name in names[:_MAXIMUM_SERVICES]:
        if not name.endswith(".json") or name.startswith("."):
            continue
        with contextlib.suppress(SutureError):  # a broken file hides no process: only its unit's name is lost
            said = read_state(state_directory_of(state_directory) / name)
            if said is None or not is_running(said.supervisor_pid, said.supervisor_started):
                continue
            if owner_of(said.supervisor_pid) in (0, os.geteuid()):
                found[said.supervisor_pid] = said
    return Supervised(found)


def unit_of(pid: int) -> str | None:
    """The unit that a process belongs to, of the service manager that this agent may ask: the system's for root, else
    the user's own. A process of another manager (a container's, another session's) belongs to the unit that holds that
    manager; where none does, to its control group, whose path begins with ``/`` and is no unit's name.
    """
    path = _control_group(pid)
    manager = _control_group(1).removesuffix("/init.scope")
    if path.startswith(f"{manager}/"):
        path = path[len(manager) :]
    parts = [part for part in path.split("/") if part]
    own = f"user@{os.geteuid()}.service"
    if os.geteuid() != 0 and own in parts:
        parts = parts[parts.index(own) + 1 :]
    for part in parts:
        if part.endswith(_UNITS):
            return part
        if not part.endswith(".slice"):
            break  # no group that our manager made
    return path if any(part.endswith(_UNITS) for part in parts) else None


def _control_group(pid: int) -> str:
    """A process's path from /proc/PID/cgroup: version 2's line, else the one named systemd; empty where it ended."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            lines = file.read(65536).splitlines()
    except OSError:
        return ""
    path = ""
    for line in lines:
        if line.startswith("0::") and len(line) > len("0::/"):
            path = line[3:]
        elif ":name=systemd:" in line and not path:
            path = line.split(":", 2)[2]
    return path
