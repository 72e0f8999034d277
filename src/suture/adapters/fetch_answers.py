"""What comes back from a request, and the two answers that are none: a status, and a body without an end."""

from __future__ import annotations

from dataclasses import dataclass

from suture.core.errors import UnreachableError


class StatusError(UnreachableError):
    """The server answered, but not with the file. `status` is RFC 9110's code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TooLongError(UnreachableError):
    """The body went on after its bound."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What RFC 9110 §8.8 compares a stored answer by; either may be empty."""

    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole small answer. `body` is None for 304 Not Modified."""

    body: bytes | None
    validators: Validators
