"""Mix and match: files of different versions put together (TUF specification §1.5.2)."""

from __future__ import annotations

import pytest
from attack_world import RELEASE, World

from suture.core.errors import (
    RepositoryError,
    RolledBackError,
)


def test_mixed_versions_do_not_pass(world: World) -> None:
    world.poll()
    old_snapshot = world.repository.metadata_file("snapshot").read_bytes()
    world.repository.publish(2, b'{"level": 2}')
    world.repository.metadata_file("snapshot").write_bytes(old_snapshot)
    with pytest.raises(RepositoryError):
        world.poll()


def test_an_older_release_role_in_a_newer_snapshot_does_not_pass(world: World) -> None:
    """What a stolen online key could do: hide a recall by listing the release role as it was."""
    release = world.repository.documents[RELEASE]
    old_version = release.version
    world.repository.recall(1)
    world.poll()
    release.version = old_version
    world.repository._write_online()
    with pytest.raises(RolledBackError):
        world.poll()
    world.empty_cache()
    with pytest.raises(RolledBackError, match="release-"):
        world.poll()
