"""An emptied, truncated, damaged or restored cache: the device forgets what it has seen."""

from __future__ import annotations

import shutil

import pytest
from attack_world import MANIFEST_1, World

from suture.core.errors import (
    RolledBackError,
)
from suture.trust.paths import manifest_path


def test_an_emptied_cache_does_not_accept_an_older_repository(world: World) -> None:
    old = world.snapshot("old")
    world.repository.publish(2, b'{"level": 2}')
    world.poll()
    world.empty_cache()
    world.server.directory = old
    with pytest.raises(RolledBackError, match="has seen version"):
        world.poll()
    assert [name for name in world.trusted_files() if "held" in name or "timestamp" in name] == []
    world.server.directory = world.repository.directory
    assert len(world.poll().index.levels) == 2


def test_a_trust_directory_restored_from_a_backup_is_noticed_when_the_server_is_frozen_too(world: World) -> None:
    old = world.snapshot("old")
    world.poll()
    shutil.copytree(world.trust, world.path / "backup")
    world.repository.publish(2, b'{"level": 2}')
    world.poll()
    world.empty_cache()
    shutil.copytree(world.path / "backup", world.trust)
    world.server.directory = old
    with pytest.raises(RolledBackError):
        world.poll()


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "junk"])
def test_a_damaged_trust_directory_is_fetched_anew(world: World, damage: str) -> None:
    before = world.poll()
    for path in sorted(world.trust.rglob("*.json")):
        honest = path.read_bytes()
        if damage == "remove":
            path.unlink()
        else:
            flipped = bytes([*honest[:-40], honest[-40] ^ 4, *honest[-39:]])
            path.write_bytes({"truncate": honest[: len(honest) // 2], "flip": flipped, "junk": b"\xff"}[damage])
        answer = world.poll()
        assert answer.index == before.index, path
        with world.client() as client:
            assert client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 1), 100) == MANIFEST_1, path
    world.repository.publish(2, b'{"level": 2}')
    assert len(world.poll().index.levels) == 2
