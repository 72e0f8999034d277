"""Crashes of real units after a level: taken back, tried again, and never the attacker's tool."""

from __future__ import annotations

import contextlib

import pytest
from booted_container import wait_until
from unit_world import UnitWorld

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("systemd"),
]


@pytest.fixture
def mortal(world: UnitWorld) -> UnitWorld:
    """A unit that systemd starts again when it crashes."""
    text = "[Service]\nRestart=on-failure\nRestartSec=20ms\n"
    world.container.write("/etc/systemd/system/darkroom.service.d/again.conf", text)
    world.container.run("systemctl", "daemon-reload")
    world.publish_unit(1, "1.1")
    world.suture("agent", "once")
    world.wait_for_level(1)
    return world


def crash(world: UnitWorld, times: int) -> None:
    """What anybody may do who can reach the socket."""
    for _ in range(times):
        before = int(world.container.show("darkroom.service", "NRestarts"))
        with contextlib.suppress(OSError), world.connect() as connection:
            connection.sendall(b"die\n")
            connection.recv(10)
        wait_until(lambda: int(world.container.show("darkroom.service", "NRestarts")) > before, "the crash")  # noqa: B023
    wait_until(lambda: world.container.show("darkroom.service", "ActiveState") == "active", "the unit")


def codes(world: UnitWorld) -> set[str]:
    return {reason["code"] for reason in world.product()["why"]}


def test_a_unit_that_crashes_since_the_level_takes_it_back_for_a_while(mortal: UnitWorld) -> None:
    mortal.publish_unit(2, "mortal")
    mortal.suture("agent", "once")
    mortal.wait_for_level(2)
    crash(mortal, 1)
    mortal.suture("agent", "once")
    assert mortal.product()["level"] == 2, "once may be chance"
    crash(mortal, 1)
    mortal.suture("agent", "once")
    assert mortal.ask_unit()[0] == "1.1"
    product = mortal.product()
    assert (product["level"], product["levels"][-1]["state"], product["levels"][-1]["reason"]) == (
        1, "rolled-back", "crashing",
    )  # fmt: skip
    assert {"re-exposed", "retry-later"} <= codes(mortal)
    assert "quarantined" not in codes(mortal)
    assert "re-exposed" in {row["event"] for row in mortal.suture("history")}


def test_an_exploited_hole_is_not_opened_again_by_whoever_can_crash_the_service(mortal: UnitWorld) -> None:
    mortal.publish_unit(2, "mortal", "--known-exploited")
    mortal.suture("agent", "once")
    mortal.wait_for_level(2)
    crash(mortal, 3)
    mortal.suture("agent", "once")
    assert mortal.product()["level"] == 2
    assert "crashing" in codes(mortal)
    mortal.suture("settings", "set", "crash-rollback", "on")
    mortal.suture("agent", "once")
    assert mortal.product()["level"] == 1, "unless somebody wants it so"
