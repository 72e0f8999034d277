"""How a person changes one setting: the words they write, what a policy fixes, and the file that keeps it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from suture.adapters.files import exclusive_lock, make_directory, write_file
from suture.agent.places import Places, prepare
from suture.agent.settings import read_administrator_file, read_policy, read_user_file
from suture.core.canonical import canonical_json
from suture.core.clock import format_time, parse_time
from suture.core.errors import InputError, NotKnownError, PolicyError
from suture.core.identifiers import check_name
from suture.core.limits import MAXIMUM_SETTINGS_BYTES
from suture.wire.settings import (
    MAXIMUM_POSTPONE_SECONDS,
    PolicyFile,
    Settings,
    SettingsFile,
    Source,
)

PATIENCE_SECONDS = 10.0
"""How long to wait for another change of a setting, which takes milliseconds."""
SWITCHES = {
    "automatic-install": "automatic_install",
    "ask-first": "ask_first",
    "notify": "notify",
    "removal-allowed": "removal_allowed",
    "capture": "capture",
    "crash-rollback": "crash_rollback",
}
_OTHERS = {"postpone": "postpone_until", "poll-interval": "poll_interval_seconds", "store-quota": "store_quota_mib"}
NAMES = (*SWITCHES, *_OTHERS)
"""What `suture settings set` knows."""

_DURATION = re.compile(r"([0-9]{1,7})([smhd])")
_SIZE = re.compile(r"([0-9]{1,7})(MiB|GiB)")
_MAXIMUM_QUOTA_MIB = 16 * 1024 * 1024
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MAXIMUM_INTERVAL_SECONDS = 30 * 86400


@dataclass(frozen=True, slots=True)
class Change:
    """One field of `Settings` and its new value; None takes the word back."""

    field: str
    value: bool | int | str | None


def parse_change(name: str, text: str, now: datetime) -> Change:
    """What a person's words mean.

    Args:
        name: one of `NAMES`.
        text: ``on``, ``off``; for postpone ``3d``, ``2h``, ``until 2026-12-01T08:00:00Z``, ``off``; for poll-interval
            ``30s``, ``1h``; for store-quota ``512MiB``, ``8GiB``; for all of them ``default``.
        now: aware; what durations are counted from.

    Raises:
        NotKnownError: no such setting.
        InputError: no such value.
    """
    if name not in NAMES:
        raise NotKnownError(f"cannot set {name[:40]!r}: the settings are {', '.join(NAMES)}")
    field = SWITCHES.get(name) or _OTHERS[name]
    if text == "default":
        return Change(field, None)
    if name in SWITCHES:
        if text not in ("on", "off"):
            raise InputError(f"cannot set {name} to {text[:40]!r}: write on, off or default")
        return Change(field, text == "on")
    if name == "postpone":
        return Change(field, _parse_postponement(text, now))
    if name == "store-quota":
        return Change(field, _parse_size_mib(text))
    seconds = _parse_duration(text, "poll-interval", "30s, 15m, 1h or 1d")
    if not 1 <= seconds <= _MAXIMUM_INTERVAL_SECONDS:
        raise InputError(f"cannot set poll-interval to {text}: it lies between 1s and 30d")
    return Change(field, seconds)


def write_setting(
    places: Places,
    name: str,
    value: str,
    *,
    now: datetime,
    product: str | None = None,
    source: Source = Source.USER,
) -> Change:
    """Change one setting in the user's or the administrator's file.

    Args:
        places: whose files.
        name, value, now: as `parse_change` reads them.
        product: for this product alone; for all products when left out.
        source: `Source.USER` or `Source.ADMINISTRATOR`.

    Returns:
        What was written.

    Raises:
        InputError, NotKnownError: as `parse_change`; or the file to change is broken.
        PolicyError: a stronger source fixes the value; says who. Nothing changed.
        RightsError, StorageError: the file cannot be written.
        BusyError: another command holds the lock.
    """
    change = parse_change(name, value, now)
    if product is not None:
        check_name(product, "a product")
    _refuse_fixed(places, name, change, product, source)
    prepare(places)
    with exclusive_lock(places.settings_lock, doing=f"set {name}", wait_seconds=PATIENCE_SECONDS):
        if source is Source.ADMINISTRATOR:
            make_directory(places.configuration, mode=0o755)
            _rewrite(places.administrator_settings, read_administrator_file(places), change, product)
        else:
            _rewrite(places.user_settings, read_user_file(places), change, product)
    return change


def _rewrite(path: Path, file: SettingsFile | None, change: Change, product: str | None) -> None:
    file = file if file is not None else SettingsFile(format="suture-settings/1")
    if product is None:
        file = msgspec.structs.replace(file, **{change.field: change.value})
    else:
        own = msgspec.structs.replace(file.products.get(product, Settings()), **{change.field: change.value})
        file = msgspec.structs.replace(file, products={**file.products, product: own})
    document = canonical_json(msgspec.to_builtins(file))
    if len(document) > MAXIMUM_SETTINGS_BYTES:
        raise InputError(f"cannot write {path}: it would be larger than {MAXIMUM_SETTINGS_BYTES:,} bytes")
    write_file(path, document, mode=0o644)


def _refuse_fixed(places: Places, name: str, change: Change, product: str | None, source: Source) -> None:
    policy = read_policy(places)
    if policy is not None:
        who = f"{policy.organisation} manages this setting with {places.managed_policy}"
        if _fixes(policy, change.field, product) or (change.field == "postpone_until" and not policy.postpone_allowed):
            raise PolicyError(f"cannot set {name}: {who}", advice=f"ask {policy.organisation}")
        least = policy.minimum_poll_interval_seconds
        shortens = change.field == "poll_interval_seconds" and isinstance(change.value, int)
        if shortens and least is not None and change.value is not None and int(change.value) < least:
            raise PolicyError(f"cannot set {name} below {least}s: {who}", advice=f"ask {policy.organisation}")
    if source is Source.ADMINISTRATOR:
        return
    if change.field == "removal_allowed":
        raise PolicyError(
            f"cannot set {name}: only a policy or the administrator says whether improvements may be removed",
            advice="run it as the administrator with --administrator",
        )
    administrator = read_administrator_file(places)
    if administrator is not None and _fixes(administrator, change.field, product):
        raise PolicyError(
            f"cannot set {name}: the administrator of this device fixes it in {places.administrator_settings}",
            advice="ask the administrator, or change it as the administrator with --administrator",
        )


def _fixes(file: SettingsFile | PolicyFile, field: str, product: str | None) -> bool:
    own = file.products.get(product) if product is not None else None
    return getattr(file, field) is not None or (own is not None and getattr(own, field) is not None)


def _parse_postponement(text: str, now: datetime) -> str | None:
    if text == "off":
        return None
    now = now.replace(microsecond=0)
    if text.startswith("until "):
        until = parse_time(text.removeprefix("until ").strip()).replace(microsecond=0)
    else:
        seconds = _parse_duration(text, "postpone", "3d, 2h, until 2026-12-01T08:00:00Z or off")
        until = now + timedelta(seconds=min(seconds, 10 * MAXIMUM_POSTPONE_SECONDS))
    if until <= now:
        raise InputError(f"cannot postpone to {text[:40]!r}: that time has passed")
    if until > now + timedelta(seconds=MAXIMUM_POSTPONE_SECONDS):
        raise InputError(
            f"cannot postpone by more than 30 days ({text[:40]!r})",
            advice="postpone by less, or switch off with `suture settings set automatic-install off`",
        )
    return format_time(until)


def _parse_duration(text: str, name: str, examples: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InputError(f"cannot set {name} to {text[:40]!r}: write {examples}")
    return int(match.group(1)) * _UNIT_SECONDS[match.group(2)]


def _parse_size_mib(text: str) -> int:
    match = _SIZE.fullmatch(text)
    mebibytes = int(match.group(1)) * (1024 if match.group(2) == "GiB" else 1) if match is not None else 0
    if not 1 <= mebibytes <= _MAXIMUM_QUOTA_MIB:
        raise InputError(f"cannot set store-quota to {text[:40]!r}: write 512MiB or 8GiB, at most 16384GiB")
    return mebibytes
