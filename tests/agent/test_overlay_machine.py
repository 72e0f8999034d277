"""The machine's rules for grafts that end with the running system, give way, or are kept off. Pure."""

from __future__ import annotations

import msgspec
import pytest

from suture.agent.machine.events import Event, GaveWay, Scanned, Started, StepDone, StepFailed
from suture.agent.machine.instructions import DoStep, Outcome
from suture.agent.machine.invariants import broken_invariants
from suture.agent.machine.state import (
    FixedCve,
    Kind,
    LevelRecord,
    LevelState,
    Operation,
    ProductState,
    Step,
    Watch,
)
from suture.agent.machine.transitions import handle

NOW, LATER = "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"


def record(level: int, state: LevelState) -> LevelRecord:
    fixes = (FixedCve("CVE-2023-4863", "critical"),)
    return LevelRecord(level, f"sha256:{level:064x}", state, NOW, fixes=fixes, staged_here=True)


def in_effect() -> ProductState:
    levels = (record(1, LevelState.EFFECTIVE),)
    return ProductState("darkroom", "1.0-x86_64", 1, levels=levels, watch=Watch(1.0, clean=True), next_number=7)


def told(state: ProductState, event: Event) -> Outcome:
    outcome = handle(state, event)
    assert broken_invariants(outcome.state) == ()
    return outcome


def step(outcome: Outcome) -> Operation:
    (done,) = [one for one in outcome.instructions if isinstance(one, DoStep)]
    return done.operation


def test_after_a_start_the_level_is_grafted_again_and_is_not_effective_until_it_is_proved() -> None:
    outcome = told(in_effect(), Started(LATER, 0, lasting=False))
    operation = step(outcome)
    assert (operation.kind, operation.level, operation.step) == (Kind.RESTORE, 1, Step.GRAFT)
    assert outcome.state.levels[0].state is LevelState.ACTIVATING
    assert outcome.state.exposed_since == (("CVE-2023-4863", LATER),)
    outcome = told(outcome.state, StepDone(LATER, operation.number, Step.GRAFT, 2.0))
    outcome = told(outcome.state, StepDone(LATER, operation.number, Step.RESTART))
    assert outcome.state.operation is None, "its checks were made when it was installed"
    outcome = told(outcome.state, Scanned(LATER, (), 0, unknown_blocks=True))
    assert outcome.state.levels[0].state is LevelState.EFFECTIVE
    assert outcome.state.exposed_since == ()


@pytest.mark.parametrize("code", ["baseline-mismatch", "digest-mismatch"])
def test_what_no_longer_fits_goes_to_the_baseline(code: str) -> None:
    outcome = told(in_effect(), Started(LATER, 0, lasting=False))
    number = step(outcome).number
    outcome = told(outcome.state, StepFailed(LATER, number, Step.GRAFT, code, "x", passing=False))
    assert step(outcome).level == 0
    outcome = told(outcome.state, StepDone(LATER, step(outcome).number, Step.GRAFT, 2.0))
    assert (outcome.state.active, outcome.state.levels[0].state) == (0, LevelState.ROLLED_BACK)


def test_a_service_that_does_not_come_back_at_boot_blames_nobody() -> None:
    outcome = told(in_effect(), Started(LATER, 0, lasting=False))
    number = step(outcome).number
    outcome = told(outcome.state, StepDone(LATER, number, Step.GRAFT, 2.0))
    failed = StepFailed(LATER, number, Step.RESTART, "health-failed", "x", declared=True)
    outcome = told(outcome.state, failed)
    assert (outcome.state.active, outcome.state.operation) == (1, None)
    assert not outcome.state.levels[0].quarantined


@pytest.mark.parametrize("at", [Step.RESTART, Step.CHECK])
def test_a_machine_that_went_down_after_the_swap_grafts_first(at: Step) -> None:
    operation = Operation(6, Kind.INSTALL, 1, 0, at, NOW)
    state = msgspec.structs.replace(
        in_effect(),
        levels=(record(1, LevelState.GRAFTED),),
        watch=Watch(1.0),
        operation=operation,
        exposed_since=(("CVE-2023-4863", NOW),),
    )
    assert step(told(state, Started(LATER, 0, lasting=False))).step is Step.GRAFT
    assert step(told(state, Started(LATER, 1, lasting=False))).step is at


def test_a_fetch_does_not_keep_the_graft_away() -> None:
    operation = Operation(6, Kind.INSTALL, 2, 1, Step.FETCH, NOW)
    levels = (record(1, LevelState.EFFECTIVE), record(2, LevelState.FETCHING))
    state = msgspec.structs.replace(in_effect(), levels=levels, operation=operation)
    outcome = told(state, Started(LATER, 0, lasting=False))
    assert (step(outcome).kind, step(outcome).level) == (Kind.RESTORE, 1)
    assert outcome.state.levels[1].state is LevelState.OFFERED


def test_grafts_that_are_off_are_said_to_be() -> None:
    outcome = told(in_effect(), Started(LATER, 0, lasting=False, grafts_off="a file"))
    operation = step(outcome)
    assert (operation.level, operation.reason, operation.detail) == (0, "grafts-off", "a file")
    outcome = told(outcome.state, StepDone(LATER, operation.number, Step.GRAFT, 2.0))
    left = outcome.state.levels[0]
    assert (outcome.state.active, left.state, left.reason) == (0, LevelState.ROLLED_BACK, "grafts-off")
    assert not left.quarantined
    assert outcome.state.exposed_since == (("CVE-2023-4863", LATER),)


def test_a_graft_that_gives_way_exposes_the_device_again() -> None:
    outcome = told(in_effect(), GaveWay(LATER, "dpkg (7)"))
    assert (outcome.state.active, outcome.state.levels[0].state) == (1, LevelState.ACTIVATING)
    assert outcome.state.exposed_since == (("CVE-2023-4863", LATER),)
    assert outcome.state.operation is None


def test_a_switch_that_was_moved_is_judged_as_before() -> None:
    assert step(told(in_effect(), Started(LATER, 0))).kind is Kind.ROLL_BACK
