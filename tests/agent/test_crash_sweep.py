"""kill -9 at every commit and step of every kind of transition, then recovery: the old level or the new one, whole."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from chain_world import ChainWorld, chain_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CHILD = """
import os, signal, sys
import suture.agent.executor as executor
from suture.cli.main import main
left = int(sys.argv[1])
def hook(point):
    global left
    left -= 1
    if left < 0:
        sys.stderr.write(point)
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
executor.FAULT_HOOK = hook
sys.exit(main(sys.argv[2:]))
"""

SEEN = {"1.0": "version 1.0", "1.1": "version 1.1", "1.2": "version 1.2", "broken": "version broken"}


class Sweep:
    """A world to which every try goes back."""

    def __init__(self, world: ChainWorld, keep: Path) -> None:
        self.world, self.keep = world, keep

    def freeze(self) -> None:
        shutil.copytree(self.world.device, self.keep, symlinks=True)

    def thaw(self) -> None:
        shutil.rmtree(self.world.device)
        shutil.copytree(self.keep, self.world.device, symlinks=True)

    def die_at(self, number: int, *words: str) -> str | None:
        """Run a command that is killed at its `number`-th point: the point's name, or None where it ended first."""
        places = ["--state-directory", str(self.world.state), "--configuration-directory", str(self.world.device / "e")]
        result = subprocess.run(
            [sys.executable, "-c", CHILD, str(number), *words, *places], capture_output=True, text=True, check=False
        )
        if result.returncode == -9:
            return result.stderr.rsplit("\n", 1)[-1]
        assert "Traceback" not in result.stderr
        return None

    def whole(self) -> str:
        """Which version programs see; fails where they see a mixture."""
        root = self.world.pointer.resolve()
        seen = (root / "imaging/notes.txt").read_text().strip()
        flavour = next(name for name, text in SEEN.items() if text == seen)
        body = bytes(range(256)) * 64
        assert (root / "imaging/lib/engine.so").read_bytes() == body + flavour.encode() + body
        assert (root / "imaging/lib/added.txt").exists() == (flavour != "1.0")
        assert (root / "codec/notes.txt").read_text() == "version 1.0\n"
        return flavour


def sweep(tmp_path: Path, prepare: Callable[[ChainWorld], None], words: tuple[str, ...], final: str) -> int:
    """Kill at point 0, 1, 2 … until the command ends by itself; recover each time. Returns the number of points."""
    with chain_world() as world:
        world.publish(1, "1.1")
        world.suture("agent", "once")
        prepare(world)
        tries = Sweep(world, tmp_path / "kept")
        tries.freeze()
        number = 0
        while (point := tries.die_at(number, *words)) is not None:
            crashed = tries.whole()
            assert crashed in ("1.0", "1.1", "1.2", "broken"), point
            world.suture("agent", "once", expect=None)
            if words[0] == "remove" and tries.whole() == "1.1":
                world.suture(*words)  # killed before anything was journalled: the request itself is lost, nothing else
            assert tries.whole() == final, f"after a crash at {point} ({number})"
            product = world.product()
            assert not [reason for reason in product["why"] if reason["code"] == "in-progress"], point
            assert product["effective"], (point, product["why"])
            assert not list(world.state.rglob("*.new")), point
            tries.thaw()
            number += 1
        assert tries.whole() == final
    print(f"{number} points")
    return number


def test_killed_at_every_point_of_an_install(tmp_path: Path) -> None:
    points = sweep(tmp_path, lambda world: world.publish(2, "1.2"), ("agent", "once"), "1.2")
    assert points >= 15


def test_killed_at_every_point_of_a_removal(tmp_path: Path) -> None:
    points = sweep(tmp_path, lambda _: None, ("remove", "darkroom"), "1.0")
    assert points >= 8


def test_killed_at_every_point_of_a_roll_back(tmp_path: Path) -> None:
    points = sweep(tmp_path, lambda world: world.publish(2, "broken"), ("agent", "once"), "1.1")
    assert points >= 20


def test_killed_at_every_point_of_a_recall(tmp_path: Path) -> None:
    def recall(world: ChainWorld) -> None:
        world.publisher("recall", "1", "--reason", "bad")

    points = sweep(tmp_path, recall, ("agent", "once"), "1.0")
    assert points >= 8
