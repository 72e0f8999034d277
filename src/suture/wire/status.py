"""The status file: what anyone on the device may see (`suture status`). Written by the agent after every transition."""

from __future__ import annotations

import msgspec

from suture.wire.settings import EffectiveSettings

STATUS_FORMAT = "suture-status/1"


class OpenCve(msgspec.Struct, frozen=True):
    """A CVE that this device is exposed to and that a known level fixes."""

    cve: str
    severity: str
    fixed_by_level: int
    since: str
    """When this device became exposed again, or learnt of the fix (RFC 3339)."""


class LevelStatus(msgspec.Struct, frozen=True):
    """One level that this device has met. `state` is a word of DESIGN §5, `reason` a code with `detail` for people."""

    level: int
    display: str
    state: str
    digest: str
    cves: tuple[str, ...]
    at: str
    reason: str = ""
    detail: str = ""
    patch_bytes: int = 0
    removable: bool = True


class HoldingProcess(msgspec.Struct, frozen=True):
    """A process that keeps a level from being effective."""

    pid: int
    name: str
    how: str
    belongs_to: str | None = None


class Reason(msgspec.Struct, frozen=True):
    """One answer to `suture why`: a stable code, a sentence, since when, and whose word it is."""

    code: str
    text: str
    since: str
    source: str


class TrustStatus(msgspec.Struct, frozen=True):
    """What the last polls said."""

    state: str
    """``none`` (no change), ``changed``, ``unreachable``, ``bad-signature``, ``expired`` …; ``never`` at first."""
    last_poll: str | None = None
    last_success: str | None = None
    expires: str | None = None
    detail: str = ""
    rollout: str = ""


class Measurements(msgspec.Struct, frozen=True):
    """Of the last transition that ended: times in milliseconds or seconds, sizes in bytes."""

    poll_to_effective_seconds: float | None = None
    swap_milliseconds: float | None = None
    restart_milliseconds: float | None = None
    scan_milliseconds: float | None = None
    downloaded_bytes: int = 0
    connections: int = 0


class ProductStatus(msgspec.Struct, frozen=True):
    """One product. `display` is what people see; machines compare `(baseline, level)`."""

    product: str
    title: str
    baseline: str
    display: str
    level: int
    state: str
    """``effective``, ``effective (own processes)``, ``activating``, … of the level in place; ``baseline`` at 0."""
    effective: bool
    offered_level: int | None
    levels: tuple[LevelStatus, ...]
    open_cves: tuple[OpenCve, ...]
    held_back_by: tuple[HoldingProcess, ...]
    unknown_processes: int
    why: tuple[Reason, ...]
    trust: TrustStatus
    settings: EffectiveSettings
    measurements: Measurements = Measurements()


class Status(msgspec.Struct, frozen=True):
    """The whole device."""

    format: str
    written: str
    agent_version: str
    agent_pid: int | None
    agent_started: float | None
    """Seconds since the epoch; with the pid it names one process."""
    products: tuple[ProductStatus, ...]


class HistoryRow(msgspec.Struct, frozen=True):
    """One line of `suture history`: append-only, from the journal."""

    sequence: int
    at: str
    product: str
    baseline: str
    level: int
    event: str
    state: str
    reason: str
    detail: str
