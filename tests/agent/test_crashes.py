"""Crash counters: what they accuse, and that they never convict for good."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from suture.agent.health.crashes import Crashes, find_crashing
from suture.agent.machine.events import Considered, Crashing, StepDone
from suture.agent.machine.instructions import DoStep, Outcome
from suture.agent.machine.invariants import broken_invariants
from suture.agent.machine.state import (
    CRASHING,
    FixedCve,
    Kind,
    LevelRecord,
    LevelState,
    ProductState,
    Step,
    Watch,
)
from suture.agent.machine.transitions import handle
from suture.agent.settings import effective_settings
from suture.core.clock import parse_time

NOW = "2026-03-01T12:00:00Z"
LATER = "2026-03-01T12:02:30Z"
SETTINGS = effective_settings(None, None, None, None, parse_time(NOW))


def in_place() -> ProductState:
    records = tuple(
        LevelRecord(
            level=number,
            digest="sha256:" + str(number) * 64,
            state=state,
            at=NOW,
            fixes=(FixedCve(f"CVE-2026-000{number}", "high"),),
            offered=True,
            staged_here=True,
        )
        for number, state in ((1, LevelState.REPLACED), (2, LevelState.EFFECTIVE))
    )
    watch = Watch(swapped_at=1.0, clean=True)
    return ProductState(
        product="darkroom", baseline="1.0-x86_64", active=2, last_good=1, levels=records, watch=watch,
        exposed_since=(("CVE-2026-0001", NOW),),
    )  # fmt: skip


def crash(state: ProductState, now: str = NOW, *, takes_back: bool = True) -> Outcome:
    outcome = handle(state, Crashing(now, 2, "darkroom.service crashed 2 times", takes_back))
    assert broken_invariants(outcome.state) == ()
    return outcome


def test_crashes_take_a_level_back_without_quarantine_and_open_its_cves_again() -> None:
    outcome = crash(in_place())
    record = outcome.state.record(2)
    assert record is not None
    assert (record.state, record.reason, record.quarantined, record.crashes) == (
        LevelState.ROLLED_BACK, CRASHING, False, 1,
    )  # fmt: skip
    assert record.retry_at == "2026-03-01T12:01:00Z"
    assert outcome.notes[0].event == "re-exposed"
    step = outcome.instructions[0]
    assert isinstance(step, DoStep)
    assert (step.operation.kind, step.operation.level) == (Kind.ROLL_BACK, 1)
    assert "CVE-2026-0002" in dict(outcome.state.exposed_since)


def rolled_back(outcome: Outcome) -> ProductState:
    state = outcome.state
    for step in (Step.GRAFT, Step.RESTART, Step.CHECK):
        assert state.operation is not None
        state = handle(state, StepDone(NOW, state.operation.number, step, 2.0)).state
    assert state.operation is None
    return state


def test_it_is_tried_again_by_itself_and_the_back_off_grows_with_every_time() -> None:
    state = rolled_back(crash(in_place()))
    assert handle(state, Considered(NOW, SETTINGS)).state.operation is None, "not before its time"
    again = handle(state, Considered(LATER, SETTINGS)).state
    assert again.operation is not None
    assert (again.operation.kind, again.operation.level) == (Kind.INSTALL, 2)
    for step in (Step.FETCH, Step.STAGE, Step.GRAFT, Step.RESTART, Step.CHECK):
        assert again.operation is not None
        again = handle(again, StepDone(LATER, again.operation.number, step, 3.0)).state
    assert (again.active, again.operation) == (2, None)
    record = crash(again, LATER).state.record(2)
    assert record is not None
    assert (record.crashes, record.retry_at) == (2, "2026-03-01T12:04:30Z")


def test_a_level_that_closes_an_exploited_hole_stays_and_says_so() -> None:
    outcome = crash(in_place(), takes_back=False)
    assert (outcome.state.active, outcome.state.operation, outcome.instructions) == (2, None, ())
    record = outcome.state.record(2)
    assert record is not None
    assert (record.state, record.reason) == (LevelState.EFFECTIVE, CRASHING)


def test_crashes_of_another_level_or_in_mid_operation_change_nothing() -> None:
    state = in_place()
    assert handle(state, Crashing(NOW, 1, "x", True)).state == state
    busy = crash(state).state
    assert handle(busy, Crashing(NOW, 2, "x", True)).state == busy


def test_the_baseline_is_the_last_resort() -> None:
    state = replace(in_place(), last_good=0)
    operation = crash(state).state.operation
    assert operation is not None
    assert operation.level == 0


BEFORE = {"a.service": Crashes(0), "b.service": Crashes(5, lately=True), "c.service": Crashes(3)}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"a.service": Crashes(1)}, ""),
        ({"a.service": Crashes(2)}, "a.service crashed 2 times"),
        ({"a.service": Crashes(0, failed=True, how="core-dump")}, "a.service failed (core-dump)"),
        ({"b.service": Crashes(50, failed=True)}, ""),
        ({"c.service": Crashes(4)}, ""),
        ({"c.service": Crashes(2)}, "c.service crashed 2 times"),
        ({"new.service": Crashes(9)}, ""),
        ({}, ""),
    ],
    ids=["once is chance", "twice", "failed for good", "an older fault", "grown by one", "counted anew", "new", "none"],
)
def test_only_what_crashes_since_then_is_blamed(now: dict[str, Crashes], said: str) -> None:
    assert find_crashing(BEFORE, now) == said
