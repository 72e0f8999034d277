"""What may happen to a product. Each event carries the time `now` (RFC 3339 UTC) at which it is judged."""

from __future__ import annotations

from dataclasses import dataclass

from suture.agent.machine.state import FixedCve, Holder, Step
from suture.wire.settings import EffectiveSettings


@dataclass(frozen=True, slots=True)
class Offer:
    """One level of the index, judged by trust and eligibility."""

    level: int
    digest: str
    offered: bool
    not_offered: str = ""
    """A code: ``paused``, ``not-in-share``, ``no-rollout``, ``agent-too-old``, …"""
    recalled: str | None = None
    fixes: tuple[FixedCve, ...] | None = None
    """None where its manifest has not been read."""
    patch_bytes: int = 0
    removable: bool = True


@dataclass(frozen=True, slots=True)
class Polled:
    """The repository's whole, verified word on this baseline."""

    now: str
    settings: EffectiveSettings
    offers: tuple[Offer, ...]
    may_start: bool = True
    """False for `suture check`: learn, do not act (a recall is acted on all the same)."""


@dataclass(frozen=True, slots=True)
class Considered:
    """Look again at what is known, without the network: settings changed, a back-off or a postponement ended."""

    now: str
    settings: EffectiveSettings


@dataclass(frozen=True, slots=True)
class InstallAsked:
    """A person asks for a level (None: the highest good one known)."""

    now: str
    settings: EffectiveSettings
    level: int | None = None


@dataclass(frozen=True, slots=True)
class RemoveAsked:
    """A person or policy asks to go down to `to_level`."""

    now: str
    settings: EffectiveSettings
    to_level: int = 0


@dataclass(frozen=True, slots=True)
class HoldAsked:
    """Hold the product where it is until then; None ends the hold."""

    now: str
    until: str | None


@dataclass(frozen=True, slots=True)
class StepDone:
    """The executor finished a step of operation `number`."""

    now: str
    number: int
    step: Step
    swapped_at: float = 0.0
    """After a graft: seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step could not be done. `code` is an error's code; `passing` means that time may mend it;
    `declared` means that a declared check of the level's own health said no."""

    now: str
    number: int
    step: Step
    code: str
    detail: str
    passing: bool = True
    declared: bool = False


@dataclass(frozen=True, slots=True)
class Crashing:
    """Services crash since `level` came and did not before. Counters alone, so never a reason for quarantine;
    `takes_back` is false where the level closes a hole that is being exploited and no setting says otherwise."""

    now: str
    level: int
    detail: str
    takes_back: bool


@dataclass(frozen=True, slots=True)
class Scanned:
    """Who still uses files of other trees than the active one's."""

    now: str
    holders: tuple[Holder, ...]
    unknown: int
    unknown_blocks: bool
    """Unreadable processes could use the component at all (as root: always)."""


@dataclass(frozen=True, slots=True)
class Started:
    """The agent starts, perhaps after a crash. `current` is the level that programs really see."""

    now: str
    current: int
    lasting: bool = True
    """The graft outlives a restart of the machine; one that does not is made again without being judged anew."""
    grafts_off: str = ""
    """What keeps every graft off, for people."""


@dataclass(frozen=True, slots=True)
class BaselineChanged:
    """The product's release is another one now: improvements for the old one leave."""

    now: str
    new_baseline: str


@dataclass(frozen=True, slots=True)
class GaveWay:
    """The graft is about to give way to a package manager: until it is made again, the baseline's files are seen."""

    now: str
    to: str


Event = (
    Polled
    | Considered
    | InstallAsked
    | RemoveAsked
    | HoldAsked
    | StepDone
    | StepFailed
    | Crashing
    | Scanned
    | Started
    | BaselineChanged
    | GaveWay
)
