"""A clock set back, to revive what has expired, or ahead, to make a device go dark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from attack_world import World

from suture.core.errors import (
    ExpiredError,
    RepositoryError,
)
from suture.trust.floors import Floors


def test_in_1970_what_has_expired_stays_expired(world: World) -> None:
    world.poll()  # lifts the clock's floor to the index's time
    floor = world.floors.clock_time
    assert floor is not None
    world.clock.moment = datetime(1970, 1, 2, tzinfo=UTC)
    assert not world.poll().changed
    assert world.poll().asked_at == floor
    # The release role signs again a month later; the old timestamp, replayed with it, expired before that.
    later = Floors(world.floors.roles, "2200-01-01T00:00:00Z")
    world.floors = later
    with pytest.raises(ExpiredError):
        world.poll()


def test_one_boot_in_2040_does_no_lasting_harm(world: World) -> None:
    before = world.poll()
    files, floors = world.trusted_files(), world.floors
    world.clock.moment = datetime(2040, 1, 1, tzinfo=UTC)
    with pytest.raises(ExpiredError):
        world.poll()
    world.repository.publish(2, b'{"level": 2}')
    with pytest.raises(ExpiredError):
        world.poll()
    assert world.floors.clock == floors.clock, "the wall clock lifts no floor"
    assert {name: files[name] for name in files if "documents" in name} == {
        name: data for name, data in world.trusted_files().items() if "documents" in name
    }
    world.clock.moment = None
    after = world.poll()
    assert len(after.index.levels) == len(before.index.levels) + 1


def test_an_index_from_the_future_lifts_no_floor(world: World) -> None:
    world.poll()
    real = world.repository.now
    world.repository.now = datetime(2040, 1, 1, tzinfo=UTC)
    world.repository.index = msgspec.structs.replace(world.repository.index, issued="2040-01-01T00:00:00Z")
    world.repository.lifetimes = {
        name: timedelta(days=300) + (real - world.repository.now) for name in world.repository.lifetimes
    }
    world.repository.release_documents()
    floor = world.floors.clock
    with pytest.raises(RepositoryError, match="issued at 2040"):
        world.poll()
    assert world.floors.clock == floor
