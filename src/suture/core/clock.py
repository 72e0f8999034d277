"""The clock is an argument. Rooms that decide take a time; only doors read one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Protocol

from suture.core.errors import InputError

_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z")


class Clock(Protocol):
    """What a door offers: a wall clock that may lie, and a steady one that may not go back."""

    def now(self) -> datetime:
        """Wall-clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait `seconds`."""
        ...


def floored(now: datetime, floor: datetime | None) -> datetime:
    """The later of a wall clock and the floor of signed times: a clock in 1970 must not revive what has expired."""
    return now if floor is None or now >= floor else floor


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with a ``Z``, to the microsecond only where there are any."""
    # isoformat pads years to four digits, which strftime does not everywhere, and leaves out a fraction of zero.
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"


def parse_time(text: str) -> datetime:
    """An RFC 3339 time in UTC.

    Raises:
        InputError: another zone, another spelling, or no such time.
    """
    if not _STAMP.fullmatch(text):
        raise InputError(f"cannot read {text[:40]!r} as a time: write it as 2026-03-01T12:00:00Z")
    try:
        return datetime.fromisoformat(text[:-1] + "+00:00")
    except ValueError as error:
        raise InputError(f"cannot read {text[:40]!r} as a time: {error}") from error
