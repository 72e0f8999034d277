"""How often units and supervised services crashed: counters, read and compared. They accuse; they never convict alone.

Whoever can crash a service must not be able to force the vulnerable baseline for good (docs/health.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from suture.agent.restarts.systemd import SystemdRestarter
from suture.agent.supervisor_state import read_live_state
from suture.core.errors import SutureError

CRASHES_TO_BLAME = 2
"""One crash in the grace time may be chance, or somebody's single request; two are a pattern. A unit that has failed
for good is one enough."""
LATELY_SECONDS = 3600.0
_BY_ITSELF = frozenset({"exit-code", "signal", "core-dump", "watchdog", "timeout", "oom-kill", "start-limit-hit"})
"""systemd.exec(5), $SERVICE_RESULT: how a service ends that nobody stopped."""


class Crashes(msgspec.Struct, frozen=True):
    """One unit or service. `lately`: it crashed in the hour before, so that no new level is to blame."""

    count: int
    failed: bool = False
    how: str = ""
    lately: bool = False


def read_crashes(
    units: SystemdRestarter, state_directory: Path, unit_names: Iterable[str], service_names: Iterable[str]
) -> dict[str, Crashes]:
    """The counters of those that are there; what nobody runs here has none."""
    found: dict[str, Crashes] = {}
    for name in unit_names:
        try:
            state = units.look(name)
        except SutureError:
            continue
        failed = state.active == "failed" and state.result in _BY_ITSELF
        since_exit = time.monotonic() - state.exited / 1e6
        lately = failed or (state.restarts > 0 and state.exited > 0 and since_exit < LATELY_SECONDS)
        found[name] = Crashes(state.restarts, failed, state.result, lately)
    for name in service_names:
        try:
            service = read_live_state(state_directory, name)
        except SutureError:
            continue
        found[name] = Crashes(service.crashes, lately=service.state == "backing-off")
    return found


def find_crashing(before: Mapping[str, Crashes], now: Mapping[str, Crashes]) -> str:
    """What crashes now and did not before, for people; empty where nothing does. Pure.

    Args:
        before: counters from just before the swap; who is not in it did not run then.
        now: counters now. One that is lower than before began anew with a restart.
    """
    said = []
    for name, crashes in sorted(now.items()):
        known = before.get(name)
        if known is None or known.lately:
            continue
        since = crashes.count - known.count if crashes.count >= known.count else crashes.count
        if crashes.failed and not known.failed:
            said.append(f"{name} failed ({crashes.how})")
        elif since >= CRASHES_TO_BLAME:
            said.append(f"{name} crashed {since} times")
    return ", ".join(said)
