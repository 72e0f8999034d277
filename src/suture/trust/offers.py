"""Which levels are on offer to this device now, and for each that is not, why.

The release role's index says what exists and what is recalled; the online role's rollout document may only delay. A
device's place in a rollout comes from its own id and the manifest's digest, never from anything the online key chooses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from suture.core.clock import parse_time
from suture.core.digests import Digest
from suture.trust.documents import Index, IndexedLevel, Pause, Rollout


class RolloutState(StrEnum):
    """What is known of the rollout document. All but `PRESENT` mean: nothing new is offered, nothing is removed."""

    PRESENT = "present"
    MISSING = "missing"
    EXPIRED = "expired"
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True)
class RolloutView:
    """The rollout document as the last poll found it.

    Args:
        state: see `RolloutState`.
        document: where `state` is `PRESENT`.
        since: when the role expired, where it did.
        reason: why it is unusable, one sentence, where it is.
        expires: when the role will expire or has; None where it was never loaded.
    """

    state: RolloutState
    document: Rollout | None = None
    since: datetime | None = None
    reason: str = ""
    expires: datetime | None = None

    def at(self, now: datetime) -> RolloutView:
        """The same word at another time: once the role has expired, it offers nothing."""
        if self.state is RolloutState.PRESENT and self.expires is not None and now >= self.expires:
            return RolloutView(RolloutState.EXPIRED, since=self.expires, expires=self.expires)
        return self

    def age_seconds(self, now: datetime) -> int | None:
        """Seconds since the document was issued, never negative; None without one."""
        if self.document is None:
            return None
        return max(0, int((now - parse_time(self.document.issued)).total_seconds()))


class Offer(StrEnum):
    """Why a level may or may not be installed by itself now."""

    OFFERED = "offered"
    NOT_YET = "not-yet"
    PAUSED = "paused"
    RECALLED = "recalled"
    NO_ROLLOUT = "no-rollout"


@dataclass(frozen=True, slots=True)
class LevelOffer:
    """One level's standing. `permille` is its share now; `until` the pause's end; `since` when the rollout expired."""

    level: int
    digest: Digest
    offer: Offer
    permille: int = 0
    until: datetime | None = None
    since: datetime | None = None
    reason: str = ""


def is_in_share(device_id: str, digest: str, permille: int) -> bool:
    """Whether this device is within the first `permille` thousandths for the manifest of that digest.

    ``int(sha256(device id, digest text)[:8]) / 2**64 < permille / 1000`` without floats, so 0 is nobody and 1000 is
    everybody, and a share that grows never loses a device (spec/repository.md §5.2).
    """
    place = int.from_bytes(hashlib.sha256(device_id.encode() + digest.encode()).digest()[:8], "big")
    return place * 1000 < permille << 64


def pause_in_force(rollout: Rollout, now: datetime) -> Pause | None:
    """The pause that holds at `now`, if any. It ends by itself at `until`."""
    pause = rollout.pause
    return pause if pause is not None and now < parse_time(pause.until) else None


def offered_levels(
    index: Index,
    rollout: RolloutView,
    *,
    device_id: str,
    now: datetime,
    full_by: Callable[[IndexedLevel], datetime | None],
) -> tuple[LevelOffer, ...]:
    """The standing of every level of the index, lowest first.

    Args:
        index: parsed and grown rightly.
        rollout: what the poll found.
        device_id: this device's own random id.
        now: the floored clock, UTC.
        full_by: a level's time after which shares are ignored, from its verified manifest; None while that is unknown.

    Returns:
        One `LevelOffer` a level. Order of the reasons: recalled, no rollout, paused, share (spec/repository.md §5.3).
    """
    return tuple(_standing(entry, index, rollout, device_id, now, full_by) for entry in index.levels)


def _standing(
    entry: IndexedLevel,
    index: Index,
    rollout: RolloutView,
    device_id: str,
    now: datetime,
    full_by: Callable[[IndexedLevel], datetime | None],
) -> LevelOffer:
    digest = Digest(entry.digest)
    # 1. A recall is the release role's word and beats whatever the online key says.
    recall = next((one for one in index.recalls if one.level == entry.level and one.digest == entry.digest), None)
    if recall is not None:
        return LevelOffer(entry.level, digest, Offer.RECALLED, reason=recall.reason)
    # 2. Without the online role's word nothing new is offered.
    document = rollout.document
    if rollout.state is not RolloutState.PRESENT or document is None:
        return LevelOffer(entry.level, digest, Offer.NO_ROLLOUT, since=rollout.since, reason=rollout.reason)
    # 3. A pause stops every level that is not installed yet, and ends by itself.
    pause = pause_in_force(document, now)
    if pause is not None:
        until = parse_time(pause.until)
        return LevelOffer(entry.level, digest, Offer.PAUSED, until=until, reason=pause.reason)
    # 4. After `full_by` shares are ignored: the online key can delay, not withhold.
    share = next((one for one in document.shares if one.level == entry.level and one.digest == entry.digest), None)
    permille = 0 if share is None else share.permille
    deadline = full_by(entry)
    if (deadline is not None and now >= deadline) or is_in_share(device_id, entry.digest, permille):
        return LevelOffer(entry.level, digest, Offer.OFFERED, permille=permille)
    # 5. Its turn has not come.
    return LevelOffer(entry.level, digest, Offer.NOT_YET, permille=permille, until=deadline)
