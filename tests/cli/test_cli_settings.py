"""`suture settings` and `suture policy` from outside, with a real process to wake."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psutil
import pytest
from command_device import CommandDevice, command_device

from suture.agent.journal import open_journal
from suture.agent.places import prepare
from suture.agent.report import AGENT_FACT, AgentProcess
from suture.core.clock import parse_time

_WAITS = (
    "import os, signal; signal.signal(signal.SIGUSR1, lambda *_: os._exit(7)); print(1, flush=True); signal.pause()"
)


@pytest.fixture
def device(tmp_path: Path) -> CommandDevice:
    return command_device(tmp_path)


def write_policy(device: CommandDevice, content: object) -> None:
    device.places.configuration.mkdir()
    text = content if isinstance(content, str) else json.dumps(content)
    device.places.managed_policy.write_text(text, encoding="utf-8")


POLICY = {"format": "suture-policy/1", "organisation": "Acme IT", "automatic-install": True, "removal-allowed": False}


def test_every_value_is_shown_with_its_source(device: CommandDevice) -> None:
    write_policy(device, POLICY)
    device.run("settings", "set", "ask-first", "on")
    device.run("settings", "set", "notify", "off", "--administrator")
    lines = {line.split()[0]: line for line in device.run("settings").stdout.splitlines()}
    assert "Acme IT" in lines["automatic-install"]
    assert lines["ask-first"].split()[1:] == ["on", "user"]
    assert lines["notify"].split()[1:] == ["off", "administrator"]
    assert lines["poll-interval"].split()[1:] == ["3600s", "default"]
    assert device.run("settings", "show").stdout == device.run("settings").stdout
    shown = device.json("settings", "show")
    assert shown["sources"]["removal_allowed"] == "managed"
    assert shown["organisation"] == "Acme IT"


def test_the_off_switch_and_back(device: CommandDevice) -> None:
    assert "automatic-install is off" in device.run("settings", "set", "automatic-install", "off").stdout
    assert device.json("settings", "show")["automatic_install"] is False
    assert device.json("settings", "set", "automatic-install", "default")["automatic_install"] is True


def test_a_postponement_may_be_written_without_quotes(device: CommandDevice) -> None:
    until = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert until in device.run("settings", "set", "postpone", "until", until).stdout
    assert device.json("settings", "show")["postpone_until"] == until
    assert parse_time(device.json("settings", "set", "postpone", "3d")["postpone_until"]) > datetime.now(UTC)
    assert device.json("settings", "set", "postpone", "off")["postpone_until"] is None


def test_one_product_alone(device: CommandDevice) -> None:
    device.run("settings", "set", "notify", "off", "--product", "darkroom", code=3)
    device.run("product", "add", str(device.product_file()))
    device.run("settings", "set", "notify", "off", "--product", "darkroom")
    assert device.json("settings", "show", "--product", "darkroom")["notify"] is False
    assert device.json("settings", "show")["notify"] is True


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("colour", "on"), 3),
        (("notify", "maybe"), 2),
        (("postpone", "31d"), 2),
        (("postpone", "until", "tomorrow"), 2),
        (("removal-allowed", "off"), 12),
        (("notify", "on", "--product", "../x"), 3),
    ],
)
def test_a_bad_change_changes_nothing(device: CommandDevice, words: tuple[str, ...], code: int) -> None:
    device.run("settings", "set", *words, code=code)
    assert not device.places.user_settings.exists()


def test_what_a_policy_fixes_says_who(device: CommandDevice) -> None:
    write_policy(device, POLICY)
    error = device.json("settings", "set", "automatic-install", "off", code=12)["error"]
    assert "Acme IT" in error["message"]
    assert not device.places.user_settings.exists()


def test_the_policy_is_shown(device: CommandDevice) -> None:
    assert "nobody manages this device" in device.run("policy", "show").stdout
    assert device.json("policy", "show")["policy"] is None
    write_policy(device, {**POLICY, "products": {"darkroom": {"notify": False}}})
    said = device.run("policy", "show").stdout
    assert "managed by Acme IT" in said
    assert "for darkroom" in said
    assert device.json("policy", "show")["policy"]["removal-allowed"] is False


def test_a_broken_policy_is_said_everywhere_and_read_with_care(device: CommandDevice) -> None:
    write_policy(device, '{"format":"suture-policy/1","organisation":"A","automatic":true}')
    shown = device.run("policy", "show", code=2)
    assert "broken" in shown.stdout
    assert "automatic" in shown.stderr
    assert device.json("policy", "show", code=2)["error"]["code"] == "bad-input"
    assert "until it is mended" in device.run("settings").stdout
    settings = device.json("settings", "show")
    assert settings["automatic_install"] is False
    assert settings["removal_allowed"] is False
    device.run("settings", "set", "notify", "off", code=2)


def test_a_running_agent_is_woken_by_a_change(device: CommandDevice) -> None:
    prepare(device.places)
    with subprocess.Popen([sys.executable, "-c", _WAITS], stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        started = psutil.Process(agent.pid).create_time()
        with open_journal(device.places.journal) as journal:
            journal.keep_fact("", AGENT_FACT, msgspec.json.encode(AgentProcess(agent.pid, started)))
        assert "agent was told" in device.run("settings", "set", "notify", "off").stdout
        assert agent.wait(10) == 7
    assert "agent was told" not in device.run("settings", "set", "notify", "on").stdout


def test_a_change_shows_in_the_status_at_once(device: CommandDevice) -> None:
    prepare(device.places)
    device.run("settings", "set", "notify", "off")
    assert device.places.status_file.exists()


def test_a_broken_status_file_does_not_stop_a_change(device: CommandDevice) -> None:
    prepare(device.places)
    device.places.status_file.write_bytes(b"{")
    device.run("settings", "set", "notify", "off")
    assert device.json("settings", "show")["notify"] is False
