"""`suture status`, `why` and `history` read what the agent left and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from command_device import CommandDevice, command_device

from suture.agent.journal import open_journal
from suture.agent.machine.instructions import Note, Outcome
from suture.agent.machine.state import ProductState
from suture.agent.places import prepare
from suture.agent.settings import effective_settings
from suture.agent.statusfile import write_status
from suture.core.clock import parse_time
from suture.wire.status import (
    STATUS_FORMAT,
    HoldingProcess,
    LevelStatus,
    OpenCve,
    ProductStatus,
    Reason,
    Status,
    TrustStatus,
)

WHEN = "2026-03-01T12:00:00Z"


@pytest.fixture
def device(tmp_path: Path) -> CommandDevice:
    return command_device(tmp_path)


def product_status(name: str = "darkroom", title: str = "Darkroom") -> ProductStatus:
    return ProductStatus(
        product=name,
        title=title,
        baseline="1.0-rc1-x86_64",
        display="darkroom 1.0-rc1 (a)",
        level=1,
        state="activating",
        effective=False,
        offered_level=2,
        levels=(LevelStatus(1, "1.0-rc1 (a)", "activating", "sha256:" + "0" * 64, ("CVE-2023-4863",), WHEN),),
        open_cves=(OpenCve("CVE-2024-0001", "high", 2, WHEN),),
        held_back_by=(HoldingProcess(77, "thumb\x1b[2Js", "mapped", "thumbs"),),
        unknown_processes=3,
        why=(Reason("old-code-runs", "a process still uses the old files", WHEN, "agent"),),
        trust=TrustStatus("unreachable", WHEN, None, WHEN, "connection refused", "paused"),
        settings=effective_settings(None, None, None, None, parse_time(WHEN)),
    )


def leave(device: CommandDevice, *products: ProductStatus, pid: int | None = None) -> None:
    prepare(device.places)
    started = psutil.Process(pid).create_time() if pid is not None else None
    write_status(device.places, Status(STATUS_FORMAT, WHEN, "0.1.0", pid, started, products))


def test_a_device_on_which_nothing_happened(device: CommandDevice) -> None:
    assert "not looked" in device.run("status").stdout
    assert "not looked" in device.run("why").stdout
    assert "nothing has happened" in device.run("history").stdout
    assert device.json("status")["products"] == []
    assert device.json("why") == []
    assert device.json("history") == []
    assert not device.places.state.exists(), "reading makes nothing"


def test_everything_that_a_person_needs_is_shown(device: CommandDevice) -> None:
    leave(device, product_status())
    said = device.run("status").stdout
    for word in (
        "darkroom 1.0-rc1 (a)",
        "activating",
        "CVE-2023-4863",
        "CVE-2024-0001 (high)",
        "1.0-rc1 (b)",
        "pid 77, thumbs, mapped",
        "3 processes",
        "unreachable",
        "connection refused",
        "paused",
        "the agent does not run",
    ):
        assert word in said
    assert "\x1b" not in said


def test_a_living_agent_is_told_from_a_dead_one(device: CommandDevice) -> None:
    leave(device, pid=os.getpid())
    assert f"the agent runs (pid {os.getpid()})" in device.run("status").stdout
    assert device.json("status")["agent_running"] is True
    prepare(device.places)
    write_status(device.places, Status(STATUS_FORMAT, WHEN, "0.1.0", os.getpid(), 1.0, ()))
    assert device.json("status")["agent_running"] is False


def test_one_product_of_two(device: CommandDevice) -> None:
    leave(device, product_status(), product_status("lightroom", "Lightroom"))
    assert [entry["product"] for entry in device.json("status", "lightroom")["products"]] == ["lightroom"]
    assert [entry["product"] for entry in device.json("why", "lightroom")] == ["lightroom"]
    assert device.json("status", "nope", code=3)["error"]["code"] == "not-known"
    device.run("why", "nope", code=3)


def test_why_gives_every_reason_with_its_code_and_whose_word_it_is(device: CommandDevice) -> None:
    leave(device, product_status())
    said = device.run("why").stdout
    assert "a process still uses the old files" in said
    assert "[old-code-runs since 2026-03-01T12:00:00Z, agent]" in said
    assert device.json("why")[0]["why"][0]["code"] == "old-code-runs"


def test_a_broken_status_file_is_60_with_the_way_out(device: CommandDevice) -> None:
    prepare(device.places)
    device.places.status_file.write_bytes(b'{"format":')
    done = device.run("status", code=60)
    assert "writes it anew" in done.stderr
    device.run("why", code=60)


def test_status_needs_no_right_but_to_read_the_file(device: CommandDevice) -> None:
    leave(device, product_status())
    device.places.journal.write_bytes(b"not even a journal")
    assert "darkroom" in device.run("status").stdout


def test_history_is_oldest_first_bounded_and_of_one_product(device: CommandDevice) -> None:
    prepare(device.places)
    with open_journal(device.places.journal) as journal:
        for name, level in (("darkroom", 1), ("darkroom", 2), ("lightroom", 1)):
            state = ProductState(product=name, baseline="1.0-x86_64")
            note = Note(level, "offered", "offered", "new", f"level {level}\x1b[2J")
            journal.commit(Outcome(state, notes=(note,)), WHEN)
    assert [(row["product"], row["level"]) for row in device.json("history")] == [
        ("darkroom", 1),
        ("darkroom", 2),
        ("lightroom", 1),
    ]
    assert [row["level"] for row in device.json("history", "darkroom", "--limit", "1")] == [2]
    assert device.json("history", "nope") == []
    said = device.run("history").stdout
    assert len(said.splitlines()) == 4
    assert "\x1b" not in said


def test_a_journal_that_is_not_ours_is_63(device: CommandDevice) -> None:
    prepare(device.places)
    device.places.journal.write_bytes(b"not a database, only some bytes" * 100)
    assert device.json("history", code=63)["error"]["code"] == "bad-journal"
