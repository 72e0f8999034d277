"""Canonical JSON: one value, one spelling, so that digests of documents mean something.

Keys sorted by code point, no white space, UTF-8, no floats, no duplicates: the subset of RFC 8785 (JCS) that our
formats use (integers below 2**53, strings, booleans, null, arrays, objects), so any JCS library gives the same bytes.
"""

from __future__ import annotations

import json
from typing import Any

from suture.core.errors import InputError

JsonValue = Any
"""None, bool, int, str, list and dict of these."""

_SAFE_INTEGER = 2**53


def canonical_json(value: JsonValue) -> bytes:
    """The canonical bytes of a JSON value.

    Args:
        value: None, bool, int, str, and lists and string-keyed dicts of these.

    Returns:
        UTF-8 bytes without a final newline.

    Raises:
        InputError: a float, an integer beyond 2**53, a lone surrogate or another type.
    """
    _check(value, 0)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError("cannot write a lone surrogate in canonical JSON") from error


def _check(value: JsonValue, depth: int) -> None:
    if depth > 64:
        raise InputError("cannot write canonical JSON nested deeper than 64")
    if value is None or isinstance(value, bool | str):
        return
    if isinstance(value, int):
        if not -_SAFE_INTEGER < value < _SAFE_INTEGER:
            raise InputError("cannot write an integer beyond 2**53 in canonical JSON")
        return
    if isinstance(value, list | tuple):
        for item in value:
            _check(item, depth + 1)
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InputError("cannot write a key that is no string in canonical JSON")
            _check(item, depth + 1)
        return
    raise InputError(f"cannot write a {type(value).__name__} in canonical JSON")
