"""The rules for the steps of an operation: what a done or failed step leads to."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from suture.agent.machine.choice import best_held, known_bad
from suture.agent.machine.events import Crashing, StepDone, StepFailed
from suture.agent.machine.instructions import DoStep, Note, Outcome, Scan
from suture.agent.machine.state import CRASHING, IN_PLACE, Kind, LevelState, Operation, ProductState, Step, Watch
from suture.core.clock import format_time, parse_time

FIRST_BACK_OFF_SECONDS = 60
LONGEST_BACK_OFF_SECONDS = 24 * 3600

LEFT_AS = {
    Kind.INSTALL: LevelState.REPLACED,
    Kind.REMOVE: LevelState.REMOVED,
    Kind.RECALL: LevelState.RECALLED,
    Kind.ROLL_BACK: LevelState.ROLLED_BACK,
    Kind.SUPERSEDE: LevelState.SUPERSEDED,
    Kind.RESTORE: LevelState.ROLLED_BACK,
}
"""What the level that was in place becomes when an operation grafts another one."""


def begin(
    state: ProductState,
    kind: Kind,
    level: int,
    step: Step,
    now: str,
    *,
    reason: str = "",
    detail: str = "",
    by_person: bool = False,
    notes: tuple[Note, ...] = (),
) -> Outcome:
    """Start an operation from what is in place now."""
    operation = Operation(
        number=state.next_number,
        kind=kind,
        level=level,
        origin=state.active,
        step=step,
        started=now,
        reason=reason,
        detail=detail,
        by_person=by_person,
    )
    state = replace(state, operation=operation, next_number=state.next_number + 1)
    record = state.record(level)
    if record is not None and step is Step.FETCH:
        state = state.with_record(
            replace(record, state=LevelState.FETCHING, at=now, reason="", detail="", retry_at=None)
        )
    note = Note(level, f"{kind}-begun", step, reason, detail)
    return Outcome(state, (DoStep(operation),), (*notes, note))


def step_done(state: ProductState, event: StepDone) -> Outcome:
    """Go on with the operation, or end it."""
    operation = state.operation
    if operation is None or operation.number != event.number or operation.step is not event.step:
        return Outcome(state)
    match event.step:
        case Step.FETCH:
            return _advance(state, operation, Step.STAGE, event.now, LevelState.FETCHING)
        case Step.STAGE:
            record = state.record(operation.level)
            if record is not None:
                state = state.with_record(replace(record, staged_here=True))
            return _advance(state, operation, Step.GRAFT, event.now, LevelState.STAGED)
        case Step.GRAFT:
            return _grafted(state, operation, event)
        case Step.RESTART:
            if operation.level > 0 and operation.kind in (Kind.INSTALL, Kind.RECALL, Kind.ROLL_BACK):
                return _advance(state, operation, Step.CHECK, event.now, LevelState.ACTIVATING)
            return _finished(state, operation, event.now)
        case Step.CHECK:
            return _finished(state, operation, event.now)


def _advance(state: ProductState, operation: Operation, step: Step, now: str, level_state: LevelState) -> Outcome:
    operation = replace(operation, step=step, recoveries=0)
    state = replace(state, operation=operation)
    record = state.record(operation.level)
    if record is not None:
        state = state.with_record(replace(record, state=level_state, at=now))
    return Outcome(state, (DoStep(operation),), (Note(operation.level, f"{step}-begun", level_state),))


def _grafted(state: ProductState, operation: Operation, event: StepDone) -> Outcome:
    left = state.record(state.active)
    if left is not None and state.active != operation.level and left.state in IN_PLACE:
        reason, detail = (operation.reason, operation.detail) if operation.kind is not Kind.INSTALL else ("", "")
        state = state.with_record(
            replace(left, state=LEFT_AS[operation.kind], at=event.now, reason=reason, detail=detail)
        )
    watch = Watch(swapped_at=event.swapped_at, since=event.now)
    state = replace(state, active=operation.level, watch=watch)
    return _advance(state, operation, Step.RESTART, event.now, LevelState.GRAFTED)


def _finished(state: ProductState, operation: Operation, now: str) -> Outcome:
    if operation.kind in (Kind.INSTALL, Kind.RECALL):
        origin = state.record(operation.origin)
        good = origin is None or known_bad(origin) is None
        state = replace(state, last_good=operation.origin if good else 0)
    else:
        state = replace(state, last_good=min(state.last_good, operation.level))
    record = state.record(operation.level)
    if record is not None:
        state = state.with_record(
            replace(record, state=LevelState.ACTIVATING, at=now, reason="", detail="", attempts=0, retry_at=None)
        )
    note = Note(
        operation.level, f"{operation.kind}-done", "baseline" if operation.level == 0 else LevelState.ACTIVATING
    )
    return Outcome(replace(state, operation=None), (Scan(),), (note,))


def step_failed(state: ProductState, event: StepFailed) -> Outcome:
    """Undo: stay, go back, or (on the way down) go on as far as possible."""
    operation = state.operation
    if operation is None or operation.number != event.number or operation.step is not event.step:
        return Outcome(state)
    note = Note(operation.level, f"{event.step}-failed", LevelState.FAILED, event.code, event.detail)
    goes_up = operation.level > 0 and operation.kind in (Kind.INSTALL, Kind.RECALL)
    if event.step in (Step.FETCH, Step.STAGE):
        state = replace(_blamed(state, operation.level, event, LevelState.FAILED), operation=None)
        if operation.kind is Kind.RECALL:
            down = best_held(state, besides=operation.origin)
            return begin(state, Kind.RECALL, down, Step.GRAFT, event.now, reason=operation.reason, notes=(note,))
        return Outcome(state, (), (note,))
    if goes_up:
        return _retreat(state, operation, event, note)
    restored = operation.kind is Kind.RESTORE  # it was judged when it was installed
    if event.step is Step.CHECK or (event.step is Step.RESTART and event.declared and operation.level and not restored):
        return _retreat(state, operation, event, note)
    if event.step is Step.RESTART:
        # On the way down the bytes are already back; what still runs the old ones shows in the watch.
        outcome = _finished(state, operation, event.now)
        return Outcome(outcome.state, outcome.instructions, (note, *outcome.notes))
    if operation.level > 0 and not event.passing:
        # The lower level in the store is damaged; the baseline never is ours to damage.
        state = (
            state.with_record(replace(lower, staged_here=False)) if (lower := state.record(operation.level)) else state
        )
        again = replace(state, operation=None)
        return begin(
            again, operation.kind, 0, Step.GRAFT, event.now, reason=event.code, detail=event.detail, notes=(note,)
        )
    # A graft on the way down that fails (a full disk, say) stays journalled and is tried again at the next wake.
    return Outcome(state, (), (note,))


def _retreat(state: ProductState, operation: Operation, event: StepFailed, note: Note) -> Outcome:
    state = _blamed(state, operation.level, event, LevelState.ROLLED_BACK)
    origin = state.record(operation.origin)
    origin_good = operation.origin != operation.level and (origin is None or known_bad(origin) is None)
    target = operation.origin if origin_good else best_held(state, besides=operation.level)
    if operation.kind is Kind.ROLL_BACK:
        target = 0
    return begin(
        state, Kind.ROLL_BACK, target, Step.GRAFT, event.now, reason=event.code, detail=event.detail, notes=(note,)
    )


def crashing(state: ProductState, event: Crashing) -> Outcome:
    """Take the level back for a while, longer each time, and say that its CVEs are open again; or only say it."""
    record = state.record(event.level)
    if record is None or state.active != event.level or state.operation is not None:
        return Outcome(state)
    record = replace(record, reason=CRASHING, detail=event.detail)
    if not event.takes_back:
        return Outcome(state.with_record(record), (), (Note(event.level, CRASHING, record.state, "", event.detail),))
    crashes = record.crashes + 1
    retry_at = back_off_end(event.now, crashes, passing=True)
    record = replace(record, state=LevelState.ROLLED_BACK, at=event.now, crashes=crashes, retry_at=retry_at)
    state = state.with_record(record)
    last = state.record(state.last_good)
    held = state.last_good == 0 or (last is not None and last.staged_here and known_bad(last) is None)
    target = state.last_good if held and state.last_good != event.level else best_held(state, besides=event.level)
    note = Note(event.level, "re-exposed", LevelState.ROLLED_BACK, CRASHING, event.detail)
    return begin(
        state, Kind.ROLL_BACK, target, Step.GRAFT, event.now, reason=CRASHING, detail=event.detail, notes=(note,)
    )


def _blamed(state: ProductState, level: int, event: StepFailed, level_state: LevelState) -> ProductState:
    record = state.record(level)
    if record is None:
        return state
    attempts = record.attempts + 1
    return state.with_record(
        replace(
            record,
            state=level_state,
            at=event.now,
            reason=event.code,
            detail=event.detail,
            attempts=attempts,
            quarantined=record.quarantined or event.declared,
            retry_at=back_off_end(event.now, attempts, passing=event.passing),
        )
    )


def back_off_end(now: str, attempts: int, *, passing: bool) -> str:
    """When the next try may be: doubling from a minute to a day; at once a day where time alone mends nothing."""
    seconds = min(FIRST_BACK_OFF_SECONDS * 2 ** min(attempts - 1, 20), LONGEST_BACK_OFF_SECONDS)
    if not passing:
        seconds = LONGEST_BACK_OFF_SECONDS
    return format_time((parse_time(now) + timedelta(seconds=seconds)).replace(microsecond=0))
