"""Restart or reload a systemd unit with systemctl(1): try-restart, so that what was stopped stays stopped.

The unit's name has passed the product file's list before it comes here; it is checked once more, and nothing else of a
manifest ever reaches the command line.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from suture.adapters.process import CommandResult, run_bounded
from suture.agent.doors import RestartOutcome
from suture.core.errors import HostError, InputError, NotKnownError, RestartError
from suture.core.identifiers import check_unit

_BOOTED = "/run/systemd/system"
"""sd_booted(3)."""
_PROPERTIES = (
    "LoadState,ActiveState,SubState,MainPID,NRestarts,Result,"
    "ActiveEnterTimestampMonotonic,ExecMainExitTimestampMonotonic"
)
_ASK_SECONDS = 10.0
_LOOK_SECONDS = 0.02
_RUNS = frozenset({"active", "reloading", "activating"})


@dataclass(frozen=True, slots=True)
class UnitState:
    """`systemctl show`. `main_pid` is 0 where the unit has none; `restarts` counts systemd's own restarts of it."""

    loaded: bool
    active: str
    sub: str
    main_pid: int
    restarts: int
    result: str
    entered: int
    """Microseconds since boot when it became active."""
    exited: int = 0
    """Microseconds since boot when a main process of it last ended."""


class SystemdRestarter:
    """Behind `suture.agent.doors.Restarter`.

    Args:
        user: talk to the user's own service manager instead of the system's.
        booted: the directory whose existence says that systemd runs here, sd_booted(3).
        path: where systemctl is looked for.
    """

    def __init__(self, *, user: bool | None = None, booted: str = _BOOTED, path: str = "/usr/sbin:/usr/bin:/sbin:/bin"):
        self._user = os.geteuid() != 0 if user is None else user
        self._booted, self._path = booted, path

    def restart(self, name: str, *, deadline_seconds: float, ran_before: bool = False) -> RestartOutcome:
        """Restart a unit that runs, and wait until it has become active again.

        Args:
            name: the unit's whole name.
            deadline_seconds: how long to wait.
            ran_before: it ran before the level whose restart failed it, so a failed unit is started again. A unit that
                somebody stopped is inactive, not failed, and stays so.

        Returns:
            Not ok where it did not; one that did not run is ok and stays stopped.

        Raises:
            RestartError: systemd does not run here. NotKnownError: no such unit.
        """
        began = time.perf_counter()
        before = self.look(name)
        if before.active == "failed" and ran_before:
            return self._start_again(name, deadline_seconds, began)
        if before.active not in _RUNS:
            return RestartOutcome(name, True, f"it is {before.active} and stays so", _since(began))
        result = self._systemctl("try-restart", check_unit(name), timeout_seconds=deadline_seconds)
        if result.status is None:
            return RestartOutcome(name, False, f"no end of the restart within {deadline_seconds:g} s", _since(began))
        if result.status != 0:
            return RestartOutcome(name, False, _last_line(result), _since(began), health=True)
        after = self.look(name)
        if after.active != "active":
            reason = f"it is {after.active} ({after.sub}, {after.result}) after the restart"
            return RestartOutcome(name, False, reason, _since(began), health=True)
        if after.entered == before.entered and after.main_pid == before.main_pid:
            return RestartOutcome(name, False, "systemctl said yes, but the same process still runs", _since(began))
        return RestartOutcome(name, True, "", _since(began))

    def reload(self, name: str, *, deadline_seconds: float) -> RestartOutcome:
        """Ask a unit that runs to take its new code by its own reload; whether it did, a scan must prove.

        Returns:
            Not ok where its reload failed, or it no longer runs; `health` is never set, since a restart may follow.

        Raises:
            RestartError: systemd does not run here. NotKnownError: no such unit.
        """
        began = time.perf_counter()
        before = self.look(name)
        if before.active not in _RUNS:
            return RestartOutcome(name, True, f"it is {before.active} and stays so", _since(began))
        result = self._systemctl("reload", check_unit(name), timeout_seconds=deadline_seconds)
        if result.status != 0:
            reason = f"no end of the reload within {deadline_seconds:g} s" if result.status is None else ""
            return RestartOutcome(name, False, reason or _last_line(result), _since(began))
        end = time.monotonic() + deadline_seconds
        while (after := self.look(name)).active == "reloading" and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
        ok = after.active == "active"
        return RestartOutcome(name, ok, "" if ok else f"it is {after.active} after its reload", _since(began))

    def is_running(self, name: str) -> bool:
        """Whether the unit runs now. Raises as `look`."""
        return self.look(name).active in _RUNS

    def _start_again(self, name: str, deadline_seconds: float, began: float) -> RestartOutcome:
        self._systemctl("reset-failed", check_unit(name), timeout_seconds=_ASK_SECONDS)
        result = self._systemctl("start", check_unit(name), timeout_seconds=deadline_seconds)
        ok = result.status == 0 and self.look(name).active == "active"
        return RestartOutcome(name, ok, "" if ok else _last_line(result), _since(began), health=not ok)

    def look(self, name: str) -> UnitState:
        """What systemd says of a unit.

        Raises:
            RestartError: systemd does not run here, or does not answer. NotKnownError: no such unit.
        """
        result = self._systemctl("show", f"--property={_PROPERTIES}", check_unit(name), timeout_seconds=_ASK_SECONDS)
        if result.status != 0:
            raise RestartError(f"cannot ask systemd about {name}: {_last_line(result)}")
        said = dict(line.partition("=")[::2] for line in result.tail.splitlines())
        state = UnitState(
            loaded=said.get("LoadState") == "loaded",
            active=said.get("ActiveState", "unknown"),
            sub=said.get("SubState", "unknown"),
            main_pid=_number(said.get("MainPID")),
            restarts=_number(said.get("NRestarts")),
            result=said.get("Result", ""),
            entered=_number(said.get("ActiveEnterTimestampMonotonic")),
            exited=_number(said.get("ExecMainExitTimestampMonotonic")),
        )
        if not state.loaded and state.active in ("inactive", "unknown"):
            raise NotKnownError(f"cannot find the unit {name}: systemd has not loaded it")
        return state

    def _systemctl(self, *words: str, timeout_seconds: float) -> CommandResult:
        if not os.path.isdir(self._booted):
            raise RestartError(
                "cannot restart units: systemd does not run here",
                advice="run the service under `suture supervise`, and name it in the product file's services",
            )
        scope = ["--user"] if self._user else []
        environment = {"PATH": self._path, "LC_ALL": "C", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
        if self._user and "XDG_RUNTIME_DIR" in os.environ:
            environment["XDG_RUNTIME_DIR"] = os.environ["XDG_RUNTIME_DIR"]
        systemctl = next(
            (f"{d}/systemctl" for d in self._path.split(":") if os.access(f"{d}/systemctl", os.X_OK)), None
        )
        if systemctl is None:
            raise RestartError("cannot restart units: there is no systemctl here")
        try:
            return run_bounded(
                [systemctl, *scope, "--no-ask-password", words[0], *words[1:-1], "--", words[-1]],
                environment=environment,
                timeout_seconds=timeout_seconds,
            )
        except (InputError, HostError) as error:
            raise RestartError(f"cannot restart units: {error.message}") from error


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else 0


def _last_line(result: CommandResult) -> str:
    lines = [line.strip() for line in result.tail.splitlines() if line.strip()]
    return lines[-1][:400] if lines else f"systemctl ended with {result.status}"


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
