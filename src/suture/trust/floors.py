"""Floors: what this device has seen and will not go back behind, even when its TUF cache was emptied.

The journal keeps them, apart from the trust directory. The clock's floor comes only from times that the release role
signed (`issued` of an index or a manifest), never from the wall clock or the online keys, so one boot in 2040 or one
stolen online key does no lasting harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from suture.core.clock import format_time, parse_time
from suture.core.digests import DIGEST_PATTERN
from suture.core.errors import RolledBackError
from suture.trust.freshness import ROOT, LoadedRole


class RoleFloor(msgspec.Struct, frozen=True):
    """The highest version seen of a role under these keys."""

    role: Annotated[str, msgspec.Meta(max_length=200)]
    version: Annotated[int, msgspec.Meta(ge=1)]
    keys: Annotated[str, msgspec.Meta(pattern=DIGEST_PATTERN)]


class Floors(msgspec.Struct, frozen=True):
    """Version floors, one a role, and the clock's floor (RFC 3339, UTC)."""

    roles: Annotated[tuple[RoleFloor, ...], msgspec.Meta(max_length=1000)] = ()
    clock: Annotated[str, msgspec.Meta(max_length=40)] | None = None

    @property
    def clock_time(self) -> datetime | None:
        """The clock's floor as a time."""
        return None if self.clock is None else parse_time(self.clock)

    def of(self, role: str) -> RoleFloor | None:
        """The floor of one role, or None where it was never seen."""
        return next((floor for floor in self.roles if floor.role == role), None)

    def raised(self, loaded: Sequence[LoadedRole]) -> Floors:
        """These floors, lifted to what was just verified. A floor whose keys were rotated starts anew.

        The reset is TUF specification §5.3.11: an attacker with the old online key may have signed version 2**31; the
        new key must be able to start again. It cannot be abused to roll back, since a delegator that names other keys
        is itself held by a floor.
        """
        kept = {floor.role: floor for floor in self.roles}
        for role in loaded:
            floor = kept.get(role.role)
            if floor is None or _starts_anew(floor, role) or role.version > floor.version:
                kept[role.role] = RoleFloor(role.role, role.version, role.keys)
        return Floors(tuple(kept[name] for name in sorted(kept)), self.clock)

    def raised_clock(self, issued: str) -> Floors:
        """These floors with the clock held up by `issued` (RFC 3339), a time that the release role signed."""
        if self.clock_time is not None and parse_time(issued) <= self.clock_time:
            return self
        return Floors(self.roles, format_time(parse_time(issued)))


def verify_floors(floors: Floors, loaded: Sequence[LoadedRole]) -> None:
    """Refuse roles older than this device has seen.

    Raises:
        RolledBackError: names the role and both versions. TUF specification §5.3.5, §5.4.3, §5.5.5, held over an
            emptied cache.
    """
    for role in loaded:
        floor = floors.of(role.role)
        if floor is not None and role.version < floor.version and not _starts_anew(floor, role):
            raise RolledBackError(
                f"cannot go back to version {role.version} of the {role.role} metadata: "
                f"this device has seen version {floor.version}"
            )


def _starts_anew(floor: RoleFloor, role: LoadedRole) -> bool:
    # Root versions only ever count up, whoever signs them (TUF specification §5.3.5).
    return floor.role != ROOT and floor.keys != role.keys
