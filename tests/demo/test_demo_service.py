"""The thumbnail service and its clients, by themselves: no request is lost at a hand-over, no broken tree gets ready.

The stage is real: wheels from the package index (build/demo/wheels is the cache), processes and connections.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from suture.core.errors import SutureError
from suture.demo import stage as stages
from suture.demo import wheels
from suture.demo.commands import suture_command
from suture.demo.load import in_flight_at, read_requests
from suture.demo.outside import ask, ask_versions, digest_of_tree, mapped_files, service_pids
from suture.demo.pairs import running_pair
from suture.demo.processes import Processes
from suture.demo.stage import Stage

CACHE = Path(__file__).parents[2] / "build/demo/wheels"
PAIR = running_pair()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage with both trees, the installed product and the pictures."""
    made = stages.clear_stage(tmp_path / "out")
    try:
        stages.make_trees(made, *wheels.fetch_wheels(PAIR, CACHE))
    except SutureError as error:
        pytest.fail(f"the demo's wheels are not to be had: {error.message}")
    stages.install_product(made)
    stages.make_pictures(made)
    return made


@pytest.fixture
def processes(stage: Stage) -> Iterator[Processes]:
    """The demo's processes, all of them ended after the test."""
    started = Processes(stage.logs, stage.environment())
    try:
        yield started
    finally:
        for name in list(started.running):
            started.stop(name)


def supervise(stage: Stage, processes: Processes) -> None:
    """Start the service under `suture supervise` on the stage's pointer."""
    words: list[str | Path] = [suture_command(), "supervise", "--name", "thumbnails", "--pointer", stage.pointer]
    words += ["--listen", f"127.0.0.1:{stage.service_port}", "--", *stages.service_command(stage)]
    processes.start("service", words)
    wait_for(lambda: said(stage).get("generation") == 1)


def said(stage: Stage) -> dict[str, object]:
    """What the supervisor says of itself."""
    path = stage.state / "run/supervised/thumbnails.json"
    with contextlib.suppress(OSError):
        return dict(json.loads(path.read_bytes()))
    return {}


def wait_for(holds: object, seconds: float = 30) -> None:
    """Poll until `holds()`."""
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)


def point_at(stage: Stage, root: Path) -> None:
    """Swap the pointer as an installer would."""
    fresh = stage.pointer.with_name("current.new")
    fresh.symlink_to(root)
    fresh.rename(stage.pointer)


def tree(stage: Stage, name: str) -> Path:
    """A product root with one of the publisher's trees as its component."""
    root = stage.out / "device/roots" / name
    shutil.copytree(stage.trees / name, root / stages.COMPONENT)
    return root


def hand_over(stage: Stage) -> str:
    """SIGHUP the supervisor and wait for the end of the try; its outcome."""
    before = said(stage)["generation"]
    os.kill(int(str(said(stage)["supervisor_pid"])), signal.SIGHUP)
    wait_for(lambda: said(stage)["generation"] != before)
    return str(said(stage)["outcome"])


@pytest.mark.slow
def test_hand_overs_under_load_lose_no_request(stage: Stage, processes: Processes) -> None:
    supervise(stage, processes)
    roots = [tree(stage, "new"), stage.baseline]
    words: list[str | Path] = [sys.executable, "-m", "suture.demo.load", "--port", str(stage.service_port)]
    words += ["--expectations", stage.expectations, "--record", stage.requests, "--rate", "80"]
    processes.start("load", words)
    moments = []
    for number in range(6):
        already = len(read_requests(stage.requests))
        wait_for(lambda already=already: len(read_requests(stage.requests)) > already + 60)
        point_at(stage, roots[number % 2])
        moments.append(time.monotonic())
        assert hand_over(stage) == "ok"
        # What the old worker had accepted before its SIGTERM it still answers.
        new = (PAIR.new, PAIR.old)[number % 2]
        wait_for(lambda new=new: ask_versions(stage.service_port).pillow == new)
    assert processes.stop("load") == 0
    requests = read_requests(stage.requests)
    assert [request.reason for request in requests if not request.ok] == []
    assert len(requests) > 360
    assert all(in_flight_at(requests, moment) for moment in moments)
    assert {request.served_by.split()[0] for request in requests} == {f"pillow/{PAIR.old}", f"pillow/{PAIR.new}"}


@pytest.mark.slow
def test_a_tree_without_its_codec_never_gets_ready_and_the_old_worker_goes_on(
    stage: Stage, processes: Processes
) -> None:
    supervise(stage, processes)
    before = ask_versions(stage.service_port)
    point_at(stage, tree(stage, "bad"))
    assert hand_over(stage) == "failed"
    after = ask_versions(stage.service_port)
    assert (after.pillow, after.main_pid) == (PAIR.old, before.main_pid)
    assert ask(stage.service_port, "/health")[0] == 200
    assert "cannot decode the WEBP picture" in processes.running["service"].tail()


@pytest.mark.slow
def test_the_service_uses_only_its_own_root_writes_nothing_and_leaves_no_process(
    stage: Stage, processes: Processes
) -> None:
    digest = digest_of_tree(stage.baseline)
    supervise(stage, processes)
    versions = ask_versions(stage.service_port)
    pids = service_pids(versions.main_pid)
    assert len(pids) == 3
    for pid in pids[1:]:
        foreign = [path for path in mapped_files(pid) if "PIL" in path.parts or "site-packages" in path.parts]
        assert all(path.is_relative_to(stage.baseline.resolve()) for path in foreign)
    assert ask(stage.service_port, "/thumbnail/../../etc/passwd")[0] == 404
    assert ask(stage.service_port, "/thumbnail/0-crop0.jpg?size=x")[0] == 400
    assert processes.stop("service") == 0
    assert digest_of_tree(stage.baseline) == digest
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.slow
def test_wrong_pixels_and_refused_connections_are_failed_requests(stage: Stage, processes: Processes) -> None:
    supervise(stage, processes)
    about = json.loads(stage.expectations.read_text())
    about["pictures"]["0-crop0.png"]["thumbnails"]["64"] = "0" * 64
    forged = stage.out / "forged.json"
    forged.write_text(json.dumps(about))
    load = [sys.executable, "-m", "suture.demo.load", "--port", str(stage.service_port), "--rate", "400"]
    load += ["--expectations", str(forged), "--record", str(stage.requests), "--seconds", "3"]
    subprocess.run(load, check=True, timeout=60)
    wrong = [request for request in read_requests(stage.requests) if not request.ok]
    assert {(request.name, request.size, request.reason) for request in wrong} == {("0-crop0.png", 64, "other pixels")}
    processes.stop("service")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", stage.service_port)) != 0
    subprocess.run([*load[:-1], "0.3"], check=True, timeout=60)
    requests = read_requests(stage.requests)
    assert requests
    assert all(request.reason.startswith("ConnectionRefusedError") for request in requests)
