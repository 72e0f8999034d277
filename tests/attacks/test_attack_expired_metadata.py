"""Expired metadata (a publisher asleep): it stops new installs and nothing else, is shown, and heals by itself.

Real commands in processes of their own, ten days ahead by libfaketime: timestamp, snapshot and rollout roles live for
seven days, the offline roles for a year.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from chain_world import ChainWorld, chain_world

pytestmark = pytest.mark.slow


@pytest.fixture
def world() -> Iterator[ChainWorld]:
    if shutil.which("faketime") is None:
        pytest.skip("needs Debian's faketime (tests/system-packages.txt)")
    with chain_world() as made:
        yield made


def ten_days_on(*words: str) -> tuple[int, Any]:
    run = ["faketime", "-f", "+10d", sys.executable, "-m", "suture", *words, "--json"]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None


def device(world: ChainWorld, *words: str) -> tuple[int, Any]:
    places = ["--state-directory", str(world.state), "--configuration-directory", str(world.device / "etc")]
    return ten_days_on(*words, *places)


def product(world: ChainWorld) -> dict[str, Any]:
    code, status = device(world, "status")
    assert code == 0
    found: dict[str, Any] = status["products"][0]
    return found


def refresh(world: ChainWorld) -> None:
    words = ["publisher", "refresh", str(world.workshop), "--online-passphrase-file", str(world.passphrase)]
    code, answer = ten_days_on(*words)
    assert code == 0, answer


def test_it_stops_new_installs_only_is_shown_with_its_date_and_heals(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    expires = world.product()["trust"]["expires"]
    world.publish(2, "1.2")

    device(world, "agent", "once")
    found = product(world)
    assert (found["level"], found["effective"]) == (1, True)
    assert world.visible() == "version 1.1", "the host goes on with what it has"
    (stale,) = [one for one in found["why"] if one["code"] == "stale-trust"]
    assert stale["since"] == expires
    assert expires in stale["text"]

    code, answer = device(world, "install")
    assert (code, answer["error"]["code"]) == (32, "expired"), "and says so to a person who asks"
    assert world.visible() == "version 1.1"

    code, _ = device(world, "remove")
    assert code == 0, "removal never asks anybody"
    assert world.visible() == "version 1.0"

    refresh(world)
    code, answer = device(world, "install")
    assert code == 0, answer
    assert world.visible() == "version 1.2"
    assert not [one for one in product(world)["why"] if one["code"] == "stale-trust"]


def test_an_agent_by_itself_heals_at_its_next_poll(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    world.suture("check")
    device(world, "agent", "once")
    assert world.visible() == "version 1.0"
    refresh(world)
    device(world, "agent", "once")
    assert world.visible() == "version 1.1"
    assert product(world)["trust"]["state"] in ("none", "changed")


def test_a_level_that_was_known_before_is_not_installed_either(world: ChainWorld) -> None:
    """Offered, and put off by a person; when the postponement ends the word about it is out of date."""
    world.suture("settings", "set", "ask-first", "on")
    world.publish(1, "1.1")
    world.suture("agent", "once")
    world.suture("settings", "set", "ask-first", "off")
    device(world, "agent", "once")
    assert world.visible() == "version 1.0"


def test_nobody_to_ask_for_ten_days_is_stale_too(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    world.stop_serving()
    device(world, "agent", "once")
    codes = [one["code"] for one in product(world)["why"]]
    assert codes.count("stale-trust") == 1
    assert world.visible() == "version 1.1"
    assert device(world, "remove")[0] == 0
