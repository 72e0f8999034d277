"""Settings: what a person, an administrator or a company may say, and each value's source (spec/settings.md).

Strongest first: managed policy, administrator, user, the product's default, Suture's own default.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from suture.core.identifiers import NAME_PATTERN, UNIT_PATTERN
from suture.core.limits import DEFAULT_STORE_QUOTA_MIB

SETTINGS_FORMAT = "suture-settings/1"
POLICY_FORMAT = "suture-policy/1"

MIRROR_PATTERN = r"^(?:https?://[0-9A-Za-z.:\[\]-]+(?:/[0-9A-Za-z.+_~%/-]*)?|file:///[0-9A-Za-z.+_~%/-]+)$"

MAXIMUM_POSTPONE_SECONDS = 30 * 86400
"""No source can put an improvement off for longer: what postpones for ever is the off switch, which says so."""

_Seconds = Annotated[int, msgspec.Meta(ge=1, le=30 * 86400)]
_Mebibytes = Annotated[int, msgspec.Meta(ge=1, le=16 * 1024 * 1024)]
_Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
_Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
_Mirrors = Annotated[
    tuple[Annotated[str, msgspec.Meta(pattern=MIRROR_PATTERN, max_length=500)], ...], msgspec.Meta(max_length=10)
]
_UnitOrService = Annotated[str, msgspec.Meta(pattern=f"{NAME_PATTERN}|{UNIT_PATTERN}")]


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
        store_quota_mib: how much the staged levels of the device may take, in MiB.
        capture: keep evidence of what ran before a restart that a known-exploited CVE asks for.
        mirrors: addresses of the product's repository to ask before the product file's own, ``http://`` of a LAN and
            ``file:///`` of a stick too; trusted no more than the vendor's host.
        crash_rollback: let crashes alone take a level back although it fixes a known-exploited CVE.
    """

    automatic_install: bool | None = None
    ask_first: bool | None = None
    postpone_until: _Time | None = None
    notify: bool | None = None
    poll_interval_seconds: _Seconds | None = None
    removal_allowed: bool | None = None
    store_quota_mib: _Mebibytes | None = None
    capture: bool | None = None
    crash_rollback: bool | None = None
    mirrors: _Mirrors | None = None


class SettingsFile(Settings, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True, omit_defaults=True):
    """A person's or an administrator's ``settings.json``: words for all products, then for single ones."""

    format: Literal["suture-settings/1"]
    products: dict[_Name, Settings] = {}


class PolicyFile(Settings, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True, omit_defaults=True):
    """A company's ``policy.json``.

    Attributes:
        organisation: who manages the device; shown to people.
        products: words for single products, over the general ones.
        minimum_poll_interval_seconds: weaker sources cannot make the device poll more often.
        postpone_allowed: false: what weaker sources postpone has no effect.
        never_restart: units and services of any product that Suture must not restart.
    """

    format: Literal["suture-policy/1"]
    organisation: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    products: dict[_Name, Settings] = {}
    minimum_poll_interval_seconds: _Seconds | None = None
    postpone_allowed: bool = True
    never_restart: Annotated[tuple[_UnitOrService, ...], msgspec.Meta(max_length=1000)] = ()


class EffectiveSettings(msgspec.Struct, frozen=True):
    """Every value in force, after all sources; `sources` names each field's source.

    `organisation` manages the device, empty where nobody does; `notes` are sentences about sources that could not be
    read and what that means.
    """

    automatic_install: bool
    ask_first: bool
    postpone_until: _Time | None
    notify: bool
    poll_interval_seconds: int
    removal_allowed: bool
    sources: dict[str, Source]
    store_quota_mib: int = DEFAULT_STORE_QUOTA_MIB
    capture: bool = False
    crash_rollback: bool = False
    never_restart: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    organisation: str = ""
    notes: tuple[str, ...] = ()
