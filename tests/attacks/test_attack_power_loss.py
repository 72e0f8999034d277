"""Power loss and kill -9 between any two writes of a poll."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from attack_world import World

from suture.adapters import tuf_held, tuf_metadata
from suture.adapters.files import write_file
from suture.core.errors import (
    BusyError,
)


def test_what_a_killed_refresh_left_is_cleared(world: World) -> None:
    world.poll()
    (world.trust / ".refresh-abc" / "root_history").mkdir(parents=True)
    world.poll()
    assert not (world.trust / ".refresh-abc").exists()


def test_a_poll_that_changed_nothing_writes_nothing(world: World) -> None:
    world.poll()
    before = {path: path.stat().st_mtime_ns for path in world.trust.rglob("*") if path.is_file()}
    world.poll()
    assert before == {path: path.stat().st_mtime_ns for path in world.trust.rglob("*") if path.is_file()}


class Killed(BaseException):
    """Stands for kill -9 between two writes."""


@pytest.mark.parametrize("how", ["first poll", "later poll"])
def test_a_process_killed_between_any_two_writes_leaves_a_directory_that_heals(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "later poll":
        world.poll()
    world.repository.rotate_root("timestamp")
    world.repository.publish(2, b'{"level": 2}')
    real = write_file
    shutil.copytree(world.trust, world.path / "start") if world.trust.exists() else None
    for survives in range(50):
        if world.trust.exists():
            world.empty_cache()
        if (world.path / "start").exists():
            shutil.copytree(world.path / "start", world.trust)
        left = survives

        def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            real(path, data, mode=mode)

        for module in (tuf_held, tuf_metadata):
            monkeypatch.setattr(module, "write_file", write)
        try:
            world.poll()
            assert survives >= 6
            return
        except Killed:
            for module in (tuf_held, tuf_metadata):
                monkeypatch.setattr(module, "write_file", real)
            assert len(world.poll().index.levels) == 2
            assert not world.poll().changed
    pytest.fail("it never came to an end")


def test_two_polls_at_once_are_refused(world: World) -> None:
    import fcntl

    world.poll()
    with (world.trust / "lock").open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BusyError):
            world.poll()
