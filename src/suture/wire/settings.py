"""Settings: what a person, an administrator or a company may say, and each value's source (spec/settings.md).

Strongest first: managed policy, administrator, user, the product's default, Suture's own default.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

_Seconds = Annotated[int, msgspec.Meta(ge=1, le=30 * 86400)]
_Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]


class Source(StrEnum):
    """Who set a value, strongest first."""

    MANAGED = "managed"
    ADMINISTRATOR = "administrator"
    USER = "user"
    PRODUCT = "product"
    DEFAULT = "default"


class Settings(msgspec.Struct, frozen=True, rename="kebab", forbid_unknown_fields=True, omit_defaults=True):
    """One source's words; None where it says nothing.

    Attributes:
        automatic_install: install improvements without being asked (CRA Annex I, I(2)(c)).
        ask_first: wait for a person's `suture install`.
        postpone_until: install nothing before this time; expires by itself.
        notify: tell people what was installed.
        poll_interval_seconds: seconds between looks at the repository, jittered by a fifth.
        removal_allowed: people may remove an improvement.
    """

    automatic_install: bool | None = None
    ask_first: bool | None = None
    postpone_until: _Time | None = None
    notify: bool | None = None
    poll_interval_seconds: _Seconds | None = None
    removal_allowed: bool | None = None


class EffectiveSettings(msgspec.Struct, frozen=True):
    """Every value in force, after all sources; `sources` names each field's source."""

    automatic_install: bool
    ask_first: bool
    postpone_until: _Time | None
    notify: bool
    poll_interval_seconds: int
    removal_allowed: bool
    sources: dict[str, Source]
