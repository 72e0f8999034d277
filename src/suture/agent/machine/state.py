"""What the machine remembers of one product, exactly as the journal keeps it.

Frozen: a transition makes a new one. Times are RFC 3339 UTC text.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class LevelState(StrEnum):
    """Where one level stands on this device (DESIGN §5)."""

    OFFERED = "offered"
    FETCHING = "fetching"
    STAGED = "staged"
    GRAFTED = "grafted"
    ACTIVATING = "activating"
    EFFECTIVE = "effective"
    EFFECTIVE_OWN = "effective (own processes)"
    REPLACED = "replaced"
    HELD = "held"
    FAILED = "failed"
    ROLLED_BACK = "rolled-back"
    REMOVED = "removed"
    RECALLED = "recalled"
    SUPERSEDED = "superseded"


IN_PLACE = frozenset({LevelState.GRAFTED, LevelState.ACTIVATING, LevelState.EFFECTIVE, LevelState.EFFECTIVE_OWN})
"""States that only the active level may have."""


class Kind(StrEnum):
    """Why an operation moves the device to its level."""

    INSTALL = "install"
    REMOVE = "remove"
    RECALL = "recall"
    ROLL_BACK = "roll-back"
    SUPERSEDE = "supersede"
    RESTORE = "restore"
    """Its graft ended with the running system, or gave way to a package manager: the same level is grafted again."""


class Step(StrEnum):
    """The step of an operation that is journalled before it is done."""

    FETCH = "fetch"
    STAGE = "stage"
    GRAFT = "graft"
    RESTART = "restart"
    CHECK = "check"


CRASHING = "crashing"
"""The reason of a level during which services crash that did not before."""


class FixedCve(msgspec.Struct, frozen=True):
    """A CVE that a level fixes."""

    cve: str
    severity: str


class LevelRecord(msgspec.Struct, frozen=True):
    """One level that this device has met.

    Attributes:
        digest: of its manifest; a second one for the same level is refused for ever.
        recalled: the publisher's reason, once recalled.
        quarantined: a declared health check failed here; never tried again by itself.
        attempts, retry_at: of failures that time may mend; back-off ends at `retry_at`.
        offered: the rollout lets this device have it now; otherwise `not_offered` says why not.
    """

    level: int
    digest: str
    state: LevelState
    at: str
    reason: str = ""
    detail: str = ""
    fixes: tuple[FixedCve, ...] = ()
    patch_bytes: int = 0
    removable: bool = True
    recalled: str | None = None
    quarantined: bool = False
    attempts: int = 0
    retry_at: str | None = None
    crashes: int = 0
    """How often it was taken back for crashes alone; it makes the back-off longer and is forgotten by no success."""
    offered: bool = False
    not_offered: str = ""
    staged_here: bool = False
    """Its tree is in the device's store, ready to be grafted offline."""


class Operation(msgspec.Struct, frozen=True):
    """A move to `level` from `origin`. `number` never repeats: results of an earlier operation are ignored."""

    number: int
    kind: Kind
    level: int
    origin: int
    step: Step
    started: str
    reason: str = ""
    detail: str = ""
    by_person: bool = False
    recoveries: int = 0


class Holder(msgspec.Struct, frozen=True):
    """A process that keeps the active level from being effective."""

    pid: int
    name: str
    how: str
    belongs_to: str | None = None


class Watch(msgspec.Struct, frozen=True):
    """The proof that is looked for since the last swap, and looked at again at every poll."""

    swapped_at: float
    """Seconds since the epoch."""
    clean: bool = False
    own_only: bool = False
    holders: tuple[Holder, ...] = ()
    unknown: int = 0
    since: str = ""


class ProductState(msgspec.Struct, frozen=True):
    """One product on one baseline release.

    Attributes:
        active: the level that programs see, as journalled.
        last_good: the level to go back to: the last one that was healthy before `active`.
        removal_hold: no level up to this one is installed by itself, since a person removed it.
        hold_until: a person or policy holds the product where it is.
        exposed_since: by CVE, since when this device is (again) exposed to it.
    """

    product: str
    baseline: str
    active: int = 0
    last_good: int = 0
    levels: tuple[LevelRecord, ...] = ()
    operation: Operation | None = None
    watch: Watch | None = None
    removal_hold: int = 0
    hold_until: str | None = None
    next_number: int = 1
    exposed_since: tuple[tuple[str, str], ...] = ()
    offered_at: tuple[tuple[int, str], ...] = ()
    """When each level was first seen by this device."""

    def record(self, level: int) -> LevelRecord | None:
        """The record of `level`, or None."""
        return next((record for record in self.levels if record.level == level), None)

    def with_record(self, record: LevelRecord) -> ProductState:
        """The same state with one record replaced or added, ascending by level."""
        others = [other for other in self.levels if other.level != record.level]
        levels = tuple(sorted([*others, record], key=lambda item: item.level))
        return msgspec.structs.replace(self, levels=levels)
