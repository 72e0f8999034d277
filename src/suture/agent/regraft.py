"""Grafts are made again after the machine has started, before the services that use them: `suture graft restore`.

Nothing is restarted here, for nothing that uses a component should run yet, and a restart would wait for a boot that
waits for us. Who uses old files all the same shows in the status, and the agent looks at it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from suture.adapters.files import exclusive_lock
from suture.agent.commands import DEFAULT_WAIT_SECONDS, Session
from suture.agent.device import Device
from suture.agent.doors import RestartOutcome
from suture.core.errors import NotKnownError, SutureError

Say = Callable[[str], None]


class NothingRuns:
    """Behind `suture.agent.doors.Restarter`: at boot no service is known to run."""

    def restart(self, name: str, *, deadline_seconds: float, ran_before: bool = False) -> RestartOutcome:
        """Raises NotKnownError."""
        del deadline_seconds, ran_before
        raise NotKnownError(f"cannot restart {name} while the machine starts")

    def reload(self, name: str, *, deadline_seconds: float) -> RestartOutcome:
        """Raises NotKnownError."""
        del deadline_seconds
        raise NotKnownError(f"cannot reload {name} while the machine starts")

    def is_running(self, name: str) -> bool:
        """Raises NotKnownError."""
        raise NotKnownError(f"cannot tell whether {name} runs while the machine starts")


def regraft(device: Device, say: Say) -> int:
    """Put every product back to the level that the journal says; the exit code of the first that failed, else 0."""
    device = dataclasses.replace(device, services=NothingRuns(), units=NothingRuns())
    with exclusive_lock(device.places.lock, doing="sweep the store", wait_seconds=DEFAULT_WAIT_SECONDS):
        device.graft.sweep()
    code = 0
    for product in device.shelf.list():
        try:
            session = Session(device, product)
            session.recover()
            say(f"{product.product}: level {session.state().active} is grafted")
        except SutureError as error:
            code = code or error.exit_code
            say(f"{product.product}: {error.message}")
    return code
