"""The rules for what the repository says, and for looking again at what is known."""

from __future__ import annotations

from msgspec.structs import replace

from suture.agent.machine.choice import automatic_target, best_held, best_offered, obstacles
from suture.agent.machine.events import Considered, Offer, Polled
from suture.agent.machine.instructions import Note, Outcome, Scan
from suture.agent.machine.state import Kind, LevelRecord, LevelState, ProductState, Step
from suture.agent.machine.steps import begin
from suture.core.errors import SecondDigestError
from suture.wire.settings import EffectiveSettings

_WAITING = frozenset(
    {LevelState.OFFERED, LevelState.HELD, LevelState.FAILED, LevelState.REMOVED, LevelState.ROLLED_BACK}
)


def polled(state: ProductState, event: Polled) -> Outcome:
    """Learn the offers, then act: leave a recalled level first, else install what nothing forbids."""
    notes: list[Note] = []
    seen = {offer.level for offer in event.offers}
    for offer in event.offers:
        state = _learn(state, offer, event.now, notes)
    for record in state.levels:
        if record.level not in seen and record.offered:
            state = state.with_record(replace(record, offered=False, not_offered="not-offered"))
    outcome = _decide(state, event.settings, event.now, may_start=event.may_start)
    return Outcome(outcome.state, outcome.instructions, (*notes, *outcome.notes))


def considered(state: ProductState, event: Considered) -> Outcome:
    """Decide again on what is already known."""
    return _decide(state, event.settings, event.now, may_start=True)


def _learn(state: ProductState, offer: Offer, now: str, notes: list[Note]) -> ProductState:
    record = state.record(offer.level)
    if record is None:
        record = LevelRecord(level=offer.level, digest=offer.digest, state=LevelState.OFFERED, at=now)
        notes.append(Note(offer.level, "found", LevelState.OFFERED))
        state = replace(state, offered_at=(*state.offered_at, (offer.level, now)))
    elif record.digest != offer.digest:
        raise SecondDigestError(f"cannot accept level {offer.level}: this device knows it with another digest")
    if offer.recalled is not None and record.recalled is None:
        notes.append(Note(offer.level, "recalled", record.state, "recalled", offer.recalled))
        if record.state in _WAITING:
            record = replace(record, state=LevelState.RECALLED, at=now, reason="recalled", detail=offer.recalled)
    # A recall is never taken back: the level number is burnt.
    recalled = record.recalled if record.recalled is not None else offer.recalled
    record = replace(record, recalled=recalled, offered=offer.offered, not_offered=offer.not_offered)
    if offer.fixes is not None:
        record = replace(record, fixes=offer.fixes, patch_bytes=offer.patch_bytes, removable=offer.removable)
    return state.with_record(record)


def _decide(state: ProductState, settings: EffectiveSettings, now: str, *, may_start: bool) -> Outcome:
    scan = (Scan(),) if state.watch is not None else ()
    operation = state.operation
    active = state.record(state.active)
    if active is not None and active.recalled is not None:
        if operation is not None and operation.step is not Step.FETCH:
            return Outcome(state)
        return _leave_recalled(replace(state, operation=None), active, now)
    if operation is not None:
        aimed = state.record(operation.level)
        if operation.step is Step.FETCH and aimed is not None and aimed.recalled is not None:
            # Recalled while it was being fetched: forget it before anything of it is in place.
            state = state.with_record(replace(aimed, state=LevelState.RECALLED, at=now, reason="recalled"))
            return Outcome(replace(state, operation=None), scan, (Note(aimed.level, "cancelled", LevelState.RECALLED),))
        return Outcome(state)
    target = automatic_target(state, settings, now)
    if target is not None and may_start:
        return begin(state, Kind.INSTALL, target, Step.FETCH, now)
    return Outcome(_hold_waiting(state, settings, now), scan)


def _leave_recalled(state: ProductState, active: LevelRecord, now: str) -> Outcome:
    """Off switch and windows do not hold a recall back. First the highest good level on offer, else what is held."""
    better = best_offered(state)
    if better is not None and better.level != active.level:
        step = Step.GRAFT if better.staged_here else Step.FETCH
        return begin(state, Kind.RECALL, better.level, step, now, reason="recalled", detail=active.recalled or "")
    down = best_held(state, besides=active.level)
    return begin(state, Kind.RECALL, down, Step.GRAFT, now, reason="recalled", detail=active.recalled or "")


def _hold_waiting(state: ProductState, settings: EffectiveSettings, now: str) -> ProductState:
    """Levels above the active one that wait get the first reason why."""
    for record in state.levels:
        if record.level > state.active and record.state in (LevelState.OFFERED, LevelState.HELD):
            found = obstacles(state, record, settings, now)
            word = LevelState.HELD if found else LevelState.OFFERED
            reason, detail = (found[0].code, found[0].text) if found else ("", "")
            if (record.state, record.reason) != (word, reason):
                state = state.with_record(replace(record, state=word, at=now, reason=reason, detail=detail))
    return state
