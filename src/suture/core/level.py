"""Levels: an improvement's number over its baseline, with its order and the letters that people see.

0 is the bare baseline, then 1, 2, 3 … shown as ``26.3.1 (a)``, ``(b)`` … ``(z)``, ``(aa)``. Machines compare
``(baseline, level)``; the letters are for people's eyes and never enter a string that other programs parse
(``26.3.1 (a)`` broke three products of others in 2023).
"""

from __future__ import annotations

import re

from suture.core.errors import InputError

BASELINE_LEVEL = 0
MAXIMUM_LEVEL = 100_000
"""Bound on level numbers: more than a level an hour for ten years, and it keeps letters short."""

_LETTERS = re.compile(r"(?:\(([a-z]{1,4})\)|([a-z]{1,4}))\Z")


def check_level(level: int) -> int:
    """Return `level` if it is in 0 … `MAXIMUM_LEVEL`.

    Raises:
        InputError: out of range.
    """
    if not 0 <= level <= MAXIMUM_LEVEL:
        raise InputError(f"cannot use level {level}: levels go from 0 (the baseline) to {MAXIMUM_LEVEL}")
    return level


def letters_of(level: int) -> str:
    """The letters of a level, without parentheses: bijective base 26. Level 0 has none (the empty string)."""
    check_level(level)
    letters = ""
    while level > 0:
        level, digit = divmod(level - 1, 26)
        letters = chr(ord("a") + digit) + letters
    return letters


def level_of_letters(text: str) -> int:
    """The level of ``a``, ``(a)``, ``zz`` …

    Raises:
        InputError: not one to four lower-case letters, or beyond `MAXIMUM_LEVEL`.
    """
    match = _LETTERS.match(text)
    if match is None:
        raise InputError(f"cannot read {text[:40]!r} as a level: write its letters, such as a or (ab)")
    level = 0
    for letter in match.group(1) or match.group(2):
        level = level * 26 + (ord(letter) - ord("a") + 1)
    return check_level(level)


def parse_level(text: str) -> int:
    """A level as a person writes it: a number (``2``), letters (``b``, ``(b)``) or ``baseline``.

    Raises:
        InputError: none of these.
    """
    if text == "baseline":
        return BASELINE_LEVEL
    if text.isascii() and text.isdigit() and len(text) <= 6:
        return check_level(int(text))
    return level_of_letters(text)


def display_of(version: str, level: int) -> str:
    """What people see: ``1.0 (a)``, or ``1.0`` alone for the baseline."""
    return f"{version} ({letters_of(level)})" if level else version
