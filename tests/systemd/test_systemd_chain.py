"""The whole chain with real units: background install by timer, restart, reboot, health, removal."""

from __future__ import annotations

import pytest
from booted_container import wait_until
from unit_world import UnitWorld

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("systemd"),
]


def level(world: UnitWorld, number: int) -> dict[str, object]:
    return next(one for one in world.product()["levels"] if one["level"] == number)


def install_units(world: UnitWorld) -> None:
    """What `suture agent units` prints, where it says, and the timer's interval cut short by a drop-in."""
    for path, text in world.suture("agent", "units").items():
        world.container.write(path, text)
    world.container.write(
        "/etc/systemd/system/suture-look.timer.d/soon.conf",
        "[Timer]\nOnBootSec=\nOnBootSec=1s\nOnUnitActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=10ms\n",
    )
    world.container.run("systemctl", "daemon-reload")


def test_the_whole_chain_by_timer_through_reboots_health_and_removal(world: UnitWorld) -> None:
    install_units(world)
    assert world.ask_unit()[0] == "1.0"
    world.publish_unit(1, "1.1")
    world.container.run("systemctl", "enable", "--now", "suture-look.timer")
    world.wait_for_level(1)
    version, process = world.ask_unit()
    assert version == "1.1"
    assert process == int(world.container.show("darkroom.service", "MainPID"))
    assert world.container.show("suture-look.service", "Result") == "success"

    world.container.reboot()
    assert world.ask_unit()[0] == "1.1", "still in place after an orderly reboot"
    world.container.power_cut()
    world.container.boot()
    assert world.ask_unit()[0] == "1.1", "and after a power cut"
    world.wait_for_level(1)

    world.publish_unit(2, "broken")
    wait_until(lambda: world.product()["levels"][-1]["state"] == "rolled-back", "the roll-back of a broken level")
    assert level(world, 2)["reason"] == "health-failed"
    world.wait_for_level(1)
    assert world.ask_unit()[0] == "1.1"

    world.container.run("systemctl", "stop", "suture-look.timer")
    world.suture("remove", "darkroom")
    assert world.ask_unit()[0] == "1.0"
    assert world.product()["level"] == 0
    assert world.product()["held_back_by"] == []


def test_the_agent_as_a_service_installs_by_itself_and_survives_a_power_cut(world: UnitWorld) -> None:
    install_units(world)
    world.suture("settings", "set", "poll-interval", "1s")
    world.container.run("systemctl", "enable", "--now", "suture-agent.service")
    world.publish_unit(1, "1.1")
    world.wait_for_level(1)
    assert world.ask_unit()[0] == "1.1"
    world.container.power_cut()
    world.container.boot()
    world.publish_unit(2, "1.2")
    world.wait_for_level(2)
    assert world.ask_unit()[0] == "1.2"
    assert world.container.show("suture-agent.service", "NRestarts") == "0"


def test_new_code_that_does_not_start_is_rolled_back_and_the_service_goes_on(world: UnitWorld) -> None:
    world.publish_unit(1, "fails")
    world.suture("agent", "once")
    assert (level(world, 1)["state"], level(world, 1)["reason"]) == ("rolled-back", "health-failed")
    assert world.ask_unit()[0] == "1.0"
