"""Our own judgement of what `tuf.ngclient` verified, step by step, before any of it is kept.

TUF has shown that the right keys signed, that nothing expired by the wall clock, and that versions did not go back
behind the cache. The cache may have been emptied, the clock may lie, and the online keys may misuse their power: that
is looked at here. The rules themselves are in `suture.trust`; this module puts them in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from suture.core.clock import floored, format_time, parse_time
from suture.core.errors import (
    DigestMismatchError,
    ExpiredError,
    RepositoryError,
    RolledBackError,
    SignatureError,
)
from suture.core.limits import MAXIMUM_INDEX_BYTES, MAXIMUM_ROLLOUT_BYTES
from suture.trust.documents import Index
from suture.trust.floors import Floors, verify_floors
from suture.trust.freshness import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, LoadedRole, earliest_expiry, verify_freshness
from suture.trust.offers import RolloutState, RolloutView
from suture.trust.paths import index_path, release_role, rollout_path, rollout_role
from suture.trust.verdicts import empty_index, parse_index, parse_rollout, verify_index_growth

if TYPE_CHECKING:
    from suture.adapters.tuf_reading import SignedTarget
    from suture.adapters.tuf_refresh import Refresh

Read = Callable[["SignedTarget"], bytes]
"""Fetches a target whole and verifies it against its entry."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, and what the device knows. `now` is the wall clock; `known` are indexes believed before."""

    product: str
    baseline: str
    floors: Floors
    now: datetime
    known: tuple[Index, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be believed and kept. `roles` is what the answer rests on; the rollout role is not among them."""

    roles: tuple[LoadedRole, ...]
    index: Index
    index_bytes: bytes | None
    rollout: RolloutView
    rollout_bytes: bytes | None
    floors: Floors


def judge(question: Question, refresh: Refresh, read: Read) -> Verdict:
    """Look at a finished refresh.

    Raises:
        ExpiredError, RolledBackError, SecondDigestError, SignatureError, RepositoryError: nothing of it is believed.
        DigestMismatchError, NetworkError: the index or the rollout document did not come as signed.
    """
    # 1. The index: TUF specification §5.6.7 walks from targets to the release role, whose delegation is terminating,
    #    so the online rollout role can never answer for it.
    target = refresh.find(index_path(question.product, question.baseline))
    roles = _loaded(refresh, (ROOT, TIMESTAMP, SNAPSHOT, TARGETS))
    if refresh.delegates(release_role(question.baseline)):
        roles += _loaded(refresh, (release_role(question.baseline),))
    # 2. Versions, held up by the journal's floors where the cache was emptied (§5.3.5, §5.4.3, §5.5.5).
    verify_floors(question.floors, roles)
    # 3. What the index says, and that it took nothing back.
    index, index_bytes = _index(question, target, read)
    for known in question.known:
        verify_index_growth(known, index)
    # 4. The release role's time lifts the clock's floor; one beyond the metadata's own life is no time of release.
    if parse_time(index.issued) >= parse_time(earliest_expiry(roles).expires):
        raise RepositoryError(f"cannot use the index: issued at {index.issued}, after the metadata that covers it ends")
    floors = question.floors.raised_clock(index.issued)
    # 5. Expiry once more, by the floored clock (§5.3.10, §5.4.4, §5.5.6, §5.6.5).
    verify_freshness(roles, question.now, floors.clock_time)
    # 6. The online role's word. It may delay, so nothing that is wrong with it stops an index or a recall.
    rollout, rollout_bytes, online = _rollout(question, refresh, read, floors)
    moment = floored(question.now, floors.clock_time)
    return Verdict(roles, index, index_bytes, rollout.at(moment), rollout_bytes, floors.raised((*roles, *online)))


def _loaded(refresh: Refresh, names: tuple[str, ...]) -> tuple[LoadedRole, ...]:
    found = tuple(refresh.loaded(name) for name in names)
    if None in found:
        raise RepositoryError("cannot read back the metadata that was just verified")
    return tuple(role for role in found if role is not None)


def _index(question: Question, target: SignedTarget | None, read: Read) -> tuple[Index, bytes | None]:
    if target is None:
        return empty_index(question.product, question.baseline), None
    if target.length > MAXIMUM_INDEX_BYTES:
        raise RepositoryError(f"cannot use the index: it is larger than {MAXIMUM_INDEX_BYTES:,} bytes")
    data = read(target)
    return parse_index(data, question.product, question.baseline), data


def _rollout(
    question: Question, refresh: Refresh, read: Read, floors: Floors
) -> tuple[RolloutView, bytes | None, tuple[LoadedRole, ...]]:
    role = rollout_role(question.baseline)
    expires: datetime | None = None
    try:
        target = refresh.find(rollout_path(question.product, question.baseline))
        if target is None or not refresh.delegates(role):
            return RolloutView(RolloutState.MISSING), None, ()
        loaded = _loaded(refresh, (role,))
        expires = parse_time(loaded[0].expires)
        verify_floors(floors, loaded)
        if target.length > MAXIMUM_ROLLOUT_BYTES:
            raise RepositoryError(f"cannot use the rollout document: it is larger than {MAXIMUM_ROLLOUT_BYTES:,} bytes")
        data = read(target)
        document = parse_rollout(data, question.product, question.baseline)
    except ExpiredError:
        since = refresh.expired_since(role)
        return RolloutView(RolloutState.EXPIRED, since=since, expires=since), None, ()
    except (SignatureError, RolledBackError, RepositoryError, DigestMismatchError) as error:
        return RolloutView(RolloutState.UNUSABLE, reason=error.message, expires=expires), None, ()
    return RolloutView(RolloutState.PRESENT, document, expires=expires), data, loaded


def times_of(view: RolloutView) -> str | None:
    """The rollout role's expiry as the trust directory keeps it."""
    return None if view.expires is None else format_time(view.expires)
