"""Expiry by a floored clock, and floors that only rise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suture.core.clock import format_time
from suture.core.errors import ExpiredError, RolledBackError
from suture.trust.floors import Floors, RoleFloor, verify_floors
from suture.trust.freshness import LoadedRole, earliest_expiry, is_expired, verify_freshness

KEYS = "sha256:" + "a" * 64
OTHER_KEYS = "sha256:" + "b" * 64
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def role(name: str, version: int = 1, *, expires: datetime = NOON, keys: str = KEYS) -> LoadedRole:
    return LoadedRole(name, version, format_time(expires), keys)


@pytest.mark.parametrize("name", ["root", "timestamp", "snapshot", "targets", "release-1.0-x86_64"])
def test_one_expired_role_is_enough_and_is_named(name: str) -> None:
    roles = [role(other, expires=NOON + timedelta(days=9)) for other in ("root", "timestamp")] + [role(name)]
    with pytest.raises(ExpiredError, match=f"{name} metadata expired at 2026-03-01T12:00:00Z"):
        verify_freshness(roles, NOON, None)
    verify_freshness(roles, NOON - timedelta(seconds=1), None)


def test_a_clock_in_1970_revives_nothing_that_expired_before_the_floor() -> None:
    past = datetime(1970, 1, 1, tzinfo=UTC)
    verify_freshness([role("timestamp")], past, None)
    verify_freshness([role("timestamp")], past, NOON - timedelta(days=1))
    with pytest.raises(ExpiredError):
        verify_freshness([role("timestamp")], past, NOON + timedelta(days=1))


def test_a_role_expires_at_its_second_not_after_it() -> None:
    assert is_expired(role("root"), NOON)
    assert not is_expired(role("root"), NOON - timedelta(microseconds=1))


def test_the_earliest_expiry_is_the_first_to_come() -> None:
    late = role("root", expires=NOON + timedelta(days=1))
    assert earliest_expiry([late, role("timestamp")]).role == "timestamp"


def test_an_older_version_is_refused_and_an_equal_or_newer_one_is_not() -> None:
    floors = Floors().raised([role("snapshot", 5)])
    with pytest.raises(RolledBackError, match="version 4 of the snapshot"):
        verify_floors(floors, [role("snapshot", 4)])
    verify_floors(floors, [role("snapshot", 5), role("snapshot", 6), role("targets", 1)])


def test_rotated_keys_start_a_floor_anew_but_never_the_roots() -> None:
    floors = Floors().raised([role("timestamp", 2**31), role("root", 3)])
    verify_floors(floors, [role("timestamp", 1, keys=OTHER_KEYS)])
    assert floors.raised([role("timestamp", 1, keys=OTHER_KEYS)]).of("timestamp") == RoleFloor(
        "timestamp", 1, OTHER_KEYS
    )
    with pytest.raises(RolledBackError):
        verify_floors(floors, [role("root", 2, keys=OTHER_KEYS)])
    assert floors.raised([role("root", 2, keys=OTHER_KEYS)]).of("root") == RoleFloor("root", 3, KEYS)


def test_the_clocks_floor_rises_only_by_a_signed_time_and_never_falls() -> None:
    floors = Floors().raised([role("root")])
    assert floors.clock is None, "no role's version or expiry lifts the clock"
    lifted = floors.raised_clock("2026-03-01T12:00:00Z")
    assert lifted.clock_time == NOON
    assert lifted.raised_clock("2025-01-01T00:00:00Z") is lifted


def test_floors_survive_the_journal() -> None:
    floors = Floors().raised([role("root"), role("targets", 7)]).raised_clock("2026-03-01T12:00:00Z")
    assert msgspec.json.decode(msgspec.json.encode(floors), type=Floors) == floors


versions = st.lists(
    st.tuples(
        st.sampled_from(["root", "timestamp", "targets"]), st.integers(1, 50), st.sampled_from([KEYS, OTHER_KEYS])
    ),
    max_size=12,
)


@given(versions)
def test_what_was_raised_to_always_passes_and_raising_twice_changes_nothing(
    seen: list[tuple[str, int, str]],
) -> None:
    floors = Floors()
    for name, version, keys in seen:
        one = role(name, version, keys=keys)
        before = floors.of(name)
        floors = floors.raised([one])
        assert floors.raised([one]) == floors
        after = floors.of(name)
        assert after is not None
        if before is not None and (name == "root" or before.keys == after.keys):
            assert after.version >= before.version
        verify_floors(floors, [role(name, after.version, keys=after.keys)])
