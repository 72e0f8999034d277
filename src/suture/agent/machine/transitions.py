"""The machine's one door: `handle(state, event)`. Dispatches, then brings the exposures up to date."""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from suture.agent.machine import asked, polled, steps
from suture.agent.machine.events import (
    BaselineChanged,
    Considered,
    Crashing,
    Event,
    GaveWay,
    HoldAsked,
    InstallAsked,
    Polled,
    RemoveAsked,
    Scanned,
    Started,
    StepDone,
    StepFailed,
)
from suture.agent.machine.exposure import with_exposures
from suture.agent.machine.instructions import DoStep, Note, Outcome, Prune, Scan
from suture.agent.machine.state import Kind, LevelState, ProductState, Step

MAXIMUM_RECOVERIES = 3
"""A step that ended in a crash so often is not tried again: the device goes back to where it came from."""


def handle(state: ProductState, event: Event) -> Outcome:
    """Judge one event.

    Args:
        state: the product as the journal has it.
        event: what happened, with its time.

    Returns:
        The new state, the instructions (to be done after the state is committed) and the notes for the history.

    Raises:
        SutureError: only for what a person asked for and cannot have; the state is then unchanged.
    """
    outcome = _dispatch(state, event)
    return Outcome(with_exposures(outcome.state, event.now), outcome.instructions, outcome.notes)


def _dispatch(state: ProductState, event: Event) -> Outcome:
    match event:
        case Polled():
            return polled.polled(state, event)
        case Considered():
            return polled.considered(state, event)
        case InstallAsked():
            return asked.install_asked(state, event)
        case RemoveAsked():
            return asked.remove_asked(state, event)
        case HoldAsked():
            word = "held" if event.until else "released"
            note = Note(state.active, word, "", "", event.until or "")
            return Outcome(replace(state, hold_until=event.until), (), (note,))
        case StepDone():
            return steps.step_done(state, event)
        case StepFailed():
            return steps.step_failed(state, event)
        case Crashing():
            return steps.crashing(state, event)
        case Scanned():
            return _scanned(state, event)
        case Started():
            return _started(state, event)
        case BaselineChanged():
            return _baseline_changed(state, event)
        case GaveWay():
            note = Note(state.active, "gave-way", LevelState.ACTIVATING, "", event.to)
            return Outcome(_exposed_again(state, event.now), (), (note,))
    assert_never(event)


def _scanned(state: ProductState, event: Scanned) -> Outcome:
    if state.watch is None:
        return Outcome(state)
    blocked = bool(event.holders) or (event.unknown > 0 and event.unknown_blocks)
    own_only = not blocked and event.unknown > 0
    before = state.watch
    watch = replace(
        before, clean=not blocked, own_only=own_only, holders=event.holders, unknown=event.unknown,
        since=before.since if before.clean is not blocked else event.now,
    )  # fmt: skip
    state = replace(state, watch=watch)
    if state.operation is not None:
        return Outcome(state)
    notes: tuple[Note, ...] = ()
    record = state.record(state.active)
    if record is not None:
        now_state = LevelState.ACTIVATING
        if not blocked:
            now_state = LevelState.EFFECTIVE_OWN if own_only else LevelState.EFFECTIVE
        if record.state is not now_state:
            state = state.with_record(replace(record, state=now_state, at=event.now))
            reopened = record.state in (LevelState.EFFECTIVE, LevelState.EFFECTIVE_OWN) and blocked
            detail = ", ".join(f"{holder.name} ({holder.pid})" for holder in event.holders[:5])
            word = "reopened" if reopened else "waits" if blocked else "proved"
            notes = (Note(record.level, word, now_state, "", detail),)
    elif not before.clean and not blocked:
        notes = (Note(0, "left", "baseline"),)
    keep = tuple(sorted({level for level in (state.active, state.last_good) if level}))
    return Outcome(state, (Prune(keep),) if not blocked else (), notes)


def _started(state: ProductState, event: Started) -> Outcome:
    operation = state.operation
    if event.grafts_off and (state.active or event.current):
        alone = replace(_cancelled(state, event.now), operation=None)
        return steps.begin(
            alone, Kind.ROLL_BACK, 0, Step.GRAFT, event.now, reason="grafts-off", detail=event.grafts_off
        )
    if operation is None:
        if event.current == state.active:
            return Outcome(state, (Scan(),) if state.watch is not None else ())
        if not event.lasting:
            return _restored(state, event.now)
        # Somebody moved the pointer behind our back: the journal's level is put back.
        return steps.begin(state, Kind.ROLL_BACK, state.active, Step.GRAFT, event.now, reason="pointer-moved")
    if not event.lasting and event.current != state.active:
        if operation.step is Step.FETCH:
            return _restored(replace(_cancelled(state, event.now), operation=None), event.now)
        if operation.step in (Step.RESTART, Step.CHECK):
            operation = replace(operation, step=Step.GRAFT)
    operation = replace(operation, recoveries=operation.recoveries + 1)
    state = replace(state, operation=operation)
    note = Note(operation.level, "recovered", operation.step, "", f"try {operation.recoveries}")
    goes_up = operation.level > 0 and operation.kind in (Kind.INSTALL, Kind.RECALL)
    if operation.recoveries > MAXIMUM_RECOVERIES and goes_up:
        detail = "the agent or the device fell over in this step again and again"
        failed = StepFailed(event.now, operation.number, operation.step, "crash-loop", detail)
        outcome = steps.step_failed(state, failed)
        return Outcome(outcome.state, outcome.instructions, (note, *outcome.notes))
    return Outcome(state, (DoStep(operation),), (note,))


def _restored(state: ProductState, now: str) -> Outcome:
    """Graft the journal's level again. Until then, and until it is proved anew, the device is exposed."""
    state = _exposed_again(state, now)
    return steps.begin(state, Kind.RESTORE, state.active, Step.GRAFT, now, reason="graft-gone")


def _exposed_again(state: ProductState, now: str) -> ProductState:
    record = state.record(state.active)
    if record is None or state.watch is None:
        return state
    state = replace(state, watch=replace(state.watch, clean=False, since=now))
    in_effect = record.state in (LevelState.EFFECTIVE, LevelState.EFFECTIVE_OWN)
    return state.with_record(replace(record, state=LevelState.ACTIVATING, at=now)) if in_effect else state


def _cancelled(state: ProductState, now: str) -> ProductState:
    """Without its operation: what was being fetched or staged is offered again."""
    operation = state.operation
    record = state.record(operation.level) if operation is not None else None
    if record is None or record.level == state.active or record.state not in (LevelState.FETCHING, LevelState.STAGED):
        return state
    return state.with_record(replace(record, state=LevelState.OFFERED, at=now, reason="cancelled"))


def _baseline_changed(state: ProductState, event: BaselineChanged) -> Outcome:
    if state.active == 0 and state.operation is None:
        return Outcome(state)
    return steps.begin(
        replace(state, operation=None), Kind.SUPERSEDE, 0, Step.GRAFT, event.now,
        reason="superseded", detail=f"the product's release is now {event.new_baseline}",
    )  # fmt: skip
