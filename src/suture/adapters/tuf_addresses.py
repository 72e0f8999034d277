"""Several addresses of one repository: the first good answer counts, and one bad mirror holds up nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from suture.adapters.fetch import Deadline
from suture.core.errors import DigestMismatchError, NetworkError, SutureError, TrustError

_Result = TypeVar("_Result")


def first_good(base_urls: Sequence[str], deadline: Deadline, ask: Callable[[str, Deadline], _Result]) -> _Result:
    """Ask the addresses in turn, each under its share of the time that is left.

    Args:
        base_urls: at least one.
        deadline: for all of them.
        ask: called with an address and its deadline.

    Raises:
        SutureError: none was good: the first distrust, else the first network error. Distrust is said before silence,
            since a mirror that lies is worse news than one that is away.
    """
    failures: list[SutureError] = []
    for position, base_url in enumerate(base_urls):
        try:
            return ask(base_url, deadline.part(len(base_urls) - position))
        except (NetworkError, TrustError, DigestMismatchError) as error:
            failures.append(error)
    raise next((error for error in failures if not isinstance(error, NetworkError)), failures[0])
