"""Digests: SHA-256 in one spelling, ``sha256:`` and 64 lower-case hex digits (FIPS 180-4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NewType

from suture.core.errors import InputError

Digest = NewType("Digest", str)

DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
_DIGEST = re.compile(DIGEST_PATTERN)


def parse_digest(text: str) -> Digest:
    """Check a digest's spelling.

    Args:
        text: what claims to be a digest.

    Returns:
        The same text, typed.

    Raises:
        InputError: it is not ``sha256:`` and 64 lower-case hex digits.
    """
    if not _DIGEST.match(text) or text.endswith("\n"):
        raise InputError(f"cannot read {text[:80]!r} as a digest: it must be sha256: and 64 lower-case hex digits")
    return Digest(text)


def digest_bytes(data: bytes | bytearray | memoryview) -> Digest:
    """Digest of a whole buffer."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def digest_chunks(chunks: Iterable[bytes | memoryview]) -> Digest:
    """Digest of the concatenation of `chunks`, holding one at a time."""
    state = hashlib.sha256()
    for chunk in chunks:
        state.update(chunk)
    return Digest("sha256:" + state.hexdigest())


def hex_of(digest: Digest) -> str:
    """The 64 hex digits alone, as TUF metadata spells them."""
    return digest.removeprefix("sha256:")


def digest_from_hex(hexdigits: str) -> Digest:
    """A digest from TUF's bare hex spelling.

    Raises:
        InputError: not 64 lower-case hex digits.
    """
    return parse_digest("sha256:" + hexdigits)
