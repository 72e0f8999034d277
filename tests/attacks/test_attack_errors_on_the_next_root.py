"""HTTP 500 on the next root: a server that hides a new root behind an error, so that revoked keys live on."""

from __future__ import annotations

import pytest
from attack_world import MANIFEST_2, World

from suture.core.errors import SignatureError, UnreachableError
from suture.testing.http_server import Fault


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.TRUNCATED, Fault.REDIRECT])
def test_only_not_found_means_that_there_is_no_newer_root(world: World, fault: Fault) -> None:
    world.poll()
    world.repository.rotate_root("timestamp", "snapshot")
    world.server.set_fault("/metadata/2.root.json", fault)
    with pytest.raises(UnreachableError):
        world.poll()
    assert world.root_version() == 1
    world.server.clear_faults()
    assert world.poll().changed
    assert world.root_version() == 2


def test_a_hidden_root_ends_with_an_error_even_where_the_old_keys_still_sign(world: World) -> None:
    """The thief of the old online key signs on; while 2.root.json fails, nothing of his is believed."""
    world.poll()
    old = world.repository.signers["timestamp"]
    world.repository.rotate_root("timestamp", "snapshot")
    world.repository.signers["timestamp"] = world.repository.signers["snapshot"] = old
    world.repository.publish(2, MANIFEST_2)
    world.server.set_fault("/metadata/2.root.json", Fault.SERVER_ERROR)
    with pytest.raises(UnreachableError):
        world.poll()
    world.server.clear_faults()
    with pytest.raises(SignatureError):
        world.poll()


def test_a_404_in_the_place_of_a_new_root_is_a_freeze_that_its_timestamp_ends(world: World) -> None:
    world.poll()
    world.repository.rotate_root("timestamp", "snapshot")
    world.server.set_fault("/metadata/2.root.json", Fault.NOT_FOUND)
    with pytest.raises(SignatureError):
        world.poll()
