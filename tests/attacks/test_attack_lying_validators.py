"""ETag and 304 lies: a server that says "nothing changed" when it did, or "changed" when it did not."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from attack_world import World

from suture.core.errors import ExpiredError, UnreachableError
from suture.testing.http_server import Fault, serve


def test_a_server_that_lies_304_freezes_a_device_only_until_the_timestamp_expires(world: World) -> None:
    world.poll()
    world.repository.publish(2, b'{"level": 2}')
    world.server.set_fault("/metadata/timestamp.json", Fault.ALWAYS_304)
    assert not world.poll().changed
    world.clock.moment = datetime.now(UTC) + timedelta(days=8)
    with pytest.raises(ExpiredError, match="timestamp"):
        world.poll()


@pytest.mark.parametrize("fault", [Fault.ALWAYS_304, Fault.WRONG_ETAG])
def test_a_lying_validator_brings_nothing_older_and_nothing_forged(world: World, fault: Fault) -> None:
    world.poll()
    before = world.trusted_files()
    world.server.set_fault("/metadata/timestamp.json", fault)
    for _ in range(3):
        assert not world.poll().changed
    assert world.trusted_files() == before


def test_a_304_for_a_device_that_asked_for_no_comparison_is_no_answer(world: World) -> None:
    world.server.set_fault("*", Fault.ALWAYS_304)
    with pytest.raises(UnreachableError):
        world.poll()
    assert world.trusted_files() == {}


def test_a_304_is_not_believed_where_what_is_held_was_damaged(world: World) -> None:
    world.poll()
    shutil.rmtree(world.trust / "documents")
    world.server.set_fault("/metadata/timestamp.json", Fault.ALWAYS_304)
    with pytest.raises(UnreachableError):
        world.poll()
    world.server.clear_faults()
    assert len(world.poll().index.levels) == 1


def test_an_etag_from_one_mirror_is_not_sent_to_another(world: World) -> None:
    world.poll()
    with serve(world.repository.directory) as other:
        world.base_urls = [other.url]
        assert not world.poll().changed
        assert other.log[0].header("If-None-Match") == ""
