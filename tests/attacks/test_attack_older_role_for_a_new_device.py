"""An older unexpired role shown to a new device, which has seen nothing and holds no floor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from attack_world import MANIFEST_2, RELEASE, World

from suture.core.errors import ExpiredError, RepositoryError, RolledBackError, TrustError
from suture.trust.floors import Floors


def test_a_whole_older_repository_is_believed_only_while_its_timestamp_lives(world: World) -> None:
    """What no signature can prevent: it is what the publisher said some days ago. It ends with the timestamp."""
    old = world.snapshot("old")
    world.repository.publish(2, MANIFEST_2)
    world.server.directory = old
    assert len(world.poll().index.levels) == 1
    world.clock.moment = datetime.now(UTC) + timedelta(days=8)
    with pytest.raises(ExpiredError, match="timestamp"):
        world.poll()


def test_a_device_that_has_the_newest_once_never_goes_back(world: World) -> None:
    old = world.snapshot("old")
    world.repository.publish(2, MANIFEST_2)
    world.poll()
    world.server.directory = old
    with pytest.raises(RolledBackError):
        world.poll()


@pytest.mark.parametrize("role", [RELEASE, "targets", "snapshot", "root"])
def test_an_older_file_under_the_newest_timestamp_is_refused(world: World, role: str) -> None:
    """Without the online key: the older file is served under the newer one's name."""
    older = world.repository.metadata_file(role).read_bytes()
    world.repository.recall(1)
    world.repository.sign_again("targets")
    if role == "root":
        world.repository.rotate_root("timestamp")
    world.repository.metadata_file(role).write_bytes(older)
    with pytest.raises((RepositoryError, TrustError)):
        world.poll()
    assert "held.json" not in world.trusted_files()


def test_with_the_online_key_stolen_too_a_recall_can_be_hidden_from_new_devices_only(world: World) -> None:
    """The limit of what TUF gives: a new device has only the signatures. The log is for that (docs/threat-model.md)."""
    release = world.repository.documents[RELEASE]
    old_version = release.version
    world.repository.recall(1)
    newest = release.version
    known = world.poll()
    assert len(known.index.recalls) == 1
    release.version = old_version
    world.repository._write_online()
    with pytest.raises(RolledBackError):
        world.poll()
    world.empty_cache()
    with pytest.raises(RolledBackError, match="release-"):
        world.poll()
    world.empty_cache()
    world.floors = Floors()
    assert world.poll().index.recalls == ()
    # It ends when the publisher takes the key away: the first honest refresh brings the recall, for good.
    release.version = newest
    world.repository.rotate_root("timestamp", "snapshot")
    assert len(world.poll().index.recalls) == 1
