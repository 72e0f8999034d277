"""Freeze: a server, or who stands before it, holds back everything new (TUF specification §1.5.2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from attack_world import RELEASE, World

from suture.core.errors import (
    ExpiredError,
)
from suture.testing.http_server import Fault
from suture.trust.paths import manifest_path


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", RELEASE])
def test_an_expired_role_is_expired_and_heals_when_it_is_signed_again(world: World, role: str) -> None:
    before = world.poll()
    if role == "root":
        world.repository.lifetimes["root"] = timedelta(hours=-1)
        world.repository.rotate_root()
    else:
        world.repository.expire(role)
    with pytest.raises(ExpiredError) as caught:
        world.poll()
    assert role in caught.value.message
    world.repository.lifetimes[role] = timedelta(days=30)
    world.repository.rotate_root() if role == "root" else world.repository.sign_again(role)
    assert world.poll().index == before.index


def test_a_frozen_mirror_that_sends_the_same_bytes_is_the_same_freeze(world: World) -> None:
    world.poll()
    world.server.set_fault("/metadata/timestamp.json", Fault.WRONG_ETAG)
    assert not world.poll().changed
    assert world.server.log[-1].status == 200, "the bytes were compared"
    world.clock.moment = datetime.now(UTC) + timedelta(days=8)
    with pytest.raises(ExpiredError):
        world.poll()


def test_what_expired_since_the_poll_is_not_fetched(world: World) -> None:
    with world.client() as client:
        client.poll()
        world.clock.moment = datetime.now(UTC) + timedelta(days=8)
        with pytest.raises(ExpiredError):
            client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 1), 100)
