"""Grammars of names that come from outside. A name that passes here is safe as one path component and in a URL.

Names from metadata never become file names unchecked (go-tuf CVE-2026-24686): everything that joins a path is one of
these.
"""

from __future__ import annotations

import re
from typing import Final

from suture.core.errors import InputError

NAME_PATTERN: Final = r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$"
"""Products, components, services: 1–64 characters, lower case, no leading or trailing punctuation, so never ``..``."""
VERSION_PATTERN: Final = r"^[0-9A-Za-z](?:[0-9A-Za-z.+_~-]{0,62}[0-9A-Za-z])?$"
ARCHITECTURE_PATTERN: Final = r"^[a-z0-9_]{1,32}$"
CVE_PATTERN: Final = r"^CVE-[0-9]{4}-[0-9]{4,19}$"
"""CVE Record Format 5.x, cveId."""
UNIT_PATTERN: Final = r"^[A-Za-z0-9:_.\\@-]{1,200}\.(?:service|socket|target|timer|path)$"
"""systemd.unit(5): unit names."""


def _check(pattern: str, kind: str, text: str, rule: str) -> str:
    if not re.fullmatch(pattern.removeprefix("^").removesuffix("$"), text):
        raise InputError(f"cannot use {text[:80]!r} as {kind}: {rule}")
    return text


def check_name(text: str, kind: str = "a name") -> str:
    """Return `text` if it is a product, component or service name.

    Raises:
        InputError: not in `NAME_PATTERN`.
    """
    rule = (
        "1 to 64 lower-case letters, digits, dots, dashes or underscores, beginning and ending with a letter or digit"
    )
    return _check(NAME_PATTERN, kind, text, rule) if ".." not in text else _check(r"(?!)", kind, text, rule)


def check_version(text: str) -> str:
    """Return `text` if it can be a release's version.

    Raises:
        InputError: not in `VERSION_PATTERN`.
    """
    rule = "1 to 64 letters, digits or .+_~-, beginning and ending with a letter or digit, without .."
    return (
        _check(VERSION_PATTERN, "a version", text, rule)
        if ".." not in text
        else _check(r"(?!)", "a version", text, rule)
    )


def check_architecture(text: str) -> str:
    """Return `text` if it can be an architecture as ``uname -m`` spells it, or ``any``.

    Raises:
        InputError: not in `ARCHITECTURE_PATTERN`.
    """
    return _check(ARCHITECTURE_PATTERN, "an architecture", text, "write it as `uname -m` does, or any")


def check_cve(text: str) -> str:
    """Return `text` if it is a CVE identifier.

    Raises:
        InputError: not in `CVE_PATTERN`.
    """
    return _check(CVE_PATTERN, "a CVE identifier", text, "write it as CVE-2023-4863")


def check_unit(text: str) -> str:
    """Return `text` if it is a systemd unit name.

    Raises:
        InputError: not in `UNIT_PATTERN`.
    """
    return _check(UNIT_PATTERN, "a systemd unit", text, "write its whole name, such as darkroom.service")
