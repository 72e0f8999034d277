"""The whole chain with the overlay graft, as root, in a private mount namespace: programs keep the product's paths."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chain_world import ChainWorld, chain_world
from mount_world import needs_mounts, private_mounts, unmount_below
from test_chain import fingerprint, level

from suture.adapters.mounts import mounts

pytestmark = [pytest.mark.slow, pytest.mark.root, needs_mounts]


class OverlayWorld(ChainWorld):
    """Programs read the baseline's own paths; there is no pointer."""

    def describe(self, file: Path) -> None:
        """Turn the product file into one with an overlay graft."""
        product: dict[str, Any] = json.loads(file.read_text())
        product["graft"] = "overlay"
        del product["pointer"]
        for command in product["commands"]:
            command["argv"][-1] = command["argv"][-1].replace(str(self.pointer), str(self.baseline))
        file.write_text(json.dumps(product))

    def publisher(self, command: str, *words: str, expect: int = 0) -> Any:
        """As the world's own."""
        if command == "init":
            self.describe(Path(words[words.index("--describe") + 1]))
        return super().publisher(command, *words, expect=expect)

    def visible(self, component: str = "imaging") -> str:
        """What a program sees at the component's own path."""
        return (self.baseline / component / "notes.txt").read_text().strip()

    def ours(self) -> list[str]:
        """Where something of ours is mounted in the baseline."""
        return [one.point for one in mounts() if one.point.startswith(str(self.baseline))]


@pytest.fixture
def world() -> Iterator[OverlayWorld]:
    with private_mounts(), chain_world(OverlayWorld) as made:
        assert isinstance(made, OverlayWorld)
        made.originals = made.root / "originals"
        shutil.copytree(made.baseline, made.originals, symlinks=True)
        try:
            yield made
        finally:
            unmount_below(made.root)


def test_install_effective_roll_back_recall_remove_baseline(world: OverlayWorld) -> None:
    before = fingerprint(world.baseline)
    world.publish(1, "1.1")
    world.suture("agent", "once")
    product = world.product()
    assert (product["level"], product["state"], product["effective"]) == (1, "effective", True)
    assert world.visible() == "version 1.1"
    assert (world.baseline / "imaging/lib/added.txt").read_bytes() == b"new\n"
    assert (world.baseline / "codec/notes.txt").read_text() == "version 1.0\n"
    world.publish(2, "broken")
    world.suture("agent", "once")
    assert world.visible() == "version 1.1"
    assert (level(world, 2)["state"], level(world, 2)["reason"]) == ("rolled-back", "health-failed")
    world.publish(3, "1.3", components=("imaging", "codec"))
    world.suture("agent", "once")
    assert world.visible("imaging") == world.visible("codec") == "version 1.3"
    assert world.product()["state"] == "effective"
    world.publisher("recall", "3", "--reason", "it eats pictures")
    world.suture("agent", "once")
    assert (world.visible("imaging"), world.visible("codec")) == ("version 1.1", "version 1.0")
    assert level(world, 3)["state"] == "recalled"
    world.suture("remove", "darkroom")
    product = world.product()
    assert (product["level"], product["state"]) == (0, "baseline")
    assert world.ours() == []
    assert fingerprint(world.baseline) == before
    world.suture("product", "remove", "darkroom")


