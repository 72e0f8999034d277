"""The machine against a hostile world: whatever happens in whatever order, its invariants hold after every event."""

from __future__ import annotations

from dataclasses import replace as change
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from suture.agent.machine.events import (
    BaselineChanged,
    Considered,
    Event,
    HoldAsked,
    InstallAsked,
    Offer,
    Polled,
    RemoveAsked,
    Scanned,
    Started,
    StepDone,
    StepFailed,
)
from suture.agent.machine.instructions import DoStep, Instruction, Prune, Scan
from suture.agent.machine.invariants import broken_invariants
from suture.agent.machine.state import FixedCve, Holder, Kind, LevelState, ProductState, Step
from suture.agent.machine.transitions import handle
from suture.core.clock import format_time
from suture.core.errors import (
    InputError,
    NothingToDoError,
    PolicyError,
    RefusedError,
    SecondDigestError,
    SutureError,
)
from suture.wire.settings import EffectiveSettings

START = datetime(2026, 3, 1, tzinfo=UTC)


def settings_of(
    *, automatic: bool = True, ask: bool = False, removal: bool = True, postponed: str | None = None
) -> EffectiveSettings:
    return EffectiveSettings(automatic, ask, postponed, True, 3600, removal, {})


def digest(level: int) -> str:
    return "sha256:" + f"{level:064x}"


def offer(level: int, *, offered: bool = True, recalled: str | None = None, why: str = "") -> Offer:
    fixes = tuple(FixedCve(f"CVE-2026-{1000 + n}", "high") for n in range(level))
    return Offer(level, digest(level), offered and recalled is None, why, recalled, fixes, 1000, True)


class World:
    """A device around the machine: it keeps the pointer, and does or fails what it is told."""

    def __init__(self) -> None:
        self.state = ProductState(product="darkroom", baseline="1.0-x86_64")
        self.pointer = 0
        self.clock = START
        self.todo: list[Instruction] = []
        self.settings = settings_of()
        self.bad: set[int] = set()
        self.busy: tuple[Holder, ...] = ()
        self.unknown = 0
        self.passing_fault: Step | None = None
        self.seen: list[str] = []

    @property
    def now(self) -> str:
        return format_time(self.clock)

    def tell(self, event: Event) -> None:
        outcome = handle(self.state, event)
        assert broken_invariants(outcome.state) == (), (event, broken_invariants(outcome.state))
        self.state = outcome.state
        self.seen += [note.event for note in outcome.notes]
        self.todo += outcome.instructions

    def settle(self, limit: int = 200) -> None:
        while self.todo:
            limit -= 1
            assert limit > 0, "the machine never comes to rest"
            self.do(self.todo.pop(0))

    def do(self, instruction: Instruction) -> None:
        if isinstance(instruction, Scan):
            self.tell(Scanned(self.now, self.busy, self.unknown, True))
        elif isinstance(instruction, Prune):
            assert self.state.active in (0, *instruction.keep)
        elif isinstance(instruction, DoStep):
            self.step(instruction)

    def step(self, instruction: DoStep) -> None:
        operation = instruction.operation
        if self.passing_fault is operation.step:
            self.passing_fault = None
            self.tell(StepFailed(self.now, operation.number, operation.step, "disk-full", "no room"))
            return
        if operation.step is Step.GRAFT:
            self.pointer = operation.level
        if operation.step is Step.CHECK and operation.level in self.bad:
            failed = StepFailed(self.now, operation.number, operation.step, "health-failed", "bad", declared=True)
            self.tell(failed)
            return
        self.tell(StepDone(self.now, operation.number, operation.step, self.clock.timestamp()))

    def poll(self, *offers: Offer) -> None:
        self.tell(Polled(self.now, self.settings, offers))
        self.settle()


def installed(level: int = 1) -> World:
    world = World()
    world.poll(offer(level))
    assert world.state.active == level == world.pointer
    return world


def test_an_offer_becomes_effective_and_closes_its_cves() -> None:
    world = installed()
    record = world.state.record(1)
    assert record is not None
    assert record.state is LevelState.EFFECTIVE
    assert not world.state.exposed_since


