"""Restarts of real units: the contract of both ends, connections kept under load, reload, never-restart, preview."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from booted_container import BootedContainer
from unit_world import CannotBootError, Load, UnitWorld, talk, unit_world

from suture.agent.restarts.scan import ProcScanner

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("systemd"),
]
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def make_world() -> Iterator[Callable[..., UnitWorld]]:
    """A world whose product file says more."""
    with contextlib.ExitStack() as stack:

        def make(**product: Any) -> UnitWorld:
            try:
                return stack.enter_context(unit_world(**product))
            except CannotBootError as error:
                pytest.skip(f"cannot boot a systemd here: {error}")

        yield make


def test_the_restart_contract_holds_for_real_units(container: BootedContainer) -> None:
    """The tests of tests/agent that are skipped where no systemd runs."""
    words = [sys.executable, "-m", "pytest", "-q", "-m", "", "-k", "systemd and contract", "-p", "no:cacheprovider"]
    said = container.run(*words, "--rootdir", str(CHECKOUT), "-c", str(CHECKOUT / "pyproject.toml"),
                         str(CHECKOUT / "tests/agent/test_restart_systemd.py"), seconds=120)  # fmt: skip
    assert "6 passed" in said, said
    assert "skipped" not in said, said


def test_a_process_in_a_container_is_found_from_outside_and_is_no_unit_of_ours(world: UnitWorld) -> None:
    """The twelfth of the scanner's scored cases (tests/agent/test_scan_scored.py)."""
    process = int(world.container.show("darkroom.service", "MainPID"))
    scanner = ProcScanner(None)
    engine = world.baseline / "imaging/lib/engine.so"
    users = scanner.scan(scanner.old_files([], [engine], time.time())).users
    assert len(users) == 1
    assert f"NSpid:\t{users[0].pid}\t{process}\n" in Path(f"/proc/{users[0].pid}/status").read_text()
    belongs_to = users[0].belongs_to
    assert belongs_to is not None
    assert belongs_to.startswith(f"/{world.container.name}/"), "never the bare name of a unit that we might have too"
    assert belongs_to.endswith("/system.slice/darkroom.service")


def test_a_restart_under_load_fails_no_request_and_keeps_a_connection(world: UnitWorld) -> None:
    world.publish_unit(1, "1.1")
    with Load(world) as load:
        before = talk(load.kept)
        world.suture("agent", "once")
        world.wait_for_level(1)
        after = talk(load.kept)
    assert load.errors == []
    assert load.versions == {"1.0", "1.1"}
    assert (before[0], after[0]) == ("1.0", "1.1")
    assert before[1] != after[1], "the connection moved to the new process through the descriptor store"


def test_a_unit_that_reloads_keeps_its_process_and_runs_the_new_code(make_world: Callable[..., UnitWorld]) -> None:
    world = make_world(unit_ways={"darkroom.service": "reload"})
    before = world.ask_unit()
    world.publish_unit(1, "1.1")
    with Load(world) as load:
        world.suture("agent", "once")
        world.wait_for_level(1)
        assert talk(load.kept) == ("1.1", before[1])
    assert load.errors == []
    assert world.ask_unit() == ("1.1", before[1]), "the same process, the new code"
    assert world.container.show("darkroom.service", "NRestarts") == "0"


def test_a_reload_that_leaves_old_code_is_followed_by_a_restart(make_world: Callable[..., UnitWorld]) -> None:
    world = make_world(unit_ways={"darkroom.service": "reload"})
    world.container.write(
        "/etc/systemd/system/darkroom.service.d/lazy.conf", "[Service]\nExecReload=\nExecReload=/bin/true\n"
    )
    world.container.run("systemctl", "daemon-reload")
    before = world.ask_unit()
    world.publish_unit(1, "1.1")
    world.suture("agent", "once")
    world.wait_for_level(1)
    version, process = world.ask_unit()
    assert version == "1.1"
    assert process != before[1]


