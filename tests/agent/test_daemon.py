"""The agent as a real process: it finds and installs by itself, obeys signals, survives kill -9, and is alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chain_world import ChainWorld, chain_world

from suture.adapters.files import exclusive_lock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


class RunningAgent:
    """`suture agent run` on the world's device, its log in a file."""

    def __init__(self, world: ChainWorld, log: Path, prefix: tuple[str, ...] = ()) -> None:
        self.log = log
        places = ["--state-directory", str(world.state), "--configuration-directory", str(world.device / "etc")]
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "suture", "agent", "run", *places], stdout=out, stderr=out
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@pytest.fixture
def world() -> Iterator[ChainWorld]:
    with chain_world() as made:
        made.suture("settings", "set", "poll-interval", "1s")
        yield made


@pytest.fixture
def start(world: ChainWorld, tmp_path: Path) -> Iterator[Callable[..., RunningAgent]]:
    agents: list[RunningAgent] = []

    def begin(*prefix: str) -> RunningAgent:
        agents.append(RunningAgent(world, tmp_path / f"agent-{len(agents)}.log", prefix))
        return agents[-1]

    yield begin
    for agent in agents:
        agent.process.kill()
        agent.process.wait()
        print(agent.log.read_text())


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait on a real event, looking every 50 ms."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)


def is_in_place(world: ChainWorld, level: int) -> Callable[[], bool]:
    return lambda: world.product()["level"] == level and bool(world.product()["effective"])


def test_the_agent_finds_and_installs_by_itself_and_ends_on_sigterm(
    world: ChainWorld, start: Callable[..., RunningAgent]
) -> None:
    agent = start()
    world.publish(1, "1.1")
    wait_for(is_in_place(world, 1), "level 1")
    assert world.visible() == "version 1.1"
    status = world.suture("status")
    assert status["agent_running"] is True
    assert status["products"][0]["measurements"]["poll_to_effective_seconds"] < 60
    assert agent.stop() == 0
    assert world.suture("status")["agent_running"] is False


def test_a_second_agent_is_refused_and_the_first_goes_on(world: ChainWorld, start: Callable[..., RunningAgent]) -> None:
    first = start()
    wait_for(lambda: world.suture("status")["agent_running"], "the first agent")
    second = start()
    assert second.process.wait(timeout=30) == 11
    assert "second agent" in second.log.read_text()
    assert first.process.poll() is None


def test_killed_again_and_again_it_always_ends_on_a_whole_level(
    world: ChainWorld, start: Callable[..., RunningAgent]
) -> None:
    world.publish(1, "1.1")
    for number in range(2, 8):
        agent = start()
        wait_for(lambda: "agent runs" in agent.log.read_text(), "the agent")  # noqa: B023 - called at once
        world.publish(number, f"1.{number}")
        time.sleep(0.35 * (number % 4))
        agent.stop(signal.SIGKILL)
        assert world.visible() in {"version 1.0", "version 1.1", *(f"version 1.{n}" for n in range(2, number + 1))}
    start()
    wait_for(is_in_place(world, 7), "the last level")
    assert world.visible() == "version 1.7"


def test_a_removal_wins_over_a_running_agent(world: ChainWorld, start: Callable[..., RunningAgent]) -> None:
    world.publish(1, "1.1")
    start()
    wait_for(is_in_place(world, 1), "level 1")
    world.suture("remove", "darkroom")
    time.sleep(2.5)
    assert world.visible() == "version 1.0"
    assert world.product()["level"] == 0


def test_a_setting_takes_effect_in_a_running_agent(world: ChainWorld, start: Callable[..., RunningAgent]) -> None:
    start()
    wait_for(lambda: world.suture("status")["agent_running"], "the agent")
    world.suture("settings", "set", "automatic-install", "off")
    world.publish(1, "1.1")
    wait_for(lambda: bool(world.product()["levels"]), "the offer")
    assert world.visible() == "version 1.0"
    world.suture("settings", "set", "automatic-install", "on")
    wait_for(is_in_place(world, 1), "level 1")


def test_the_server_gone_and_back_heals_by_itself(world: ChainWorld, start: Callable[..., RunningAgent]) -> None:
    world.stop_serving()
    start()
    wait_for(lambda: world.product()["trust"]["state"] == "unreachable", "the answer unreachable")
    world.serve()
    world.publish(1, "1.1")
    wait_for(is_in_place(world, 1), "level 1")


@pytest.mark.parametrize(("year", "state"), [("2040-01-01", "expired"), ("1970-06-01", "none")])
def test_a_wrong_clock_does_no_lasting_harm(
    world: ChainWorld, start: Callable[..., RunningAgent], year: str, state: str
) -> None:
    faketime = "/usr/bin/faketime"
    if not os.path.exists(faketime):
        pytest.skip("needs Debian's faketime (tests/system-packages.txt)")
    world.publish(1, "1.1")
    world.suture("agent", "once")
    world.publish(2, "1.2")
    world.suture("settings", "set", "automatic-install", "off")
    agent = start(faketime, f"{year} 00:00:00")
    wait_for(lambda: world.product()["trust"]["state"] in (state, "changed"), state)
    assert world.visible() == "version 1.1"
    agent.stop()
    world.suture("settings", "set", "automatic-install", "on")
    start()
    wait_for(is_in_place(world, 2), "level 2, with the clock right again")


def test_a_back_off_that_ends_is_followed_by_another_try_before_the_next_poll(
    world: ChainWorld, start: Callable[..., RunningAgent]
) -> None:
    world.publish(1, "1.1")
    world.suture("check", "darkroom")
    world.suture("settings", "set", "postpone", "4s")
    world.suture("settings", "set", "poll-interval", "1d")
    start()
    wait_for(is_in_place(world, 1), "level 1, a day before the next poll is due")


def test_a_setting_can_be_changed_while_a_transition_runs(world: ChainWorld) -> None:
    with exclusive_lock(world.state / "lock", doing="play a long transition"):
        world.suture("settings", "set", "automatic-install", "off")
        answer = world.suture("remove", "darkroom", "--wait", "0", expect=None)
    assert answer["error"]["code"] in ("busy", "nothing-to-do")
    assert world.suture("settings")["automatic_install"] is False