def test_old_processes_keep_it_from_being_effective_and_the_proof_is_not_latched() -> None:
    world = World()
    world.busy = (Holder(7, "python", "mapped"),)
    world.poll(offer(1))
    record = world.state.record(1)
    assert record is not None
    assert record.state is LevelState.ACTIVATING
    assert [cve for cve, _ in world.state.exposed_since] == ["CVE-2026-1000"]
    world.busy = ()
    world.poll(offer(1))
    assert not world.state.exposed_since
    world.busy = (Holder(8, "python", "mapped"),)
    world.poll(offer(1))
    assert "reopened" in world.seen
    assert [cve for cve, _ in world.state.exposed_since] == ["CVE-2026-1000"]


def test_unreadable_processes_block_effective_for_root() -> None:
    world = World()
    world.unknown = 1
    world.poll(offer(1))
    record = world.state.record(1)
    assert record is not None
    assert record.state is LevelState.ACTIVATING


def test_a_bad_level_rolls_back_is_remembered_and_not_tried_again() -> None:
    world = installed()
    world.bad = {2}
    world.poll(offer(1), offer(2))
    assert world.state.active == world.pointer == 1
    record = world.state.record(2)
    assert record is not None
    assert (record.state, record.quarantined, record.reason) == (LevelState.ROLLED_BACK, True, "health-failed")
    world.clock += timedelta(days=30)
    world.poll(offer(1), offer(2))
    assert world.state.active == 1


def test_a_level_whose_check_and_whose_predecessor_fail_ends_on_the_baseline() -> None:
    world = installed()
    world.bad = {1, 2}
    world.poll(offer(1), offer(2))
    assert world.state.active == world.pointer == 0


def test_a_recall_goes_to_the_baseline_though_automatic_install_is_off() -> None:
    world = installed()
    world.settings = settings_of(automatic=False, ask=True)
    world.poll(offer(1, recalled="it crashes"))
    assert world.state.active == world.pointer == 0
    record = world.state.record(1)
    assert record is not None
    assert (record.state, record.detail) == (LevelState.RECALLED, "it crashes")
    assert [cve for cve, _ in world.state.exposed_since] == ["CVE-2026-1000"]


def test_a_recall_tries_the_highest_good_level_on_offer_first() -> None:
    world = installed()
    world.settings = settings_of(automatic=False)
    world.poll(offer(1, recalled="it crashes"), offer(2))
    assert world.state.active == world.pointer == 2


def test_a_recall_falls_back_to_what_is_held_where_the_offer_cannot_be_fetched() -> None:
    world = installed(1)
    world.poll(offer(1), offer(2))
    world.passing_fault = Step.FETCH
    world.poll(offer(1), offer(2, recalled="bad"), offer(3))
    assert world.state.active == world.pointer == 1


def test_a_recall_is_never_taken_back() -> None:
    world = installed()
    world.poll(offer(1, recalled="bad"))
    world.poll(offer(1))
    assert world.state.active == 0


def test_removal_holds_the_level_until_a_higher_one_appears() -> None:
    world = installed()
    world.tell(RemoveAsked(world.now, world.settings))
    world.settle()
    assert world.pointer == 0
    world.poll(offer(1))
    assert world.state.active == 0
    world.poll(offer(1), offer(2))
    assert world.state.active == 2


def test_a_person_may_install_again_what_was_removed() -> None:
    world = installed()
    world.tell(RemoveAsked(world.now, world.settings))
    world.settle()
    world.tell(InstallAsked(world.now, world.settings))
    world.settle()
    assert world.state.active == 1
    assert world.state.removal_hold == 0


def test_policy_may_forbid_removal_and_then_nothing_changes() -> None:
    world = installed()
    with pytest.raises(PolicyError):
        world.tell(RemoveAsked(world.now, settings_of(removal=False)))
    assert world.state.active == 1


def test_removal_cancels_a_fetch_and_its_late_result_is_ignored() -> None:
    world = installed()
    world.tell(Polled(world.now, world.settings, (offer(1), offer(2))))
    fetch = world.todo.pop(0)
    assert isinstance(fetch, DoStep)
    world.tell(RemoveAsked(world.now, world.settings))
    world.settle()
    world.tell(StepDone(world.now, fetch.operation.number, Step.FETCH))
    world.settle()
    assert world.state.active == world.pointer == 0


def test_a_second_digest_for_a_known_level_is_refused_for_ever() -> None:
    world = installed()
    with pytest.raises(SecondDigestError):
        world.tell(Polled(world.now, world.settings, (change(offer(1), digest=digest(99)),)))


