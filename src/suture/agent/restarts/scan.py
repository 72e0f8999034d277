"""Who still uses old files: mapped, open, run from, or read once by a process that will read more from the same place.

It only looks. A process that cannot be inspected is counted, never assumed to be innocent; processes that end meanwhile
are fine; and one look proves nothing, so it looks until two looks agree. The second passes over those that were clean
and have done nothing since: to come by old bytes, a process must run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from suture.adapters.process import ProcessState, epoch_of_ticks, every_pid, read_process
from suture.agent.doors import OldFiles, ScanResult, User
from suture.agent.restarts.belonging import Supervised, read_supervised, unit_of
from suture.agent.restarts.clearing import still_unknown
from suture.agent.restarts.look import Wanted, how_it_uses
from suture.agent.restarts.map_keys import keys_of
from suture.agent.restarts.mapped import MappedDigests
from suture.agent.restarts.pointers import pointers_to
from suture.agent.supervisor_state import SupervisedState

_MOST_LOOKS = 6


@dataclass(frozen=True, slots=True)
class KnownOldFiles(OldFiles):
    """With the old files' own paths: the kernel can then be asked whether anybody at all has them open."""

    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _Seen:
    """What looks so far saw: by pid, who was clean and how it stood then, and mappings of the level in place."""

    clean: dict[int, tuple[object, ...]]
    mappings: dict[int, bytes]


class ProcScanner:
    """Behind `suture.agent.doors.Scanner`, on proc(5).

    Args:
        state_directory: where supervised services and products are known; None finds neither.
    """

    def __init__(self, state_directory: Path | None = None) -> None:
        self._state_directory = state_directory
        self._digests = MappedDigests()

    def old_files(self, trees: Sequence[Path], changed: Sequence[Path], swapped_at: float) -> OldFiles:
        """What to look for.

        Args:
            trees: the trees (or components) that are not active.
            changed: their files that differ from the active ones, absolute.
            swapped_at: seconds since the epoch, of the latest swap.
        """
        roots = tuple(dict.fromkeys(Path(os.path.realpath(tree)) for tree in trees))
        return KnownOldFiles(keys_of(changed), roots, swapped_at, files=tuple(changed))

    def scan(self, old: OldFiles) -> ScanResult:
        """Look at every process until two looks in a row agree; where they never do, what either saw counts.

        Raises:
            HostError: there is no /proc to look at.
        """
        began = time.perf_counter()
        pointers = pointers_to(self._state_directory, old.roots) if self._state_directory is not None else ()
        wanted = Wanted.of(old, (*old.pointers, *pointers))
        seen = _Seen({}, {})
        before = result = self._look(wanted, seen)
        for _ in range(_MOST_LOOKS):
            before, result = result, self._look(wanted, seen)
            if _gist(before) == _gist(result):
                break
            seen.clean.clear()
        else:
            users = {(user.pid, user.started): user for user in (*before.users, *result.users)}
            result = ScanResult(tuple(users.values()), tuple(sorted({*before.unknown, *result.unknown})))
        files = old.files if isinstance(old, KnownOldFiles) else ()
        unknown = still_unknown(result.unknown, files, wanted)
        milliseconds = (time.perf_counter() - began) * 1000
        return ScanResult((*result.users, *self._wrong(old, seen, result)), unknown, milliseconds)

    def _wrong(self, old: OldFiles, seen: _Seen, result: ScanResult) -> list[User]:
        """Who maps files of the level in place that are not what was signed."""
        if not old.active:
            return []
        users = {user.pid for user in result.users}
        wrong = self._digests.wrong(seen.mappings.items(), dict(old.active))
        states = {pid: read_process(pid) for pid in wrong if pid not in users}
        how = "mapped bytes that are not the level's"
        return [
            User(pid, epoch_of_ticks(state.started), state.name, how, unit_of(pid))
            for pid, state in states.items()
            if state is not None
        ]

    def _look(self, wanted: Wanted, seen: _Seen) -> ScanResult:
        supervised = read_supervised(self._state_directory) if self._state_directory is not None else Supervised({})
        processes: dict[int, ProcessState] = {}
        for pid in every_pid():
            state = read_process(pid)
            if state is not None and not state.is_kernel_thread:
                processes[pid] = state
        users: list[User] = []
        unknown: list[int] = []
        for pid, state in processes.items():
            if pid == os.getpid():
                continue
            found = supervised.service_of(pid, processes)
            clean, identity = seen.clean.get(pid), (state.started, state.name, state.parent, *state.footprint)
            seen.clean[pid] = identity
            try:
                how = None if clean == identity else how_it_uses(state, wanted, seen.mappings)
            except PermissionError:
                del seen.clean[pid]
                unknown.append(pid)
                continue
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended
            if how is None and found is not None and not state.is_zombie and _is_old(*found, state, wanted):
                how = "started from the old files"
            if how is not None:
                del seen.clean[pid]
                belongs_to = found[0].name if found is not None else unit_of(pid)
                users.append(User(pid, epoch_of_ticks(state.started), state.name, how, belongs_to))
        return ScanResult(tuple(users), tuple(sorted(unknown)))


def _is_old(service: SupervisedState, worker_pid: int, state: ProcessState, wanted: Wanted) -> bool:
    """The worker runs from an old root: it and its children do, whatever they did to their environment since."""
    if service.root is None or worker_pid != service.worker_pid:
        return False
    is_older = epoch_of_ticks(state.started) <= wanted.swapped_at
    return wanted.is_old_root(service.root) or (is_older and wanted.holds_pointer(service.root))


def _gist(result: ScanResult) -> tuple[frozenset[tuple[int, int, str]], tuple[int, ...]]:
    users = frozenset((user.pid, round(user.started), user.how) for user in result.users)
    return users, result.unknown
