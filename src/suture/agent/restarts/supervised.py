"""Restart a service under `suture supervise`: ask its supervisor to hand over, and wait for what came of it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from suture.adapters.process import boot_seconds, is_running
from suture.agent.doors import RestartOutcome
from suture.agent.supervisor_state import SupervisedState, read_live_state
from suture.core.errors import RestartError, RightsError

_LOOK_SECONDS = 0.02


class SupervisedRestarter:
    """Behind `suture.agent.doors.Restarter`.

    Args:
        state_directory: where the supervisors say what they do.
    """

    def __init__(self, state_directory: Path) -> None:
        self._state_directory = state_directory

    def reload(self, name: str, *, deadline_seconds: float) -> RestartOutcome:
        """A hand-over, as `restart`: it interrupts nobody."""
        return self.restart(name, deadline_seconds=deadline_seconds)

    def is_running(self, name: str) -> bool:
        """Its supervisor runs. Raises NotKnownError or RestartError as `restart`."""
        return read_live_state(self._state_directory, name).worker_pid is not None

    def restart(self, name: str, *, deadline_seconds: float, ran_before: bool = False) -> RestartOutcome:  # noqa: ARG002 - for units
        """Hand over to a worker that runs what is grafted now. `ran_before` says nothing new: a supervisor keeps its
        old worker where the new one fails.

        Returns:
            Ok when the new worker serves and the old one has ended (or still drains at the deadline, which the reason
            says); the time is that of the hand-over alone. Not ok, with `health`, where the new worker did not become
            ready: the old one then still serves.

        Raises:
            NotKnownError: no such service. RestartError: its supervisor is gone. RightsError: it is another user's.
        """
        began = time.perf_counter()
        before = read_live_state(self._state_directory, name)
        asked = boot_seconds()
        _signal(before)
        end = time.monotonic() + deadline_seconds
        while time.monotonic() < end:
            now = read_live_state(self._state_directory, name)
            if now.supervisor_pid != before.supervisor_pid or now.supervisor_started != before.supervisor_started:
                raise RestartError(f"cannot restart {name!r}: its supervisor was replaced meanwhile")
            # A hand-over that began before we asked may have started what was grafted before.
            if now.generation > before.generation and now.began >= asked:
                ok, milliseconds = now.outcome == "ok", _since(began)
                reason = now.reason if not ok or _wait_for_the_end(before, end) else "the old worker still drains"
                return RestartOutcome(name, ok, reason, milliseconds, health=not ok)
            time.sleep(_LOOK_SECONDS)  # the supervisor replaces its file; there is nothing to wait on but that
        return RestartOutcome(name, False, f"no hand-over ended within {deadline_seconds:g} s", _since(began))


def _wait_for_the_end(before: SupervisedState, end: float) -> bool:
    """Until the old worker has drained: it may take new connections to the last, and a health check that the old
    code answers would prove nothing about the new."""
    if before.worker_pid is None or before.worker_started is None:
        return True
    while is_running(before.worker_pid, before.worker_started):
        if time.monotonic() >= end:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def _signal(state: SupervisedState) -> None:
    """SIGHUP to exactly that process: the descriptor pins it, then its start time is compared once more."""
    try:
        descriptor = os.pidfd_open(state.supervisor_pid)
    except OSError as error:
        raise RestartError(f"cannot reach the supervisor of {state.name!r}: {error.strerror}") from error
    try:
        if not is_running(state.supervisor_pid, state.supervisor_started):
            raise RestartError(f"cannot reach the supervisor of {state.name!r}: it ended")
        signal.pidfd_send_signal(descriptor, signal.SIGHUP)
    except PermissionError as error:
        raise RightsError(f"cannot restart {state.name!r}: its supervisor is another user's") from error
    except ProcessLookupError as error:
        raise RestartError(f"cannot reach the supervisor of {state.name!r}: it ended") from error
    finally:
        os.close(descriptor)
