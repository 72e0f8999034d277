"""What `suture check`, `install`, `remove`, `hold` and the agent's own rounds do, in the caller's process.

Every way in begins with recovery; every way out leaves the status file true.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import msgspec

from suture.agent.crash_watch import look_for_crashes
from suture.agent.device import Device
from suture.agent.executor import Executor
from suture.agent.machine.events import (
    Considered,
    Event,
    HoldAsked,
    InstallAsked,
    RemoveAsked,
    Started,
)
from suture.agent.machine.state import LevelRecord, LevelState, Operation, ProductState, Step
from suture.agent.release import detect_baseline
from suture.agent.report import refresh_status
from suture.agent.visit import Visit, open_visit
from suture.core.errors import NetworkError, NothingToDoError, exit_code_for
from suture.wire.product import Product

DEFAULT_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a command changed. `reopened` are CVEs that are open after it and were not before."""

    before: ProductState
    after: ProductState
    reopened: tuple[str, ...]


class Session:
    """One product of an open device, ready for events."""

    def __init__(self, device: Device, product: Product, *, wait_seconds: float = DEFAULT_WAIT_SECONDS) -> None:
        self.device = device
        self.product = product
        self.executor = Executor(device, product, wait_seconds)
        self.wait_seconds = wait_seconds
        self.baseline = self._settle_baseline()

    def _settle_baseline(self) -> str:
        """Detect the release; improvements for another one leave by themselves first (DESIGN §5)."""
        detected = detect_baseline(self.product).identity
        state = self.executor.state(detected)
        if state.baseline != detected and (state.active != 0 or state.operation is not None):
            self.executor.supersede(state.baseline, detected)
            state = self.executor.state(detected)
        if state.baseline != detected:
            self.executor.begin_baseline(detected)
        return detected

    def state(self) -> ProductState:
        """The journal's state now."""
        return self.executor.state(self.baseline)

    def tell(self, make_event: Callable[[ProductState], Event]) -> Operation | None:
        """Handle an event, waiting for other commands; the fetch that it asks for is returned."""
        return self.executor.tell(self.baseline, make_event)

    # --- with the network --------------------------------------------------------------------------------------------

    def _open_visit(self) -> AbstractContextManager[Visit]:
        return open_visit(self.device, self.product, self.baseline, wait_seconds=self.wait_seconds)

    def visit(self, *, may_start: bool) -> None:
        """Ask the repository and do what follows. Errors of the network and of trust are raised after being kept."""
        self.watch_crashes()
        with self._open_visit() as visit:
            self._fetch_all(visit, self._orphan())
            event = visit.ask(may_start=may_start)
            self._fetch_all(visit, self.tell(lambda _: event))

    def _orphan(self) -> Operation | None:
        """A fetch that nobody is doing any more, since this process holds the visit."""
        operation = self.state().operation
        if operation is None or operation.step is not Step.FETCH:
            return None

        def started(_: ProductState) -> Event:
            current = self.device.graft.current(self.product, self.baseline)
            return Started(self.device.now(), current)

        return self.tell(started)

    def _fetch_all(self, visit: Visit, operation: Operation | None) -> None:
        while operation is not None:
            answer = visit.fetch(self.state(), operation)
            if answer is None:
                return
            done: Event = answer
            operation = self.tell(lambda _, done=done: done)  # type: ignore[misc]  # bound now, called now

    def install(self, level: int | None) -> Result:
        """A person's install: looks for news if it can, then installs whatever shares and switches say."""
        before = self.state()
        with self._open_visit() as visit:
            self._fetch_all(visit, self._orphan())
            try:
                event = visit.ask(may_start=False)
                self._fetch_all(visit, self.tell(lambda _: event))
            except NetworkError:
                if not self.state().levels:
                    raise
            now, settings = self.device.now(), self.device.settings(self.product)
            self._fetch_all(visit, self.tell(lambda _: InstallAsked(now, settings, level)))
        return self._result(before)

    # --- without the network -----------------------------------------------------------------------------------------

    def remove(self, to_level: int) -> Result:
        """A person's removal: at once and offline."""
        before = self.state()
        if self.device.journal.load(self.product.product) is None:
            raise NothingToDoError(f"cannot remove anything of {self.product.product}: nothing was ever installed")
        now, settings = self.device.now(), self.device.settings(self.product)
        self.tell(lambda _: RemoveAsked(now, settings, to_level))
        return self._result(before)

    def hold(self, until: str | None) -> Result:
        """Hold the product where it is until then, or let it go."""
        before = self.state()
        self.tell(lambda _: HoldAsked(self.device.now(), until))
        return self._result(before)

    def consider(self) -> Operation | None:
        """Look again at what is known: settings changed, or a back-off ended. A fetch that follows needs a visit."""
        self.watch_crashes()
        now, settings = self.device.now(), self.device.settings(self.product)
        return self.tell(lambda _: Considered(now, settings))

    def watch_crashes(self) -> None:
        """Tell the machine of services that crash since the level in place came."""
        event = look_for_crashes(self.device, self.product, self.state())
        if event is not None:
            self.tell(lambda _: event)

    def recover(self) -> None:
        """Finish what a crash left."""
        self.executor.recover(self.baseline)

    def exit_code_of(self, result: Result) -> int:
        """0 when what was asked for is in place, else the exit code of the error that took it back."""
        failed = failed_level(result)
        return exit_code_for(failed.reason) if failed is not None else 0

    def _result(self, before: ProductState) -> Result:
        after = self.state()
        refresh_status(self.device)
        was_open = {cve for cve, _ in before.exposed_since}
        reopened = tuple(cve for cve, _ in after.exposed_since if cve not in was_open)
        return Result(before, after, reopened)


def failed_level(result: Result) -> LevelRecord | None:
    """The level that was asked for and did not stay, with its reason; None where it did."""
    above = [record for record in result.after.levels if record.level > result.after.active]
    failed = [record for record in above if record.state in (LevelState.FAILED, LevelState.ROLLED_BACK)]
    now = [record for record in failed if result.before.record(record.level) != record]
    return now[-1] if now else None


def encoded(result: Result) -> dict[str, object]:
    """A result for `--json`."""
    state = msgspec.to_builtins(result.after)
    failed = failed_level(result)
    return {
        "product": result.after.product,
        "level_before": result.before.active,
        "level": result.after.active,
        "failed": msgspec.to_builtins(failed) if failed is not None else None,
        "reopened_cves": list(result.reopened),
        "state": state,
    }