def test_a_level_below_the_active_one_is_never_installed_by_itself() -> None:
    world = installed(2)
    world.poll(offer(1), offer(2))
    assert world.state.active == 2


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        (settings_of(automatic=False), "automatic-install-off"),
        (settings_of(ask=True), "ask-first"),
        (settings_of(postponed="2026-03-02T00:00:00Z"), "postponed"),
    ],
)
def test_settings_hold_and_say_why(settings: EffectiveSettings, code: str) -> None:
    world = World()
    world.settings = settings
    world.poll(offer(1))
    record = world.state.record(1)
    assert record is not None
    assert (world.state.active, record.state, record.reason) == (0, LevelState.HELD, code)


def test_postponing_expires_by_itself() -> None:
    world = World()
    world.settings = settings_of(postponed="2026-03-02T00:00:00Z")
    world.poll(offer(1))
    world.clock += timedelta(days=2)
    world.tell(Considered(world.now, world.settings))
    world.settle()
    assert world.state.active == 1


def test_a_hold_holds_but_not_against_a_recall() -> None:
    world = installed()
    world.tell(HoldAsked(world.now, "2026-04-01T00:00:00Z"))
    world.poll(offer(1), offer(2))
    assert world.state.active == 1
    world.poll(offer(1, recalled="bad"), offer(2, offered=False, why="not-in-share"))
    assert world.state.active == 0


def test_a_failed_fetch_is_tried_again_after_its_back_off() -> None:
    world = World()
    world.passing_fault = Step.FETCH
    world.poll(offer(1))
    assert world.state.active == 0
    world.poll(offer(1))
    assert world.state.active == 0, "not before the back-off ended"
    world.clock += timedelta(seconds=61)
    world.poll(offer(1))
    assert world.state.active == 1


@pytest.mark.parametrize("step", [Step.STAGE, Step.GRAFT, Step.RESTART, Step.CHECK])
def test_a_passing_fault_in_any_step_leaves_the_old_level_and_no_quarantine(step: Step) -> None:
    world = installed()
    world.passing_fault = step
    world.poll(offer(1), offer(2))
    assert world.state.active == world.pointer == 1
    record = world.state.record(2)
    assert record is not None
    assert not record.quarantined
    world.clock += timedelta(hours=1)
    world.poll(offer(1), offer(2))
    assert world.state.active == 2


@pytest.mark.parametrize("step", list(Step))
def test_a_crash_in_any_step_ends_on_the_new_level_after_recovery(step: Step) -> None:
    world = installed()
    world.tell(Polled(world.now, world.settings, (offer(1), offer(2))))
    while True:
        instruction = world.todo.pop(0)
        assert isinstance(instruction, DoStep)
        if instruction.operation.step is step:
            break
        world.do(instruction)
    world.todo.clear()
    world.tell(Started(world.now, world.pointer))
    world.settle()
    assert world.state.active == world.pointer == 2


def test_a_step_that_crashes_again_and_again_is_given_up() -> None:
    world = installed()
    world.tell(Polled(world.now, world.settings, (offer(1), offer(2))))
    for _ in range(20):
        if not world.todo:
            break
        instruction = world.todo.pop(0)
        assert not isinstance(instruction, Prune) or not world.todo
        operation = instruction.operation if isinstance(instruction, DoStep) else None
        if operation is not None and operation.kind is Kind.INSTALL and operation.step is Step.RESTART:
            world.todo.clear()
            world.tell(Started(world.now, world.pointer))
        else:
            world.do(instruction)
    assert world.state.active == world.pointer == 1
    record = world.state.record(2)
    assert record is not None
    assert record.reason == "crash-loop"


def test_a_pointer_moved_behind_our_back_is_put_back() -> None:
    world = installed()
    world.pointer = 0
    world.tell(Started(world.now, 0))
    world.settle()
    assert world.pointer == 1


def test_another_release_supersedes_what_is_in_place() -> None:
    world = installed()
    world.tell(BaselineChanged(world.now, "1.1-x86_64"))
    world.settle()
    record = world.state.record(1)
    assert record is not None
    assert (world.pointer, record.state) == (0, LevelState.SUPERSEDED)


