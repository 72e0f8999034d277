"""Is what was loaded still in force? Expiry over all loaded roles, judged by a clock that signed times hold up.

`tuf.ngclient` checks expiry with the wall clock of the moment and forgets it. Here it is checked again, also on polls
that load nothing, with `max(wall clock, floor)`: a clock in 1970 must not revive what has expired. Never reads a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from suture.core.clock import floored, format_time, parse_time
from suture.core.digests import DIGEST_PATTERN
from suture.core.errors import ExpiredError

ROOT = "root"
TIMESTAMP = "timestamp"
SNAPSHOT = "snapshot"
TARGETS = "targets"


class LoadedRole(msgspec.Struct, frozen=True):
    """What is remembered of one verified role: its version, its expiry, and which keys its delegator asked for."""

    role: Annotated[str, msgspec.Meta(max_length=200)]
    version: Annotated[int, msgspec.Meta(ge=1)]
    expires: Annotated[str, msgspec.Meta(max_length=40)]
    """RFC 3339, UTC."""
    keys: Annotated[str, msgspec.Meta(pattern=DIGEST_PATTERN)]
    """Digest over the delegator's key ids and threshold for the role; another value means the keys were rotated."""


def is_expired(loaded: LoadedRole, now: datetime) -> bool:
    """Whether the role is past its expiry at `now`. TUF specification §5.3.10, §5.4.4, §5.5.6, §5.6.5."""
    return now >= parse_time(loaded.expires)


def verify_freshness(loaded: Sequence[LoadedRole], now: datetime, clock_floor: datetime | None) -> None:
    """Refuse a set of roles one of which has expired.

    Args:
        loaded: the roles that the answer rests on (the online rollout role is not among them: it fails softly).
        now: the wall clock, UTC, which may lie.
        clock_floor: the latest time that the release role has signed, or None on a new device.

    Raises:
        ExpiredError: names the role that expired first. TUF specification §5.3.10, §5.4.4, §5.5.6, §5.6.5.
    """
    moment = floored(now, clock_floor)
    expired = sorted((parse_time(role.expires), role.role) for role in loaded if is_expired(role, moment))
    if expired:
        since, name = expired[0]
        raise ExpiredError(f"cannot rely on the repository: its {name} metadata expired at {format_time(since)}")


def earliest_expiry(loaded: Sequence[LoadedRole]) -> LoadedRole:
    """The role that will expire first; `loaded` is not empty."""
    return min(loaded, key=lambda role: (parse_time(role.expires), role.role))
