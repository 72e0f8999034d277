"""Keeping signatures young: the online roles unattended, the offline ones when somebody brings their keys.

Devices go dark when metadata expires, so a role is signed again when less than half of its life is left, and an
offline role that comes so far is said loudly, months ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from suture.publisher.desk import Change, Desk
from suture.publisher.draft import days_of, key_role_of
from suture.publisher.published import Published
from suture.publisher.setup import new_root
from suture.publisher.workshop import KeyRole, Lifetimes


@dataclass(frozen=True, slots=True)
class RoleLife:
    """One role's signature. `is_due`: less than half of its life is left (or none)."""

    role: str
    offline: bool
    version: int
    expires: datetime
    days_left: float
    is_due: bool


def role_lives(published: Published, lifetimes: Lifetimes, now: datetime) -> tuple[RoleLife, ...]:
    """Every role's life, the first to expire first."""
    roles = {
        "root": published.root.signed,
        "targets": published.targets.signed,
        "snapshot": published.snapshot.signed,
        "timestamp": published.timestamp.signed,
        **{name: metadata.signed for name, metadata in published.delegated.items()},
    }
    lives = []
    for name, signed in roles.items():
        left = signed.expires - now
        lives.append(
            RoleLife(
                role=name,
                offline=key_role_of(name) is not KeyRole.ONLINE,
                version=signed.version,
                expires=signed.expires,
                days_left=round(left / timedelta(days=1), 2),
                is_due=left < timedelta(days=days_of(name, lifetimes)) / 2,
            )
        )
    return tuple(sorted(lives, key=lambda life: (life.expires, life.role)))


def refresh(desk: Desk, *, force: bool, offline: bool) -> tuple[Change, tuple[RoleLife, ...]]:
    """Sign again what is due.

    Args:
        desk: see `Desk`.
        force: sign again whatever is left of its life.
        offline: the offline roles too; needs their keys.

    Returns:
        What changed, and every role's life afterwards.
    """
    published = desk.published()
    lifetimes = desk.settings.lifetimes
    draft = desk.draft(published)
    for life in role_lives(published, lifetimes, desk.now):
        if not (life.is_due or force) or (life.offline and not offline):
            continue
        if life.role == "root":
            expires = desk.now + timedelta(days=lifetimes.root_days)
            root = new_root(desk.settings.keys, desk.settings.thresholds, expires, version=life.version + 1)
            draft.put_roots([(root, desk.keyring.signers(KeyRole.ROOT))])
        else:
            draft.touch(life.role)
    change = desk.publish(draft)
    return change, role_lives(desk.published() if change.changed else published, lifetimes, desk.now)
