"""What each step of an operation does, through the device's doors. Each may be done twice with the same result."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import msgspec

from suture.adapters.files import host_errors
from suture.agent.crash_watch import note_crashes
from suture.agent.device import Device
from suture.agent.eligibility import verify_eligible
from suture.agent.machine.events import StepFailed
from suture.agent.machine.state import Kind, Operation, ProductState, Step
from suture.agent.patching import new_file_name
from suture.agent.restarting import Restarting
from suture.agent.room import verify_room
from suture.core.clock import parse_time
from suture.core.errors import (
    HealthError,
    ImprovementError,
    NotAllowedError,
    NotKnownError,
    SutureError,
    TrustError,
)
from suture.improvement.layer import Layer
from suture.improvement.manifest import ComponentChange, Manifest, PatchReference, StaysUpCheck
from suture.wire.product import Product
from suture.wire.status import Measurements

UNHEALTHY_BEFORE = "unhealthy-before"


class UnhealthyBefore(msgspec.Struct, frozen=True):
    """The checks that failed already before the swap of operation `number`."""

    number: int
    checks: tuple[str, ...]


class StepRunner:
    """The steps of one product's operations."""

    def __init__(self, device: Device, product: Product) -> None:
        self.device = device
        self.product = product
        self.restarting = Restarting(device, product)

    def run(self, state: ProductState, operation: Operation) -> float:
        """Do `operation.step`; seconds since the epoch of the swap after a graft, else 0.

        Raises:
            SutureError: the step failed; the machine decides what follows.
        """
        match operation.step:
            case Step.STAGE:
                self._stage(state, operation)
            case Step.GRAFT:
                return self._graft(state, operation)
            case Step.RESTART:
                self._restart(state, operation)
            case Step.CHECK:
                self._check(state, operation)
            case Step.FETCH:
                raise AssertionError("a fetch is done by the poller, without the lock")
        return 0.0

    # --- manifests ---------------------------------------------------------------------------------------------------

    def manifest(self, state: ProductState, level: int) -> Manifest:
        """The verified manifest of a level, from the device's own shelf.

        Raises:
            NotKnownError: it is not held (its next poll fetches it again).
        """
        record = state.record(level)
        found = None
        if record is not None:
            found = self.device.manifests.get(state.product, state.baseline, level, record.digest)
        if found is None:
            raise NotKnownError(f"cannot find the manifest of level {level} of {state.product} on this device")
        return found

    # --- stage -------------------------------------------------------------------------------------------------------

    def _stage(self, state: ProductState, operation: Operation) -> None:
        level = operation.level
        manifest = self.manifest(state, level)
        verify_eligible(manifest, self.product)
        self.device.graft.verify_pins(self.product, {change.name: change.pins for change in manifest.components})
        waiting = self.waiting_directory(state, level)
        if not self._is_staged(state, manifest):
            self._apply_and_stage(state, operation, manifest, waiting)
        with host_errors(f"clear {waiting}"):
            shutil.rmtree(waiting, ignore_errors=True)

    def _is_staged(self, state: ProductState, manifest: Manifest) -> bool:
        """A crash after staging: what is there and verifies need not be made, and its patches may be gone."""
        if manifest.level not in self.device.graft.levels(self.product, state.baseline):
            return False
        try:
            self.device.graft.verify(self.product, state.baseline, manifest.level, layers(manifest))
        except SutureError:
            self.device.graft.discard(self.product, state.baseline, manifest.level)
            return False
        return True

    def _apply_and_stage(self, state: ProductState, operation: Operation, manifest: Manifest, waiting: Path) -> None:
        level, graft, new = manifest.level, self.device.graft, waiting / "new"
        quota = self.device.settings(self.product).store_quota_mib
        verify_room(self.device.places.store, self.product, manifest, quota)
        for change in manifest.components:
            reference = choose_patch(change, operation.origin)
            old = graft.tree(self.product, state.baseline, reference.from_level) / self._component_path(change.name)
            self.device.applier.apply(
                manifest, change.name, waiting / patch_name(change, reference), old, new / change.name
            )
        graft.stage(
            self.product,
            state.baseline,
            level,
            {change.name: change.layer for change in manifest.components},
            lambda component, entry: new / component / new_file_name(entry),
            parse_time(manifest.issued),
        )
        graft.verify(self.product, state.baseline, level, layers(manifest))

    def waiting_directory(self, state: ProductState, level: int) -> Path:
        """Where what was fetched for a level waits to be staged: private, ours alone."""
        return self.device.places.fetched / state.product / state.baseline / str(level)

    def _component_path(self, name: str) -> str:
        return next(component.path for component in self.product.components if component.name == name)

    # --- graft -------------------------------------------------------------------------------------------------------

    def _graft(self, state: ProductState, operation: Operation) -> float:
        if operation.level > 0:
            manifest = self.manifest(state, operation.level)
            self.device.graft.verify_pins(self.product, {change.name: change.pins for change in manifest.components})
            self.device.graft.verify(self.product, state.baseline, operation.level, layers(manifest))
            # After a crash the swap may have been made: then it is too late to look at how things were before it.
            swapped = self.device.graft.current(self.product, state.baseline) == operation.level
            if operation.kind in (Kind.INSTALL, Kind.RECALL) and not swapped:
                self._look_before(manifest, operation.number)
                note_crashes(self.device, self.product, operation.level)
        milliseconds = self.device.graft.swap(self.product, state.baseline, operation.level)
        self.measure(swap_milliseconds=milliseconds)
        return time.time()

    def _look_before(self, manifest: Manifest, number: int) -> None:
        """Which declared checks fail already: an older fault must not blame the new level."""
        checks = [check for check in manifest.health if not isinstance(check, StaysUpCheck)]
        failing: list[str] = []
        for check in checks:
            outcomes = self.device.health.check(self.product, manifest.restart, [check])
            failing.extend(outcome.check for outcome in outcomes if not outcome.ok)
        fact = UnhealthyBefore(number, tuple(failing))
        self.device.journal.keep_fact(self.product.product, UNHEALTHY_BEFORE, msgspec.json.encode(fact))

    def _unhealthy_before(self, number: int) -> frozenset[str]:
        kept = self.device.journal.fact(self.product.product, UNHEALTHY_BEFORE)
        fact = msgspec.json.decode(kept, type=UnhealthyBefore) if kept is not None else UnhealthyBefore(0, ())
        return frozenset(fact.checks) if fact.number == number else frozenset()

    # --- restart and check -------------------------------------------------------------------------------------------

    def _restart(self, state: ProductState, operation: Operation) -> None:
        """Restart only what uses other files than the active level's."""
        manifest = self.manifest(state, operation.level if operation.level > 0 else operation.origin)
        milliseconds = self.restarting.restart(state, operation, manifest)
        if milliseconds is not None:
            self.measure(restart_milliseconds=milliseconds)

    def _check(self, state: ProductState, operation: Operation) -> None:
        level = operation.level
        manifest = self.manifest(state, level)
        before = self._unhealthy_before(operation.number)
        for check in manifest.health:
            for outcome in self.device.health.check(self.product, manifest.restart, [check]):
                if not outcome.ok and outcome.check not in before:
                    raise HealthError(f"cannot keep level {level}: its check {outcome.check} failed: {outcome.reason}")

    # --- what was measured -------------------------------------------------------------------------------------------

    def measure(self, **values: float) -> None:
        """Keep figures of the latest transition for the status."""
        kept = self.device.journal.fact(self.product.product, "measurements")
        figures = msgspec.json.decode(kept, type=Measurements) if kept is not None else Measurements()
        rounded = {name: round(value, 3) for name, value in values.items()}
        figures = msgspec.structs.replace(figures, **rounded)
        self.device.journal.keep_fact(self.product.product, "measurements", msgspec.json.encode(figures))


def layers(manifest: Manifest) -> dict[str, Layer]:
    """The layers of a manifest by component."""
    return {change.name: change.layer for change in manifest.components}


def patch_name(change: ComponentChange, reference: PatchReference) -> str:
    """The file that a component's patch waits in."""
    return f"{change.name}.from-{reference.from_level}.patch"


def choose_patch(change: ComponentChange, origin: int) -> PatchReference:
    """The smallest patch that this device can apply: from the baseline, or from the level in place.

    Raises:
        NotKnownError: there is none.
    """
    usable = [patch for patch in change.patches if patch.from_level in (0, origin)]
    if not usable:
        raise NotKnownError(f"cannot find a patch of {change.name} for this device")
    return min(usable, key=lambda patch: (patch.size, patch.from_level))


def step_failed(now: str, operation: Operation, error: SutureError) -> StepFailed:
    """An error as the machine's event: does time mend it, and did the level's own health say no?"""
    passing = not isinstance(error, TrustError | ImprovementError | NotAllowedError)
    declared = isinstance(error, HealthError)
    return StepFailed(now, operation.number, operation.step, error.code, error.message, passing, declared)
