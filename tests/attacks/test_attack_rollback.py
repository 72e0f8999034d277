"""Rollback: an older repository, honestly signed once, is shown again (TUF specification §1.5.2)."""

from __future__ import annotations

import msgspec
import pytest
from attack_world import World

from suture.core.errors import (
    RolledBackError,
)


def test_a_replayed_older_timestamp_is_rolled_back(world: World) -> None:
    old = world.snapshot("old")
    world.repository.publish(2, b'{"level": 2}')
    newest = world.poll()
    world.server.directory = old
    with pytest.raises(RolledBackError):
        world.poll()
    world.server.directory = world.repository.directory
    assert world.poll().index == newest.index


def test_a_withdrawn_recall_is_rolled_back(world: World) -> None:
    world.repository.recall(1)
    world.poll()
    world.repository.index = msgspec.structs.replace(world.repository.index, recalls=())
    world.repository.release_documents()
    with pytest.raises(RolledBackError, match="recall of level 1"):
        world.poll()


def test_the_index_of_another_baseline_in_the_journal_is_left_aside(world: World) -> None:
    index = world.poll().index
    world.known_index = msgspec.structs.replace(index, baseline="0.9-x86_64", issued="2200-01-01T00:00:00Z")
    world.repository.publish(2, b'{"level": 2}')
    assert world.poll().changed
