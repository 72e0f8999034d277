"""What `suture supervise` says of itself: one small file a service, replaced atomically at every change.

Readers (the agent's restarter and scanner, the demo) believe it only as far as `read_live_state` has checked it: the
supervisor named there must run, have that start time, and belong to root or to the reader.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from suture.adapters.files import read_file_if_there, write_file
from suture.adapters.process import is_running, owner_of
from suture.core.digests import digest_bytes
from suture.core.errors import NotKnownError, RestartError, RightsError
from suture.core.identifiers import NAME_PATTERN, check_name

MAXIMUM_STATE_BYTES = 64 * 1024
_Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
_Pid = Annotated[int, msgspec.Meta(ge=2)]
_Count = Annotated[int, msgspec.Meta(ge=0)]

Phase = Literal["starting", "running", "handing-over", "backing-off", "stopping", "stopped"]


class SupervisedState(msgspec.Struct, frozen=True):
    """spec/supervise.md §5.

    Attributes:
        supervisor_started, worker_started: clock ticks since boot (proc_pid_stat(5), field 22), for a pid alone proves
            nothing.
        generation: grows by one with every finished try to hand over; the first start is the first.
        began: seconds since boot (CLOCK_BOOTTIME) when the last finished try began: a try that began before a
            request cannot be the answer to it.
        root: what `{root}` was for the worker that runs; None without a product.
        outcome, reason: of the last finished try.
        crashes: how often a worker ended by itself.
        at: RFC 3339.
    """

    name: _Name
    supervisor_pid: _Pid
    supervisor_started: _Count
    generation: _Count
    state: Phase
    at: str
    worker_pid: _Pid | None = None
    worker_started: _Count | None = None
    root: str | None = None
    product: str | None = None
    listen: str | None = None
    outcome: Literal["ok", "failed"] | None = None
    reason: str = ""
    began: float = 0.0
    crashes: _Count = 0


def state_directory_of(state: Path) -> Path:
    """Where supervisors write, below the state directory."""
    return state / "run" / "supervised"


def state_path(state: Path, name: str) -> Path:
    """One service's file."""
    return state_directory_of(state) / f"{check_name(name, 'a service')}.json"


def write_state(path: Path, state: SupervisedState) -> None:
    """Replace the file; whoever may use the service may read it."""
    write_file(path, msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n", mode=0o644)


def read_state(path: Path) -> SupervisedState | None:
    """What the file says, unchecked, or None where there is none.

    Raises:
        RestartError: it is not such a file.
    """
    data = read_file_if_there(path, maximum_bytes=MAXIMUM_STATE_BYTES)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=SupervisedState)
    except msgspec.DecodeError as error:
        raise RestartError(f"cannot read the state of a supervised service in {path}: {error}") from error


def read_live_state(state: Path, name: str) -> SupervisedState:
    """The state of a service whose supervisor really runs.

    Raises:
        NotKnownError: no supervisor of that name was ever started with this state directory.
        RestartError: it does not run any more. RightsError: the process there is another user's.
    """
    path = state_path(state, name)
    said = read_state(path)
    if said is None:
        raise NotKnownError(
            f"cannot find the supervised service {name!r}: there is no {path}",
            advice=f"start it with `suture supervise --name {name} … -- COMMAND`, with the same state directory",
        )
    if said.name != name or not is_running(said.supervisor_pid, said.supervisor_started):
        raise RestartError(
            f"cannot reach the supervisor of {name!r}: process {said.supervisor_pid} ended or is not it any more",
            advice=f"start it again with `suture supervise --name {name} … -- COMMAND`",
        )
    owner = owner_of(said.supervisor_pid)
    if owner not in (0, os.geteuid()):
        raise RightsError(f"cannot use the supervisor of {name!r}: it runs as user {owner}, neither root nor this one")
    return said


def reason_text(text: str) -> str:
    """A reason fit for a status file: one bounded line of printable text."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= 500 else f"{line[:400]}… ({digest_bytes(text.encode('utf-8', 'replace'))[:19]})"
