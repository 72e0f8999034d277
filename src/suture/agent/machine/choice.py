"""Which level to aim at, and why not another. Pure: the same state, settings and time give the same answer.

The order of the rules is the order in which a person should hear of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from suture.agent.machine.state import LevelRecord, ProductState
from suture.wire.settings import EffectiveSettings, Source


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why a level is not installed by itself."""

    code: str
    text: str
    source: str


def known_bad(record: LevelRecord) -> Obstacle | None:
    """What rules a level out whoever asks: recalled, or quarantined by its own health checks."""
    if record.recalled is not None:
        return Obstacle("recalled", f"the publisher recalled it: {record.recalled}", "publisher")
    if record.quarantined:
        return Obstacle("quarantined", f"it failed here: {record.detail or record.reason}", "device")
    return None


def obstacles(state: ProductState, record: LevelRecord, settings: EffectiveSettings, now: str) -> tuple[Obstacle, ...]:
    """Every reason why `record` is not installed by itself now; empty when it may be."""
    found: list[Obstacle] = []
    bad = known_bad(record)
    if bad is not None:
        found.append(bad)
    if not record.offered:
        found.append(Obstacle(record.not_offered or "not-offered", _not_offered(record), "publisher"))
    if record.level <= state.removal_hold:
        text = "it was removed here; a higher level or `suture install` ends that"
        found.append(Obstacle("removed-by-person", text, "user"))
    if state.hold_until is not None and now < state.hold_until:
        found.append(Obstacle("held", f"the product is held until {state.hold_until}", "user"))
    found.extend(_settings_obstacles(settings, now))
    if record.retry_at is not None and now < record.retry_at:
        text = f"the last try failed ({record.reason}: {record.detail}); the next is at {record.retry_at}"
        found.append(Obstacle("retry-later", text, "device"))
    return tuple(found)


def _settings_obstacles(settings: EffectiveSettings, now: str) -> list[Obstacle]:
    found: list[Obstacle] = []

    def source(name: str) -> str:
        return str(settings.sources.get(name, Source.DEFAULT))

    if not settings.automatic_install:
        text = "automatic install is off; `suture install` installs it, `suture settings` shows the switch"
        found.append(Obstacle("automatic-install-off", text, source("automatic_install")))
    if settings.ask_first:
        found.append(Obstacle("ask-first", "it waits for `suture install`, as the settings ask", source("ask_first")))
    if settings.postpone_until is not None and now < settings.postpone_until:
        text = f"installs are postponed until {settings.postpone_until}"
        found.append(Obstacle("postponed", text, source("postpone_until")))
    return found


def _not_offered(record: LevelRecord) -> str:
    texts = {
        "paused": "the publisher paused new installs",
        "not-in-share": "its rollout has not reached this device yet",
        "no-rollout": "the publisher's rollout document is missing or expired, so nothing new is offered",
        "not-held": "its manifest could not be read yet",
    }
    other = f"it is not offered to this device: {record.not_offered or 'it is not in the rollout'}"
    return texts.get(record.not_offered, other)


def best_offered(state: ProductState) -> LevelRecord | None:
    """The highest good level that the publisher offers this device."""
    good = [record for record in state.levels if record.offered and known_bad(record) is None]
    return good[-1] if good else None


def best_held(state: ProductState, *, besides: int) -> int:
    """The highest level in the store that is neither recalled nor quarantined nor `besides`, else 0."""
    good = [r.level for r in state.levels if r.staged_here and r.level != besides and known_bad(r) is None]
    return max(good, default=0)


def automatic_target(state: ProductState, settings: EffectiveSettings, now: str) -> int | None:
    """The level to install by itself now, or None: the highest one above the active level without any obstacle."""
    for record in reversed(state.levels):
        if record.level <= state.active:
            return None
        if not obstacles(state, record, settings, now):
            return record.level
    return None