def test_a_unit_that_must_not_restart_holds_the_level_back_until_somebody_restarts_it(world: UnitWorld) -> None:
    policy = {"format": "suture-policy/1", "organisation": "Example", "never-restart": ["darkroom.service"]}
    world.container.write("/etc/suture/policy.json", json.dumps(policy))
    before = world.ask_unit()
    world.publish_unit(1, "1.1")
    world.suture("check", "darkroom")
    shown = world.suture("install", "darkroom", "--preview")
    assert (shown["restarts"], shown["never"]) == ([], ["darkroom.service"])
    assert {one["belongs_to"] for one in shown["others"]} == {"darkroom.service"}
    world.suture("agent", "once")
    assert world.ask_unit() == before
    product = world.product()
    assert (product["level"], product["state"], product["effective"]) == (1, "activating", False)
    assert {one["belongs_to"] for one in product["held_back_by"]} == {"darkroom.service"}
    assert product["open_cves"] != []
    world.container.run("systemctl", "restart", "darkroom.service")
    world.suture("agent", "once")
    world.wait_for_level(1)


def test_a_unit_that_its_new_code_failed_runs_again_after_the_roll_back(world: UnitWorld) -> None:
    world.container.run("systemctl", "disable", "--now", "darkroom.socket")
    world.container.run("systemctl", "start", "darkroom.service")
    world.publish_unit(1, "fails")
    world.suture("agent", "once")
    assert world.product()["level"] == 0
    assert world.container.show("darkroom.service", "ActiveState") == "active"


def test_a_level_that_needs_a_reboot_says_so_and_is_effective_after_it(world: UnitWorld) -> None:
    world.publish_unit(1, "1.1", "--restart-category", "machine")
    leader = world.container.leader
    world.suture("agent", "once")
    product = world.product()
    assert (product["level"], product["effective"]) == (1, False)
    assert "reboot-required" in {reason["code"] for reason in product["why"]}
    assert world.container.leader == leader
    assert world.ask_unit()[0] == "1.1", "what could restart has restarted"
    world.container.reboot()
    world.suture("agent", "once")
    world.wait_for_level(1)


def test_the_preview_says_what_will_restart_and_changes_nothing(world: UnitWorld) -> None:
    world.publish_unit(1, "1.1")
    world.suture("check", "darkroom")
    editor = subprocess.Popen(
        world.container.command("tail", "-f", f"{world.pointer}/imaging/lib/engine.so"), stdout=subprocess.DEVNULL
    )
    try:
        before = world.container.run("sh", "-c", "find /var/lib/suture -type f -newer /proc/1/cmdline | sort")
        process = world.ask_unit()
        kept = world.suture("status")
        shown = world.suture("install", "darkroom", "--preview")
        assert [(one["name"], one["kind"], one["way"], one["runs"]) for one in shown["restarts"]] == [
            ("darkroom.service", "unit", "try-restart", True)
        ]
        assert shown["restarts"][0]["last_milliseconds"] is None
        assert (shown["level"], shown["from_level"], shown["reboot"], shown["unknown"]) == (1, 0, False, 0)
        assert [one["name"] for one in shown["others"]] == ["tail"]
        assert world.ask_unit() == process
        assert world.suture("status") == kept
        assert world.container.run("sh", "-c", "find /var/lib/suture -type f -newer /proc/1/cmdline | sort") == before
        world.suture("install", "darkroom")
        world.publish_unit(2, "1.2")
        world.suture("check", "darkroom")
        assert world.suture("install", "darkroom", "--preview")["restarts"][0]["last_milliseconds"] > 0
    finally:
        world.container.run("pkill", "-x", "tail")
        editor.wait()


def test_evidence_is_kept_before_a_restart_for_an_exploited_cve_and_only_then(world: UnitWorld) -> None:
    world.suture("settings", "set", "capture", "on")
    world.publish_unit(1, "1.1")
    world.suture("agent", "once")
    assert world.container.try_run("test", "-e", "/var/lib/suture/evidence")[0] == 1, "nobody is known to exploit it"
    process = world.ask_unit()[1]
    world.publish_unit(2, "1.2", "--known-exploited")
    world.suture("agent", "once")
    world.wait_for_level(2)
    kept = world.container.run("sh", "-c", "cat /var/lib/suture/evidence/*/evidence.json")
    evidence = json.loads(kept)
    old = hashlib.sha256((world.root / "new-1/imaging/lib/engine.so").read_bytes()).hexdigest()
    assert (process, f"sha256:{old}") in {(one["pid"], one["digest"]) for one in evidence["mapped"]}
    assert "Started darkroom.service" in evidence["logs"]["darkroom.service"]
    assert world.container.run("stat", "--format=%a", "/var/lib/suture/evidence").strip() == "700"