def test_who_still_uses_old_files_is_found_under_overlay(world: OverlayWorld) -> None:
    holds = (
        "import mmap, sys\nf = open(sys.argv[1], 'rb')\nm = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\nf.close()"
    )
    engine = world.baseline / "imaging/lib/engine.so"

    def holder() -> subprocess.Popen[bytes]:
        script = f"{holds}\nsys.argv[1] = ''\nprint('ready', flush=True)\nsys.stdin.read()"
        process = subprocess.Popen(
            [sys.executable, "-c", script, os.path.relpath(engine, "/")],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def held_back_by() -> set[int]:
        return {one["pid"] for one in world.product()["held_back_by"]}

    with holder() as on_the_baseline:
        world.publish(1, "1.1")
        world.suture("agent", "once")
        assert (world.product()["state"], held_back_by()) == ("activating", {on_the_baseline.pid})
        with holder() as on_level_1:
            on_the_baseline.communicate()
            world.suture("agent", "once")
            assert (world.product()["state"], held_back_by()) == ("effective", set())
            world.publish(2, "1.2")
            world.suture("agent", "once")
            assert (world.product()["state"], held_back_by()) == ("activating", {on_level_1.pid})
            with holder() as on_level_2:
                on_level_1.communicate()
                world.suture("agent", "once")
                assert world.product()["state"] == "effective"
                world.suture("remove", "darkroom")
                assert held_back_by() == {on_level_2.pid}
                on_level_2.communicate()


def start_again(world: OverlayWorld) -> None:
    """What a restart of the machine does to mounts."""
    subprocess.run(["umount", "-l", str(world.state / "grafts")], check=True)
    for point in world.ours():
        subprocess.run(["umount", "-l", point], check=True)
    assert world.visible() == "version 1.0"


def test_after_a_start_the_grafts_are_made_again_and_proved_again(world: OverlayWorld) -> None:
    world.publish(1, "1.1", components=("imaging", "codec"))
    world.suture("agent", "once")
    start_again(world)
    world.stop_serving()
    world.suture("graft", "restore")
    assert world.visible("imaging") == world.visible("codec") == "version 1.1"
    assert (world.product()["level"], world.product()["state"]) == (1, "effective")
    assert [row["event"] for row in world.suture("history")].count("restore-done") == 1


def test_a_service_that_is_not_up_yet_does_not_cost_the_level_at_boot(world: OverlayWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    start_again(world)
    stored = world.state / "products/darkroom.json"
    stored.write_text(stored.read_text().replace("! grep -q broken", "false; false"))
    world.suture("graft", "restore")
    assert (world.visible(), world.product()["level"]) == ("version 1.1", 1)


def test_a_baseline_that_changed_while_the_machine_was_off_is_not_covered(world: OverlayWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    start_again(world)
    (world.baseline / "imaging/notes.txt").write_text("version 1.O\n")
    world.suture("graft", "restore")
    assert world.visible() == "version 1.O"
    assert (world.product()["level"], level(world, 1)["state"]) == (0, "rolled-back")


def test_one_file_keeps_every_graft_off_and_the_status_says_so(world: OverlayWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    start_again(world)
    (world.device / "etc").mkdir()
    (world.device / "etc/grafts-off").touch()
    said = world.suture("graft", "restore")["said"]
    assert "grafts are off" in said[0]
    world.suture("agent", "once")
    assert world.visible() == "version 1.0"
    assert (world.product()["level"], level(world, 1)["reason"]) == (0, "grafts-off")
    assert [one["cve"] for one in world.product()["open_cves"]] == ["CVE-2023-4863"]
    assert "every graft is kept off" in world.product()["settings"]["notes"][0]
    answer = world.suture("install", "darkroom", expect=None)
    assert world.visible() == "version 1.0", answer
    (world.device / "etc/grafts-off").unlink()
    world.suture("install", "darkroom")
    assert world.visible() == "version 1.1"


def test_the_kernels_command_line_keeps_every_graft_off(
    world: OverlayWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    words = tmp_path / "cmdline"
    words.write_text("root=/dev/vda1 suture.graft=off quiet\n")
    monkeypatch.setattr("suture.agent.grafts_off.KERNEL_COMMAND_LINE", words)
    world.suture("graft", "restore")
    assert (world.visible(), world.product()["level"]) == ("version 1.0", 0)


def test_a_product_with_a_level_in_place_is_not_forgotten(world: OverlayWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    world.suture("product", "remove", "darkroom", expect=10)
    assert world.visible() == "version 1.1"