def test_a_damaged_lower_level_ends_on_the_baseline() -> None:
    world = installed(1)
    world.poll(offer(1), offer(2))
    world.tell(RemoveAsked(world.now, world.settings, 1))
    instruction = world.todo.pop(0)
    assert isinstance(instruction, DoStep)
    number = instruction.operation.number
    world.tell(StepFailed(world.now, number, Step.GRAFT, "digest-mismatch", "changed", passing=False))
    world.settle()
    assert world.state.active == world.pointer == 0


def test_asking_for_what_is_in_place_or_lower_says_so() -> None:
    world = installed(2)
    with pytest.raises(NothingToDoError):
        world.tell(InstallAsked(world.now, world.settings, 2))
    world.tell(Polled(world.now, world.settings, (offer(1), offer(2))))
    with pytest.raises(InputError):
        world.tell(InstallAsked(world.now, world.settings, 1))


def test_a_pause_holds_for_a_person_too_and_a_share_does_not() -> None:
    world = World()
    world.poll(offer(1, offered=False, why="paused"))
    with pytest.raises(RefusedError):
        world.tell(InstallAsked(world.now, world.settings))
    world.poll(offer(1, offered=False, why="not-in-share"))
    world.tell(InstallAsked(world.now, world.settings))
    world.settle()
    assert world.state.active == 1


class AnyOrder(RuleBasedStateMachine):
    """Random polls, requests, faults, crashes and holders; the invariants are checked after every event."""

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.recalled: set[int] = set()
        self.highest = 0

    @rule(seconds=st.integers(0, 200_000))
    def time_passes(self, seconds: int) -> None:
        self.world.clock += timedelta(seconds=seconds)

    @rule(
        new=st.booleans(), offered=st.booleans(), recall=st.booleans(), bad=st.booleans(), automatic=st.booleans(),
        fault=st.sampled_from([None, *Step]), busy=st.booleans(), crash_after=st.integers(0, 12),
    )  # fmt: skip
    def poll(
        self, new: bool, offered: bool, recall: bool, bad: bool, automatic: bool, fault: Step | None, busy: bool,
        crash_after: int,
    ) -> None:  # fmt: skip
        if new:
            self.highest += 1
            if bad:
                self.world.bad.add(self.highest)
        if recall and self.highest:
            self.recalled.add(self.highest)
        self.world.settings = settings_of(automatic=automatic)
        self.world.passing_fault = fault
        self.world.busy = (Holder(9, "old", "mapped"),) if busy else ()
        offers = [
            offer(level, offered=offered or level < self.highest, recalled="bad" if level in self.recalled else None)
            for level in range(1, self.highest + 1)
        ]
        self.world.tell(Polled(self.world.now, self.world.settings, tuple(offers)))
        self.run(crash_after)

    @rule(level=st.integers(0, 3), crash_after=st.integers(0, 12))
    def remove(self, level: int, crash_after: int) -> None:
        self.ask(RemoveAsked(self.world.now, settings_of(), level), crash_after)

    @rule(level=st.none() | st.integers(1, 4), crash_after=st.integers(0, 12))
    def install(self, level: int | None, crash_after: int) -> None:
        self.ask(InstallAsked(self.world.now, settings_of(), level), crash_after)

    @rule()
    def other_release(self) -> None:
        self.world.tell(BaselineChanged(self.world.now, "2.0-x86_64"))
        self.world.settle()
        assert self.world.pointer == 0 or self.world.state.operation is not None

    def ask(self, event: Event, crash_after: int) -> None:
        try:
            self.world.tell(event)
        except SutureError:
            return
        self.run(crash_after)

    def run(self, crash_after: int) -> None:
        """Do some steps, crash, recover, and come to rest."""
        for _ in range(crash_after):
            if not self.world.todo:
                return
            self.world.do(self.world.todo.pop(0))
        self.world.todo.clear()
        self.world.tell(Started(self.world.now, self.world.pointer))
        self.world.settle()

    @invariant()
    def a_recalled_level_is_left(self) -> None:
        state = self.world.state
        record = state.record(state.active)
        if record is not None and record.recalled is not None:
            assert state.operation is not None, "a recalled level stays in place and nobody moves"

    @invariant()
    def at_rest_the_pointer_is_the_journal_s(self) -> None:
        if self.world.state.operation is None:
            assert self.world.pointer == self.world.state.active


AnyOrder.TestCase.settings = hypothesis_settings(max_examples=150, stateful_step_count=30, deadline=None)
TestAnyOrder = AnyOrder.TestCase
