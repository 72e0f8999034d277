"""Which settings are in force, from whom, and how a person changes them (spec/settings.md).

`effective_settings` is pure: words and a time in, values with their sources out. A source that cannot be read is never
skipped in silence: it counts as having said the careful thing, and a note says so.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec

from suture.adapters.files import read_file
from suture.agent.places import Places
from suture.core.clock import parse_time
from suture.core.errors import InputError, StorageError, SutureError
from suture.core.limits import DEFAULT_POLL_INTERVAL_SECONDS, DEFAULT_STORE_QUOTA_MIB, MAXIMUM_SETTINGS_BYTES
from suture.wire.product import Product, ProductDefaults
from suture.wire.settings import (
    MAXIMUM_POSTPONE_SECONDS,
    EffectiveSettings,
    PolicyFile,
    Settings,
    SettingsFile,
    Source,
)

CAREFUL_POLICY = Settings(automatic_install=False, removal_allowed=False)
"""What a broken policy file is taken to say: neither of the two things that a policy may forbid happens unasked."""
CAREFUL_SETTINGS = Settings(automatic_install=False)
"""What a broken settings file is taken to say: perhaps it held the off switch."""

FIELDS = (
    "automatic_install",
    "ask_first",
    "postpone_until",
    "notify",
    "poll_interval_seconds",
    "removal_allowed",
    "store_quota_mib",
    "capture",
    "crash_rollback",
    "mirrors",
)
_OWN_DEFAULTS = Settings(
    automatic_install=True,
    ask_first=False,
    notify=True,
    poll_interval_seconds=DEFAULT_POLL_INTERVAL_SECONDS,
    removal_allowed=True,
    store_quota_mib=DEFAULT_STORE_QUOTA_MIB,
    capture=False,
    crash_rollback=False,
    mirrors=(),
)
_WEAKER_THAN_POLICY = (Source.ADMINISTRATOR, Source.USER, Source.PRODUCT)

_File = TypeVar("_File", SettingsFile, PolicyFile)


@dataclass(frozen=True, slots=True)
class Sources:
    """What each source says about one product (or, with no product, about all), as far as it could be read."""

    managed: Settings | None
    administrator: Settings | None
    user: Settings | None
    notes: tuple[str, ...]


def effective_settings(
    managed: Settings | None,
    administrator: Settings | None,
    user: Settings | None,
    product_defaults: ProductDefaults | None,
    now: datetime,
) -> EffectiveSettings:
    """Every value in force, each from the strongest source that says something about it.

    Args:
        managed: a company's words; a `PolicyFile` brings its organisation and limits too.
        administrator: the administrator's words.
        user: a person's words; what they say about `removal_allowed` has no effect.
        product_defaults: the vendor's.
        now: aware; a postponement in the past, or more than 30 days ahead of it, has no effect.
    """
    by_source = (
        (Source.MANAGED, managed),
        (Source.ADMINISTRATOR, administrator),
        (Source.USER, user),
        (Source.PRODUCT, _settings_of(product_defaults)),
        (Source.DEFAULT, _OWN_DEFAULTS),
    )
    values: dict[str, object] = {}
    sources: dict[str, Source] = {}
    for field in FIELDS:
        values[field], sources[field] = None, Source.DEFAULT
        for source, words in by_source:
            value = _effect(field, source, words, now)
            if value is not None:
                values[field], sources[field] = value, source
                break
    organisation = ""
    if isinstance(managed, PolicyFile):
        organisation = managed.organisation
        values["never_restart"] = managed.never_restart
        _apply_limits(managed, values, sources)
    return msgspec.convert({**values, "sources": sources, "organisation": organisation}, EffectiveSettings)


def read_settings(places: Places, product: Product | None, now: datetime) -> EffectiveSettings:
    """The settings in force for one product, or with None those that name no product, from the files as they are now.

    Args:
        places: whose files to read.
        product: brings its name and its vendor's defaults.
        now: aware.

    Returns:
        The values; `notes` holds a sentence for each file that could not be read. Never raises for a broken file.
    """
    sources = read_sources(places, product.product if product is not None else None)
    defaults = product.defaults if product is not None else None
    found = effective_settings(sources.managed, sources.administrator, sources.user, defaults, now)
    return msgspec.structs.replace(found, notes=sources.notes)


def read_sources(places: Places, product: str | None) -> Sources:
    """What the three files say about a product, its own words before the general ones."""
    notes: list[str] = []
    managed: Settings | None
    administrator: Settings | None
    user: Settings | None
    try:
        managed = _about(read_policy(places), product)
    except SutureError as error:
        managed = CAREFUL_POLICY
        notes.append(f"{error.message}; until it is mended nothing is installed by itself or removed on request")
    try:
        administrator = _about(read_administrator_file(places), product)
    except SutureError as error:
        administrator = CAREFUL_SETTINGS
        notes.append(f"{error.message}; until it is mended nothing is installed by itself")
    try:
        user = _about(read_user_file(places), product)
    except SutureError as error:
        user = CAREFUL_SETTINGS
        notes.append(f"{error.message}; until it is mended nothing is installed by itself")
    return Sources(managed, administrator, user, tuple(notes))


def read_policy(places: Places) -> PolicyFile | None:
    """The company's policy, or None where there is none.

    Raises:
        InputError: it is broken, or others than its owner could have written it.
        StorageError: it cannot be read.
    """
    return _read(places.managed_policy, PolicyFile, "the managed policy")


def read_administrator_file(places: Places) -> SettingsFile | None:
    """The administrator's settings, or None; errors as `read_policy`."""
    return _read(places.administrator_settings, SettingsFile, "the administrator's settings")


