"""What can go wrong on the way from a web server, and what a server remembers of a request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What goes wrong with a path."""

    TRICKLE = "trickle"
    """One byte every `step_seconds`."""
    TRICKLE_HEADERS = "trickle-headers"
    ENDLESS = "endless"
    ENDLESS_HEADERS = "endless-headers"
    REDIRECT = "redirect"
    SERVER_ERROR = "server-error"
    NOT_FOUND = "not-found"
    TRUNCATED = "truncated"
    """The right Content-Length, half of the body, then the connection is closed."""
    FLIPPED = "flipped"
    """One bit of the body differs."""
    WRONG_ETAG = "wrong-etag"
    """Each answer carries another ETag."""
    ALWAYS_304 = "always-304"
    HANG = "hang"
    """The request is read and never answered."""
    GZIP = "gzip"
    NO_RANGES = "no-ranges"
    WRONG_RANGE = "wrong-range"


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request: its path, the status of the answer (0 for none), the bytes sent, and its headers."""

    path: str
    status: int
    body_bytes: int
    head_bytes: int
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """A request header's value, or the empty string."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")
