"""Fast-forward: a stolen online key signs version 2**31, so that devices refuse the honest publisher."""

from __future__ import annotations

import shutil

import pytest
from attack_world import World

from suture.core.errors import (
    SignatureError,
)
from suture.testing.http_server import Fault


def test_a_fast_forwarded_timestamp_is_healed_by_new_online_keys(world: World) -> None:
    world.poll()
    timestamp = world.repository.documents["timestamp"]
    timestamp.version = 2**31
    world.repository.refresh()
    world.poll()
    timestamp.version = 3
    world.repository.rotate_root("timestamp", "snapshot")
    assert world.poll().changed
    world.empty_cache()
    assert world.poll().changed, "the floor of the old keys is gone"


def test_a_stolen_fast_forward_replayed_after_the_rotation_poisons_no_floor(world: World) -> None:
    timestamp = world.repository.documents["timestamp"]
    honest = timestamp.version
    timestamp.version = 2**31
    world.repository.refresh()
    world.poll()
    stolen = (world.repository.directory / "metadata/timestamp.json").read_bytes()
    timestamp.version = honest
    world.repository.rotate_root("timestamp", "snapshot")
    (world.repository.directory / "metadata/timestamp.json").write_bytes(stolen)
    world.server.set_fault("/metadata/timestamp.json", Fault.WRONG_ETAG)
    shutil.rmtree(world.trust / "documents")  # so that the cheap answer is not enough
    with pytest.raises(SignatureError):
        world.poll()
    world.repository.refresh()
    assert world.poll().changed
