"""The executor: it obeys the machine. Commit first, then do; every step may be done again after a crash.

One lock a device for transitions. A fetch holds none: it is done between two holds of the lock, and its result counts
only while its operation is still the journal's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager

import msgspec

from suture.adapters.files import exclusive_lock
from suture.agent.device import Device
from suture.agent.grafts_off import why_grafts_are_off
from suture.agent.machine.events import BaselineChanged, Event, Started, StepDone, StepFailed
from suture.agent.machine.instructions import DoStep, Note, Outcome, Prune, Scan
from suture.agent.machine.state import Operation, ProductState, Step
from suture.agent.machine.transitions import handle
from suture.agent.package_marker import refuse_while_packages_change
from suture.agent.proof import look
from suture.agent.report import refresh_status
from suture.agent.steps import StepRunner, step_failed
from suture.core.errors import SutureError
from suture.wire.product import Product

FAULT_HOOK: Callable[[str], None] | None = None
"""Set by crash tests alone: called before and after every commit and step, with the point's name."""


def _point(name: str) -> None:
    if FAULT_HOOK is not None:
        FAULT_HOOK(name)


class Executor:
    """Drives one product of one device; waits `wait_seconds` for other commands' transitions."""

    def __init__(self, device: Device, product: Product, wait_seconds: float) -> None:
        self.device = device
        self.product = product
        self.wait_seconds = wait_seconds
        self.steps = StepRunner(device, product)

    def _lock(self) -> AbstractContextManager[None]:
        if self.product.graft == "overlay":
            refuse_while_packages_change(self.device.places, wait_seconds=self.wait_seconds)
        doing = f"change {self.product.product}"
        return exclusive_lock(self.device.places.lock, doing=doing, wait_seconds=self.wait_seconds)

    def state(self, baseline: str) -> ProductState:
        """The journal's state, or a new one for `baseline`."""
        found = self.device.journal.load(self.product.product)
        return found if found is not None else ProductState(product=self.product.product, baseline=baseline)

    def tell(self, baseline: str, make_event: Callable[[ProductState], Event]) -> Operation | None:
        """Recover what a crash left, then handle one event and all that follows, under the device's lock.

        Args:
            baseline: the identity that a new state begins with.
            make_event: makes the event from the recovered state.

        Returns:
            An operation whose fetch is to be done now, without the lock; its result goes to `tell` again.

        Raises:
            BusyError: another command is in a transition.
            SutureError: what a person asked for cannot be had; nothing changed.
        """
        with self._lock():
            self._recover(baseline)
            return self._handle(baseline, make_event(self.state(baseline)))

    def supersede(self, baseline: str, release: str) -> None:
        """Improvements for `baseline` leave, since the product's release is `release` now. Recovers nothing before:
        what would be grafted again would only leave again."""
        with self._lock():
            if self.product.graft == "switch":
                self._recover(baseline)
            self._handle(baseline, BaselineChanged(self.device.now(), release))

    def begin_baseline(self, detected: str) -> None:
        """Begin a new state for another release, where nothing of the old one is in place any more."""
        with self._lock():
            state = self.state(detected)
            if state.baseline == detected or state.active != 0 or state.operation is not None:
                return
            fresh = ProductState(product=self.product.product, baseline=detected, next_number=state.next_number)
            detail = f"the product's release is {detected}, it was {state.baseline}"
            note = Note(0, "baseline", "baseline", "", detail)
            self.device.journal.commit(Outcome(fresh, (), (note,)), self.device.now())

    def recover(self, baseline: str) -> None:
        """Only recover: after a start, before anything else."""
        with self._lock():
            self._recover(baseline)
            refresh_status(self.device)

    def _recover(self, baseline: str) -> None:
        state = self.device.journal.load(self.product.product)
        if state is None:
            return
        if self.product.graft == "overlay":
            refuse_while_packages_change(self.device.places)
        current = self.device.graft.current(self.product, state.baseline)
        operation = state.operation
        lasting, off = self.product.graft != "overlay", why_grafts_are_off(self.device.places)
        left_open = operation is not None and operation.step is not Step.FETCH
        moved = (operation is None or not lasting) and current != state.active
        if left_open or moved or (off and state.active):
            self._handle(baseline, Started(self.device.now(), current, lasting=lasting, grafts_off=off))

    def _handle(self, baseline: str, event: Event) -> Operation | None:
        pending: deque[Event] = deque([event])
        fetch: Operation | None = None
        while pending:
            current = pending.popleft()
            outcome = handle(self.state(baseline), current)
            _point("before-commit")
            self.device.journal.commit(outcome, self.device.now())
            _point("after-commit")
            self._measure_times(outcome)
            refresh_status(self.device)
            for instruction in outcome.instructions:
                if isinstance(instruction, DoStep) and instruction.operation.step is Step.FETCH:
                    fetch = instruction.operation
                elif isinstance(instruction, DoStep):
                    answer = self._do_step(outcome, instruction.operation)
                    pending.append(answer)
                elif isinstance(instruction, Scan):
                    pending.append(self._scan(baseline))
                elif isinstance(instruction, Prune):
                    self._prune(instruction.keep)
        return fetch

    def _measure_times(self, outcome: Outcome) -> None:
        """From the first sight of a level to the proof that it is in effect."""
        journal, name = self.device.journal, self.product.product
        for note in outcome.notes:
            if note.event == "found":
                journal.keep_fact(name, f"found-{note.level}", msgspec.json.encode(self.device.clock.now().timestamp()))
            elif note.event == "proved":
                found = journal.fact(name, f"found-{note.level}")
                if found is not None:
                    seconds = self.device.clock.now().timestamp() - msgspec.json.decode(found, type=float)
                    self.steps.measure(poll_to_effective_seconds=max(0.0, seconds))

    def _do_step(self, outcome: Outcome, operation: Operation) -> StepDone | StepFailed:
        _point(f"before-{operation.step}")
        try:
            swapped_at = self.steps.run(outcome.state, operation)
        except SutureError as error:
            return step_failed(self.device.now(), operation, error)
        _point(f"after-{operation.step}")
        return StepDone(self.device.now(), operation.number, operation.step, swapped_at)

    def _scan(self, baseline: str) -> Event:
        event, result = look(self.device, self.product, self.state(baseline))
        self.steps.measure(scan_milliseconds=result.milliseconds)
        return event

    def _prune(self, keep: tuple[int, ...]) -> None:
        state = self.device.journal.load(self.product.product)
        if state is None:
            return
        for level in self.device.graft.levels(self.product, state.baseline):
            if level not in keep and level != state.active:
                self.device.graft.discard(self.product, state.baseline, level)
