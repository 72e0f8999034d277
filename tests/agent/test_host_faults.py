"""The host fails under the agent: disk full, read-only, journal damaged. The device stays whole and says so."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_world import ChainWorld, chain_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")


@contextlib.contextmanager
def mounted(options: str, at: Path) -> Iterator[None]:
    """A tmpfs at `at` for as long as the block runs."""
    at.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {made.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


@pytest.fixture
def small_disk() -> Iterator[ChainWorld]:
    """A world whose state directory lies on a file system of 2 MiB."""
    with chain_world() as world:
        world.suture("product", "remove", "darkroom")
        world.pointer.unlink()
        with mounted("size=2m,mode=755", world.state):
            world.suture("product", "add", str(world.workshop / "product.json"))
            yield world


def fill(directory: Path) -> Path:
    """Leave no room at all."""
    filler = directory / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    return filler


def test_the_store_s_quota_holds_and_the_levels_in_use_stay() -> None:
    with chain_world() as world:
        world.publish(1, "1.1")
        world.suture("agent", "once")
        (world.baseline / "codec/big.bin").write_bytes(os.urandom(2 << 20))
        world.suture("settings", "set", "store-quota", "1MiB")
        world.publish(2, "1.2")
        world.suture("agent", "once")
        found = next(level for level in world.product()["levels"] if level["level"] == 2)
        assert (found["state"], found["reason"]) == ("failed", "disk-full")
        assert "quota" in found["detail"]
        assert world.visible() == "version 1.1"
        world.suture("settings", "set", "store-quota", "512MiB")
        world.suture("install", "darkroom")
        assert world.visible() == "version 1.2"


@pytest.mark.root
@needs_root
def test_a_full_disk_leaves_the_old_level_and_heals_when_there_is_room(small_disk: ChainWorld) -> None:
    world = small_disk
    world.publish(1, "1.1")
    world.suture("agent", "once")
    assert world.visible() == "version 1.1"
    world.publish(2, "1.2")
    filler = fill(world.state)
    world.suture("agent", "once", expect=None)
    assert world.visible() == "version 1.1"
    assert (world.pointer / "imaging/lib/engine.so").stat().st_size > 32_000
    filler.unlink()
    world.suture("install", "darkroom")
    assert world.visible() == "version 1.2"
    assert world.product()["effective"]


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("left_kib", [4, 16, 48, 96, 160])
def test_a_disk_that_fills_up_in_any_step_leaves_a_whole_level(small_disk: ChainWorld, left_kib: int) -> None:
    world = small_disk
    world.publish(1, "1.1")
    world.suture("agent", "once")
    world.publish(2, "1.2")
    filler = fill(world.state)
    os.truncate(filler, filler.stat().st_size - left_kib * 1024)
    world.suture("agent", "once", expect=None)
    seen = world.visible()
    assert seen in ("version 1.1", "version 1.2")
    body = bytes(range(256)) * 64
    flavour = seen.removeprefix("version ").encode()
    assert (world.pointer / "imaging/lib/engine.so").read_bytes() == body + flavour + body
    filler.unlink()
    world.suture("agent", "once", expect=None)
    if world.visible() != "version 1.2":
        world.suture("install", "darkroom")
    assert world.visible() == "version 1.2"


@pytest.mark.root
@needs_root
def test_a_state_directory_that_became_read_only_is_a_clear_error(small_disk: ChainWorld) -> None:
    world = small_disk
    world.publish(1, "1.1")
    world.suture("agent", "once")
    subprocess.run(["mount", "-o", "remount,ro", str(world.state)], check=True)
    for words in (("remove", "darkroom"), ("check", "darkroom"), ("agent", "once")):
        answer = world.suture(*words, expect=62)
        assert isinstance(answer, list) or answer["error"]["code"] == "read-only"
    assert world.visible() == "version 1.1"
    assert world.suture("status")["products"][0]["level"] == 1, "what anyone may read can still be read"
    subprocess.run(["mount", "-o", "remount,rw", str(world.state)], check=True)
    world.suture("remove", "darkroom")
    assert world.visible() == "version 1.0"


def test_a_damaged_journal_is_a_clear_error_and_the_level_stays() -> None:
    with chain_world() as world:
        world.publish(1, "1.1")
        world.suture("agent", "once")
        for extra in ("-wal", "-shm"):
            (world.state / f"journal.sqlite3{extra}").unlink(missing_ok=True)
        (world.state / "journal.sqlite3").write_bytes(b"this is no journal" * 500)
        answer = world.suture("remove", "darkroom", expect=63)
        assert answer["error"]["code"] == "bad-journal"
        assert world.visible() == "version 1.1"


def test_a_store_that_somebody_changed_is_not_grafted() -> None:
    with chain_world() as world:
        world.publish(1, "1.1")
        world.suture("agent", "once")
        world.publish(2, "1.2")
        world.suture("agent", "once")
        changed = world.state / "store/darkroom/1.0-x86_64/1/tree/imaging/notes.txt"
        changed.chmod(0o644)
        changed.write_text("version evil\n")
        world.suture("remove", "darkroom", "--to", "a", expect=None)
        assert world.visible() == "version 1.0"
        assert world.product()["effective"]
