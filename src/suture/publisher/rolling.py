"""The rollout document: shares and the pause, signed by the online key alone. It delays, and can do nothing else."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec

from suture.core.canonical import canonical_json
from suture.core.clock import format_time, parse_time
from suture.core.digests import digest_bytes
from suture.core.errors import InputError, NotKnownError
from suture.core.limits import MAXIMUM_ROLLOUT_BYTES
from suture.publisher.desk import Change, Desk
from suture.publisher.draft import Draft, target_of
from suture.publisher.earlier import read_index
from suture.publisher.published import Published
from suture.trust.documents import Pause, Rollout, Share
from suture.trust.paths import rollout_path, rollout_role
from suture.trust.verdicts import LONGEST_PAUSE, NEVER, level_entry, parse_rollout


def read_rollout(published: Published, product: str, identity: str) -> Rollout:
    """The published rollout document; one that offers nothing where there is none.

    Raises:
        RepositoryError: it is not what the rollout role signed.
    """
    path = rollout_path(product, identity)
    data = published.read_target(rollout_role(identity), path, maximum_bytes=MAXIMUM_ROLLOUT_BYTES)
    if data is None:
        return Rollout(format="suture-rollout/1", product=product, baseline=identity, issued=NEVER)
    return parse_rollout(data, product, identity)


def with_share(rollout: Rollout, level: int, digest: str, permille: int) -> Rollout:
    """The document with one level's share set.

    Raises:
        InputError: not 0 to 1000 thousandths.
    """
    if not 0 <= permille <= 1000:
        raise InputError(f"cannot roll out to {permille} thousandths: give 0 to 1000")
    others = [share for share in rollout.shares if share.level != level]
    shares = sorted([*others, Share(level, digest, permille)], key=lambda share: share.level)
    return msgspec.structs.replace(rollout, shares=tuple(shares))


def without_levels(rollout: Rollout, levels: Collection[int]) -> Rollout:
    """The document without the shares of recalled levels."""
    return msgspec.structs.replace(
        rollout, shares=tuple(share for share in rollout.shares if share.level not in levels)
    )


def put_rollout(draft: Draft, rollout: Rollout, issued: str) -> None:
    """Put the document into a draft, issued now; a pause that has ended is left out."""
    pause = rollout.pause
    if pause is not None and parse_time(pause.until) <= parse_time(issued):
        pause = None
    data = canonical_json(msgspec.to_builtins(msgspec.structs.replace(rollout, issued=issued, pause=pause)))
    parse_rollout(data, rollout.product, rollout.baseline)  # as a device will
    path = rollout_path(rollout.product, rollout.baseline)
    draft.put_target(rollout_role(rollout.baseline), target_of(path, digest_bytes(data), len(data)), data)


def set_share(desk: Desk, identity: str, level: int, *, permille: int) -> Change:
    """Widen or narrow a released level's share.

    Raises:
        NotKnownError: never released. InputError: recalled, or a share out of range.
    """
    product = desk.settings.product
    published = desk.published()
    index = read_index(published, product, identity)
    entry = level_entry(index, level)
    if entry is None:
        raise NotKnownError(f"cannot roll out level {level} of {product} {identity}: it was never released")
    if any(recall.level == level for recall in index.recalls):
        raise InputError(f"cannot roll out level {level}: it is recalled", advice="build and release the next level")
    before = read_rollout(published, product, identity)
    after = with_share(before, level, entry.digest, permille)
    draft = desk.draft(published)
    if after != before:
        put_rollout(draft, after, desk.time)
    return desk.publish(draft)


def pause_rollout(desk: Desk, identity: str, *, until: datetime, reason: str) -> Change:
    """Stop new installs until a time, at most 14 days from now.

    Raises:
        InputError: no such time or reason. NotKnownError: nothing was released for that baseline.
    """
    if not reason.strip() or len(reason) > 500 or not reason.isprintable():
        raise InputError("cannot pause without a reason: one printable line of at most 500 characters")
    now = desk.now.replace(microsecond=0)
    if not timedelta(0) < until - now <= LONGEST_PAUSE:
        raise InputError(
            f"cannot pause until {format_time(until)}: a pause ends later than now and within {LONGEST_PAUSE.days} days"
        )
    before = _known_rollout(desk, identity)
    pause = Pause(since=desk.time, until=format_time(until), reason=reason)
    if before.pause is not None:
        # A longer pause is still one pause: `since` tells how long devices have waited.
        earlier = before.pause.since
        if parse_time(before.pause.until) > now and until - parse_time(earlier) <= LONGEST_PAUSE:
            pause = msgspec.structs.replace(pause, since=earlier)
    return _publish_rollout(desk, before, msgspec.structs.replace(before, pause=pause))


def resume_rollout(desk: Desk, identity: str) -> Change:
    """End a pause before its time.

    Raises:
        NotKnownError: nothing was released for that baseline.
    """
    before = _known_rollout(desk, identity)
    return _publish_rollout(desk, before, msgspec.structs.replace(before, pause=None))


def _known_rollout(desk: Desk, identity: str) -> Rollout:
    published = desk.published()
    if rollout_role(identity) not in published.delegated:
        known = ", ".join(published.baselines()) or "none"
        raise NotKnownError(f"cannot find a rollout for {identity}: nothing was released for it (known: {known})")
    return read_rollout(published, desk.settings.product, identity)


def _publish_rollout(desk: Desk, before: Rollout, after: Rollout) -> Change:
    draft = desk.draft(desk.published())
    if after != before:
        put_rollout(draft, after, desk.time)
    return desk.publish(draft)
