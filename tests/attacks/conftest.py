"""The world of every attack."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from attack_world import World

sys.path.insert(0, str(Path(__file__).parents[1] / "agent"))  # chain_world: a whole vendor and a whole device


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.server:
        yield made
    with suppress(FileNotFoundError):
        assert not [path for path in made.trust.iterdir() if path.name.startswith(".refresh-")]
