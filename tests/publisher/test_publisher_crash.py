"""``kill -9`` before every change of the file system, then a poll, then the same command again: the same result."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from publisher_workshop import IDENTITY, Bench, Device, serving, snapshot, write_tree

from suture.cli.main import main

CHILD = Path(__file__).with_name("publisher_crash_child.py")
WRITTEN_ONCE = re.compile(r"metadata/\d+\.|targets/.*/[0-9a-f]{64}\.")
MAXIMUM_STEPS = 500


def killed_at(step: int, workshop: Path, words: list[str]) -> bool:
    """Run a command in a child that dies at a step; False where it ended before that."""
    child = subprocess.run(
        [sys.executable, str(CHILD), str(step), str(workshop), *words], check=False, stdout=subprocess.DEVNULL
    )
    assert child.returncode in (0, -signal.SIGKILL), child
    return child.returncode != 0


def written_once(workshop: Path) -> dict[str, tuple[int, str]]:
    """The published files that may never get a second content."""
    return {path: what for path, what in snapshot(workshop).items() if WRITTEN_ONCE.search(path)}


def sweep(bench: Bench, words: list[str], levels: tuple[list[int], list[int]]) -> int:
    """Kill a command at every step, on a fresh copy each; how many steps it has.

    Args:
        bench: its workshop is the state before the command.
        words: the command, without the workshop.
        levels: what a client sees in the index before and after.
    """
    base, trusted = bench.root / "base", bench.root / "trusted"
    shutil.copytree(bench.workshop, base, symlinks=True)
    Device(trusted, base / "repository").levels()
    command = ["publisher", words[0], str(bench.workshop), *words[1:]]
    for step in range(1, MAXIMUM_STEPS):
        shutil.rmtree(bench.workshop)
        shutil.copytree(base, bench.workshop, symlinks=True)
        device_directory = bench.root / f"device-{step}"
        shutil.copytree(trusted, device_directory, symlinks=True)
        killed = killed_at(step, bench.workshop, command)
        once = written_once(bench.workshop)
        shutil.rmtree(device_directory / "targets")
        device = Device(device_directory, bench.workshop / "repository")
        assert device.levels() in levels, step
        assert bench.run("status").code == 0, step
        assert main(command) == 0, step
        assert device.levels() == levels[1], step
        after = written_once(bench.workshop)
        assert {path: after[path] for path in once} == once, step
        left = {path.name for path in bench.workshop.iterdir()}
        assert left == {"keys", "lock", "product.json", "repository", "staging", "workshop.json"}, step
        if not killed:
            return step - 1
    raise AssertionError("the command never ended")


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """A bench with an initialised workshop and a built level."""
    bench = Bench(tmp_path, capsys)
    bench.init()
    bench.build("--no-full-size")
    return bench


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_every_step_of_a_first_release(bench: Bench) -> None:
    assert sweep(bench, ["release", "1", *bench.passphrases], ([], [1])) > 30


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_every_step_of_a_recall(bench: Bench) -> None:
    bench.release(1)
    words = ["recall", "1", "--reason", "bad", *bench.passphrases]
    assert sweep(bench, words, ([1], [1])) > 15
    assert bench.client("last").index()["recalls"][0]["level"] == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_every_step_of_an_online_refresh(bench: Bench) -> None:
    bench.release(1)
    assert sweep(bench, ["refresh", "--force", *bench.online], ([1], [1])) > 10


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_every_step_of_a_build(bench: Bench) -> None:
    bench.release(1)
    third = bench.root / "third"
    write_tree(third, version=3)
    words = bench.build_words("--level", "2", "--no-full-size", new=third)
    assert sweep(bench, ["build", *words], ([1], [1])) > 12
    assert (bench.workshop / "staging" / IDENTITY / "2" / "manifest.json").is_file()
    assert not list((bench.workshop / "staging").rglob(".*"))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["targets", "online"])
def test_a_poll_between_any_two_steps_of_a_rotation_verifies(bench: Bench, role: str) -> None:
    bench.release(1)
    base, trusted = bench.root / "base", bench.root / "trusted"
    shutil.copytree(bench.workshop, base, symlinks=True)
    Device(trusted, base / "repository").levels()
    command = ["publisher", "keys", "rotate", str(bench.workshop), role, *bench.passphrases]
    for step in range(1, MAXIMUM_STEPS):
        shutil.rmtree(bench.workshop)
        shutil.copytree(base, bench.workshop, symlinks=True)
        device_directory = bench.root / f"device-{step}"
        shutil.copytree(trusted, device_directory, symlinks=True)
        killed = killed_at(step, bench.workshop, command)
        shutil.rmtree(device_directory / "targets")
        device = Device(device_directory, bench.workshop / "repository")
        assert device.levels() == [1], step
        assert bench.run("refresh", "--force", *bench.online).code == 0, step
        assert device.levels() == [1], step
        if not killed:
            return
    raise AssertionError("the rotation never ended")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_init_killed_at_every_step_leaves_nothing_or_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(tmp_path, capsys)
    words = ["--describe", str(bench.description), *bench.passphrases]
    command = ["publisher", "init", str(bench.workshop), *words]
    for step in range(1, MAXIMUM_STEPS):
        killed = killed_at(step, tmp_path, command)
        if bench.workshop.exists():
            assert bench.run("status").code == 0
            shutil.rmtree(bench.workshop)
        bench.init()
        assert bench.client(f"device-{step}").levels() == []
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
        shutil.rmtree(bench.workshop)
        if not killed:
            assert step > 20
            return
    raise AssertionError("init never ended")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_client_that_polls_all_the_time_never_sees_a_mixture(bench: Bench) -> None:
    bench.release(1)
    stop, failures = threading.Event(), list[str]()
    polls: tuple[list[int], list[int]] = ([], [])

    def poll(number: int, url: str) -> None:
        device = bench.client(f"poller-{number}")
        device.base, device.fetcher = url, None
        while not stop.is_set():
            try:
                levels = device.levels()
                device.rollout()
                polls[number].append(max(levels))
            except Exception as error:  # noqa: BLE001 - whatever it is, the poll failed
                failures.append(repr(error))

    with serving(bench) as (url, _):
        threads = [threading.Thread(target=poll, args=(number, url)) for number in range(2)]
        for thread in threads:
            thread.start()
        try:
            for level in (2, 3, 4):
                tree = bench.root / f"tree-{level}"
                write_tree(tree, version=level + 1)
                bench.build("--no-full-size", cve=f"CVE-2024-000{level}", new=tree)
                bench.release(level)
                bench.good("rollout", str(level), "--permille", "1", *bench.online)
                bench.good("keys rotate", ("online", "targets", "release")[level - 2], *bench.passphrases)
                bench.good("refresh", "--force", "--offline", *bench.passphrases)
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)
    assert failures == []
    for seen in polls:
        assert len(seen) > 2
        assert seen == sorted(seen)


@pytest.mark.slow
def test_a_version_never_gets_a_second_content(bench: Bench) -> None:
    bench.release(1)
    workshop = bench.workshop
    command = ["publisher", "refresh", str(workshop), "--force", *bench.online]
    step = 1
    while not (workshop / "publication").is_dir():
        assert killed_at(step, workshop, command)
        step += 1
    foreign = workshop / "repository" / "metadata" / "3.snapshot.json"
    assert not foreign.exists()
    foreign.write_bytes(b"{}")
    assert bench.good("status")["unfinished"]
    bench.refused("refresh", *bench.online, code="digest-mismatch", exit_code=43)
    assert foreign.read_bytes() == b"{}"
    foreign.unlink()
    assert bench.good("refresh", *bench.online)["changed"] is False
    assert not bench.good("status")["unfinished"]
    assert bench.client().updater().get_targetinfo("nothing") is None