def read_user_file(places: Places) -> SettingsFile | None:
    """What `suture settings set` wrote, or None; errors as `read_policy`."""
    return _read(places.user_settings, SettingsFile, "the settings")


def _read(path: Path, kind: type[_File], what: str) -> _File | None:
    if not os.path.lexists(path):
        return None
    found = os.lstat(path)
    if stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IWOTH:
        raise InputError(f"cannot trust {what} in {path}: everybody may write it", advice=f"chmod o-w {path}")
    if found.st_uid not in (0, os.geteuid()):
        raise InputError(f"cannot trust {what} in {path}: it belongs to user {found.st_uid}", advice=f"chown {path}")
    try:
        return msgspec.json.decode(read_file(path, maximum_bytes=MAXIMUM_SETTINGS_BYTES), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {what} in {path}: {str(error)[:200]}", advice=f"correct {path}") from error
    except StorageError as error:
        raise StorageError(f"cannot read {what}: {error.message}", advice=f"correct {path}") from error


def _about(file: SettingsFile | PolicyFile | None, product: str | None) -> Settings | None:
    if file is None or product is None or product not in file.products:
        return file
    own = file.products[product]
    said = {field: getattr(own, field) for field in FIELDS if getattr(own, field) is not None}
    return msgspec.structs.replace(file, **said)


def _settings_of(defaults: ProductDefaults | None) -> Settings | None:
    if defaults is None:
        return None
    return Settings(automatic_install=defaults.automatic_install, ask_first=defaults.ask_first, notify=defaults.notify)


def _effect(field: str, source: Source, words: Settings | None, now: datetime) -> object:
    if words is None or (field == "removal_allowed" and source is Source.USER):
        return None
    value: object = getattr(words, field)
    if field != "postpone_until" or value is None:
        return value
    try:
        until = parse_time(str(value))
    except InputError:
        return None  # such as 2026-02-31: no such time, so nothing is postponed
    return value if now < until <= now + timedelta(seconds=MAXIMUM_POSTPONE_SECONDS) else None


def _apply_limits(policy: PolicyFile, values: dict[str, object], sources: dict[str, Source]) -> None:
    if not policy.postpone_allowed and sources["postpone_until"] in _WEAKER_THAN_POLICY:
        values["postpone_until"], sources["postpone_until"] = None, Source.MANAGED
    least = policy.minimum_poll_interval_seconds
    interval = values["poll_interval_seconds"]
    if least is not None and isinstance(interval, int) and interval < least:
        values["poll_interval_seconds"], sources["poll_interval_seconds"] = least, Source.MANAGED
