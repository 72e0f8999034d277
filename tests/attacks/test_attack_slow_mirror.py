"""A mirror that is gone, hangs, is out of date, or is only slow: it holds up nobody."""

from __future__ import annotations

import pytest
from attack_world import World

from suture.core.errors import RolledBackError, SignatureError
from suture.testing.http_server import Fault, serve
from suture.testing.repository import SimulatedRepository


def test_a_second_address_answers_where_the_first_one_is_gone_hangs_or_is_out_of_date(world: World) -> None:
    old = world.snapshot("old")
    world.repository.publish(2, b'{"level": 2}')
    world.poll()
    with serve(old) as stale, serve(old) as hanging:
        hanging.set_fault("*", Fault.HANG)
        world.repository.publish(3, b'{"level": 3}')
        world.base_urls = ["http://127.0.0.1:9", stale.url, hanging.url, world.server.url]
        world.deadline_seconds = 2.0
        answer = world.poll()
        assert answer.base_url == world.server.url
        assert len(answer.index.levels) == 3
        world.base_urls = ["http://127.0.0.1:9", stale.url]
        with pytest.raises(RolledBackError):  # distrust is said before silence
            world.poll()


def test_a_mirror_that_is_only_slow_is_waited_for_while_it_is_the_only_one(world: World) -> None:
    """Two hundred milliseconds for each byte's turn would be an attack; a slow line is not."""
    world.window_seconds = 1.0
    world.server.set_fault("/metadata/timestamp.json", Fault.TRICKLE, step_seconds=0.001)
    world.deadline_seconds = 20
    assert world.poll().changed


def test_a_mirror_that_is_only_slow_gets_no_more_than_its_share_of_the_time(world: World) -> None:
    with serve(world.repository.directory) as slow:
        slow.set_fault("*", Fault.TRICKLE, step_seconds=0.05)
        world.base_urls = [slow.url, world.server.url]
        world.deadline_seconds = 1.0
        answer = world.poll()
    assert answer.base_url == world.server.url


def test_what_was_distrusted_is_said_before_what_was_silent(world: World) -> None:
    other = SimulatedRepository(world.path / "other")
    with serve(other.directory) as liar:
        world.base_urls = ["http://127.0.0.1:9", liar.url]
        with pytest.raises(SignatureError):
            world.poll()
