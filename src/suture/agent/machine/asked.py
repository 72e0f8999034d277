"""The rules for what a person asks: install now, go down, and what may not be had."""

from __future__ import annotations

from msgspec.structs import replace

from suture.agent.machine.choice import known_bad
from suture.agent.machine.events import InstallAsked, RemoveAsked
from suture.agent.machine.instructions import Outcome
from suture.agent.machine.state import Kind, LevelRecord, LevelState, ProductState, Step
from suture.agent.machine.steps import begin
from suture.core.errors import InputError, NothingToDoError, NotKnownError, PolicyError, RefusedError
from suture.core.level import letters_of

_A_PERSON_MAY_PASS = frozenset({"", "not-in-share"})
"""A person's install ignores shares; a pause, a missing rollout and an agent too old hold for everybody."""


def install_asked(state: ProductState, event: InstallAsked) -> Outcome:
    """Install a level now, whatever switches and shares say.

    Raises:
        NothingToDoError, NotKnownError, RefusedError, InputError: it cannot be had; the message says why.
    """
    record = _wanted(state, event.level)
    if record.level == state.active:
        raise NothingToDoError(f"cannot install ({letters_of(record.level)}): it is in place already")
    if record.level < state.active:
        raise InputError(
            f"cannot install ({letters_of(record.level)}): a higher level is in place",
            advice=f"to go down, run `suture remove {state.product} --to {letters_of(record.level)}`",
        )
    if record.recalled is not None:
        raise RefusedError(f"cannot install ({letters_of(record.level)}): the publisher recalled it: {record.recalled}")
    if not record.offered and record.not_offered not in _A_PERSON_MAY_PASS:
        raise RefusedError(f"cannot install ({letters_of(record.level)}): it is not offered now ({record.not_offered})")
    hold = 0 if record.level <= state.removal_hold else state.removal_hold
    state = replace(_without_fetch(state, event.now), removal_hold=hold)
    state = state.with_record(replace(record, quarantined=False))
    return begin(state, Kind.INSTALL, record.level, Step.FETCH, event.now, by_person=True)


def _wanted(state: ProductState, level: int | None) -> LevelRecord:
    if level is not None:
        record = state.record(level)
        if record is None:
            raise NotKnownError(f"cannot install level {level} of {state.product}: the repository has not offered it")
        return record
    good = [record for record in state.levels if known_bad(record) is None]
    if not good:
        raise NothingToDoError(f"cannot install anything for {state.product}: no good level is known")
    return good[-1]


def remove_asked(state: ProductState, event: RemoveAsked) -> Outcome:
    """Go down to a lower level or the baseline, at once and offline.

    Raises:
        NothingToDoError: already there.
        PolicyError: a policy or the level itself forbids removal.
        RefusedError: the lower level is not in the store, or bad.
    """
    if state.active == 0 or event.to_level == state.active:
        raise NothingToDoError(f"cannot remove anything of {state.product}: it is where you want it already")
    if event.to_level > state.active:
        raise InputError("cannot remove upwards", advice=f"run `suture install {state.product}` to go up")
    active = state.record(state.active)
    if not event.settings.removal_allowed:
        raise PolicyError(f"cannot remove ({letters_of(state.active)}): the policy in force forbids removal")
    if active is not None and not active.removable:
        raise PolicyError(f"cannot remove ({letters_of(state.active)}): its publisher marked it as not removable")
    if event.to_level:
        target = state.record(event.to_level)
        if target is None or not target.staged_here or known_bad(target) is not None:
            raise RefusedError(
                f"cannot go back to ({letters_of(event.to_level)}): it is not in this device's store, or it is bad",
                advice=f"run `suture remove {state.product}` to go to the baseline",
            )
    state = _without_fetch(state, event.now)
    highest = max([state.active, *(record.level for record in state.levels)])
    state = replace(state, removal_hold=highest)
    return begin(state, Kind.REMOVE, event.to_level, Step.GRAFT, event.now, reason="removed-by-person", by_person=True)


def _without_fetch(state: ProductState, now: str) -> ProductState:
    """Cancel a fetch that is under way: its result will be ignored, since its operation's number is gone."""
    operation = state.operation
    if operation is None:
        return state
    if operation.step is not Step.FETCH:
        raise RefusedError("cannot start: another operation has to be recovered first", advice="run the command again")
    record = state.record(operation.level)
    if record is not None:
        state = state.with_record(replace(record, state=LevelState.OFFERED, at=now, reason="cancelled"))
    return replace(state, operation=None)
