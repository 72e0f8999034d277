"""The restart step: evidence first where it is asked for, then what the plan says, and a second try where a reload left
old code running. It never restarts what the product file or a policy forbids, and never the machine.
"""

from __future__ import annotations

import time

import msgspec

from suture.agent.capture import capture_evidence
from suture.agent.device import Device
from suture.agent.doors import Restarter, RestartOutcome, ScanResult
from suture.agent.machine.state import Kind, Operation, ProductState
from suture.agent.proof import find_users
from suture.agent.reboot import ask_reboot
from suture.agent.restarts.plan import PlannedRestart, RestartKind, RestartPlan, plan_restarts
from suture.core.errors import HealthError, NotKnownError, RestartError, SutureError
from suture.improvement.manifest import Manifest, RestartClass
from suture.wire.product import Product, UnitWay

RESTART_DEADLINE_SECONDS = 90.0
RELOAD_SECONDS = 5.0
"""A reload that has not replaced the old code by then is followed by a restart."""
_LOOK_SECONDS = 0.1
RAN_BEFORE_FACT = "ran-before"
TIMES_FACT = "restart-times"


class RanBefore(msgspec.Struct, frozen=True):
    """The units that ran before the restarts of operation `number`: a later one may have to start them again."""

    number: int
    names: tuple[str, ...]


class Restarting:
    """Restarts for one product."""

    def __init__(self, device: Device, product: Product) -> None:
        self.device = device
        self.product = product

    def restart(self, state: ProductState, operation: Operation, manifest: Manifest) -> float | None:
        """Restart what uses other files than the active level's; milliseconds, or None where nothing had to.

        Args:
            state: as journalled, with the operation's level active.
            operation: at its restart step.
            manifest: of the level that comes, or on the way to the baseline of the one that goes.

        Raises:
            RestartError: something that the manifest declares did not restart.
            HealthError: it was restarted, and the new code did not come up.
        """
        if manifest.restart.category is RestartClass.NONE:
            return None
        users = find_users(self.device, self.product, state, active=state.active)
        plan = self.plan(manifest, users)
        self._note_reboot(state, plan)
        fallen = self._fallen(operation, plan)
        if not users.users and not users.unknown and not fallen:
            return None
        if any(fix.known_exploited for fix in manifest.fixes) and self.device.settings(self.product).capture:
            capture_evidence(self.device, self.product, operation, users)
        began = self.device.clock.monotonic()
        self._do(state, plan, fallen)
        return (self.device.clock.monotonic() - began) * 1000

    def plan(self, manifest: Manifest, users: ScanResult) -> RestartPlan:
        """What would restart, given who uses the files."""
        owners = {user.belongs_to for user in users.users if user.belongs_to is not None}
        forbidden = self.device.settings(self.product).never_restart
        return plan_restarts(manifest.restart, self.product, owners, forbidden)

    def last_milliseconds(self) -> dict[str, float]:
        """How long each one's last restart took."""
        kept = self.device.journal.fact(self.product.product, TIMES_FACT)
        return msgspec.json.decode(kept, type=dict[str, float]) if kept is not None else {}

    # --- doing -------------------------------------------------------------------------------------------------------

    def _do(self, state: ProductState, plan: RestartPlan, fallen: frozenset[str]) -> None:
        outcomes: list[RestartOutcome] = []
        reloaded: list[PlannedRestart] = []
        for one in plan.restarts:
            if one.way is UnitWay.RELOAD and one.name not in fallen:
                outcome = self._one(one, reload=True)
                reloaded.append(one)
                if outcome is None or outcome.ok:
                    continue
            outcome = self._one(one, ran_before=one.name in fallen)
            if outcome is not None:
                outcomes.append(outcome)
        if reloaded:
            still = self._still_old(state, frozenset(one.name for one in reloaded))
            again = (self._one(one) for one in reloaded if one.name in still)
            outcomes.extend(outcome for outcome in again if outcome is not None)
        self._keep_times(outcomes)
        failure = next((outcome for outcome in outcomes if not outcome.ok), None)
        if failure is not None:
            kind = HealthError if failure.health else RestartError
            raise kind(f"cannot restart {failure.name}: {failure.reason}")

    def _still_old(self, state: ProductState, names: frozenset[str]) -> frozenset[str]:
        """Those of `names` that still run old code when they have had time to take the new."""
        end = self.device.clock.monotonic() + RELOAD_SECONDS
        while True:
            users = find_users(self.device, self.product, state, active=state.active).users
            still = names & {user.belongs_to for user in users if user.belongs_to is not None}
            if not still or self.device.clock.monotonic() >= end:
                return still
            time.sleep(_LOOK_SECONDS)  # a reload may go on after systemctl(1) has answered; only a scan can tell

    def _one(self, one: PlannedRestart, *, reload: bool = False, ran_before: bool = False) -> RestartOutcome | None:
        end = self._end(one)
        try:
            if reload:
                return end.reload(one.name, deadline_seconds=RESTART_DEADLINE_SECONDS)
            return end.restart(one.name, deadline_seconds=RESTART_DEADLINE_SECONDS, ran_before=ran_before)
        except NotKnownError:
            # A declared service that was never started here runs nothing old.
            return None
        except RestartError as error:
            if not one.declared:
                return None
            return RestartOutcome(name=one.name, ok=False, reason=error.message, milliseconds=0.0)

    def _end(self, one: PlannedRestart) -> Restarter:
        return self.device.services if one.kind is RestartKind.SERVICE else self.device.units

    # --- remembering -------------------------------------------------------------------------------------------------

    def _fallen(self, operation: Operation, plan: RestartPlan) -> frozenset[str]:
        """Units that ran before the level came and do not now: on the way back they must be started again."""
        units = [one.name for one in plan.restarts if one.kind is RestartKind.UNIT]
        kept = self.device.journal.fact(self.product.product, RAN_BEFORE_FACT)
        known = msgspec.json.decode(kept, type=RanBefore) if kept is not None else RanBefore(0, ())
        goes_up = operation.level > 0 and operation.kind in (Kind.INSTALL, Kind.RECALL)
        if goes_up and known.number != operation.number:
            running = RanBefore(operation.number, tuple(name for name in units if self._runs(name)))
            self.device.journal.keep_fact(self.product.product, RAN_BEFORE_FACT, msgspec.json.encode(running))
            return frozenset()
        return frozenset(name for name in units if name in known.names and not self._runs(name))

    def _runs(self, name: str) -> bool:
        try:
            return self.device.units.is_running(name)
        except SutureError:
            return False

    def _keep_times(self, outcomes: list[RestartOutcome]) -> None:
        times = {
            outcome.name: round(outcome.milliseconds, 1) for outcome in outcomes if outcome.ok and not outcome.reason
        }
        if times:
            merged = msgspec.json.encode({**self.last_milliseconds(), **times})
            self.device.journal.keep_fact(self.product.product, TIMES_FACT, merged)

    def _note_reboot(self, state: ProductState, plan: RestartPlan) -> None:
        if plan.reboot:
            ask_reboot(self.device.journal, self.product.product, state.active)
