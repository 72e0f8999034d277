"""From a verdict to what is kept, and from what is kept to an answer that needs no network but the cheap question.

Nothing here verifies signatures: the trust directory is private, and each file is believed by its remembered digest.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from suture.adapters.fetch_answers import Answer
from suture.adapters.tuf_held import Held, TrustDirectory
from suture.adapters.tuf_judgement import Question, Verdict, times_of
from suture.core.clock import floored, parse_time
from suture.core.digests import digest_bytes
from suture.core.errors import RepositoryError
from suture.core.limits import MAXIMUM_INDEX_BYTES, MAXIMUM_ROLLOUT_BYTES
from suture.trust.documents import Index
from suture.trust.floors import Floors, verify_floors
from suture.trust.freshness import SNAPSHOT, TARGETS, TIMESTAMP, LoadedRole, earliest_expiry, verify_freshness
from suture.trust.offers import RolloutState, RolloutView
from suture.trust.paths import release_role, rollout_role
from suture.trust.verdicts import empty_index, parse_index, parse_rollout


@dataclass(frozen=True, slots=True)
class PollAnswer:
    """What the repository says now. All of it is verified, and in force by the floored clock.

    Args:
        changed: whether anything in the repository differs from the last good poll.
        index: levels and recalls; an empty one where the publisher has released nothing for the baseline.
        rollout: the online role's word, with its state.
        roles: what the answer rests on, with versions and expiries.
        earliest: the one of them that expires first.
        floors: what the journal must remember from now on.
        base_url: who answered.
        asked_at: the floored clock at the answer, UTC.
    """

    changed: bool
    index: Index
    rollout: RolloutView
    roles: tuple[LoadedRole, ...]
    earliest: LoadedRole
    floors: Floors
    base_url: str
    asked_at: datetime

    @property
    def earliest_expiry(self) -> datetime:
        """When the answer stops being in force."""
        return parse_time(self.earliest.expires)


def role_names(baseline: str) -> tuple[str, ...]:
    """All roles but root, in the order of adoption: what the others rest on last, so no crash leaves it dangling."""
    return (rollout_role(baseline), release_role(baseline), TARGETS, SNAPSHOT, TIMESTAMP)


def fresh_answer(question: Question, verdict: Verdict, base_url: str) -> PollAnswer:
    """The answer of a whole refresh."""
    now = floored(question.now, verdict.floors.clock_time)
    earliest = earliest_expiry(verdict.roles)
    return PollAnswer(True, verdict.index, verdict.rollout, verdict.roles, earliest, verdict.floors, base_url, now)


def held_answer(
    directory: TrustDirectory, held: Held, floors: Floors, now: datetime, base_url: str
) -> PollAnswer | None:
    """The held answer, judged again by the time; None where the directory was damaged.

    Raises:
        RolledBackError: the directory is older than the floors (restored from a backup).
        ExpiredError: a lying 304, or a publisher asleep.
    """
    index, rollout = held_index(directory, held), _held_rollout(directory, held)
    if index is None or rollout is None:
        return None
    floors = floors.raised_clock(index.issued)
    verify_floors(floors, held.roles)
    verify_freshness(held.roles, now, floors.clock_time)
    moment = floored(now, floors.clock_time)
    raised = floors.raised(held.roles)
    return PollAnswer(
        False, index, rollout.at(moment), held.roles, earliest_expiry(held.roles), raised, base_url, moment
    )


def held_index(directory: TrustDirectory, held: Held) -> Index | None:
    """The index of the last good poll, or None where it was damaged."""
    if held.index is None:
        return empty_index(held.product, held.baseline)
    data = directory.read_document(held.index, MAXIMUM_INDEX_BYTES)
    if data is not None:
        with contextlib.suppress(RepositoryError):
            return parse_index(data, held.product, held.baseline)
    return None


def keep_verdict(
    directory: TrustDirectory, working: Path, question: Question, verdict: Verdict, base_url: str, answer: Answer
) -> None:
    """Adopt a refresh, held.json last: until then it names the old documents, and the next poll verifies all anew."""
    directory.verified.adopt_refresh(working, roles=role_names(question.baseline))
    index, rollout = verdict.index_bytes, verdict.rollout_bytes
    held = Held(
        format="suture-held/1",
        product=question.product,
        baseline=question.baseline,
        base_url=base_url,
        etag=answer.validators.etag,
        last_modified=answer.validators.last_modified,
        timestamp=digest_bytes(answer.body or b""),
        roles=verdict.roles,
        index=None if index is None else directory.write_document(index),
        rollout=None if rollout is None else directory.write_document(rollout),
        rollout_state=verdict.rollout.state.value,
        rollout_expires=times_of(verdict.rollout),
        rollout_reason=verdict.rollout.reason[:500],
    )
    directory.write_held(held)
    directory.drop_documents(keep=(held.index, held.rollout))


def _held_rollout(directory: TrustDirectory, held: Held) -> RolloutView | None:
    state = RolloutState(held.rollout_state)
    expires = None if held.rollout_expires is None else parse_time(held.rollout_expires)
    if state is not RolloutState.PRESENT:
        since = expires if state is RolloutState.EXPIRED else None
        return RolloutView(state, since=since, reason=held.rollout_reason, expires=expires)
    data = directory.read_document(held.rollout or "", MAXIMUM_ROLLOUT_BYTES)
    if data is not None and expires is not None:
        with contextlib.suppress(RepositoryError):
            return RolloutView(state, parse_rollout(data, held.product, held.baseline), expires=expires)
    return None
