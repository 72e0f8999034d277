"""The status file whole or not at all, broken ones said so, and nobody woken who did not wait for it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from suture.agent.places import Places, prepare
from suture.agent.statusfile import is_agent_running, read_status, wake_agent, write_status
from suture.core.errors import StorageError
from suture.wire.status import STATUS_FORMAT, Status

_WAITS = """
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: (os.write(1, b"woken\\n"), os._exit(0)))
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path / "state", tmp_path / "configuration")
    prepare(made)
    return made


def status_of(pid: int | None, started: float | None) -> Status:
    return Status(STATUS_FORMAT, "2026-03-01T12:00:00Z", "0.1.0", pid, started, ())


def run_child(program: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            yield child
        finally:
            child.kill()


@pytest.fixture
def waiting() -> Iterator[subprocess.Popen[bytes]]:
    yield from run_child(_WAITS)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    yield from run_child("import signal; print('ready', flush=True); signal.pause()")


def test_what_was_written_is_read_by_anyone(places: Places) -> None:
    status = status_of(12, 3.5)
    mask = os.umask(0o077)
    try:
        write_status(places, status)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(places.status_file.stat().st_mode) == 0o644
    assert read_status(places) == status
    assert list(places.state.glob(".status*")) == []


def test_no_status_is_no_error(places: Places) -> None:
    assert read_status(places) is None


def test_every_truncation_is_said_and_none_ends_in_a_traceback(places: Places) -> None:
    whole = msgspec.json.encode(status_of(12, 3.5))
    for length in range(len(whole)):
        places.status_file.write_bytes(whole[:length])
        with pytest.raises(StorageError, match="cannot read the status"):
            read_status(places)


@pytest.mark.parametrize("content", [b"\xff", b'{"format":"x"}', b"null", b" " * (8 * 1024 * 1024 + 1)])
def test_other_broken_status_files(places: Places, content: bytes) -> None:
    places.status_file.write_bytes(content)
    with pytest.raises(StorageError):
        read_status(places)


def test_another_format_is_not_guessed_at(places: Places) -> None:
    write_status(places, msgspec.structs.replace(status_of(1, 1.0), format="suture-status/9"))
    with pytest.raises(StorageError, match="suture-status/9"):
        read_status(places)


def test_a_link_is_not_followed(places: Places, tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(msgspec.json.encode(status_of(1, 1.0)))
    places.status_file.symlink_to(tmp_path / "real")
    with pytest.raises(StorageError):
        read_status(places)


def test_a_process_is_the_agent_only_with_its_start_time(waiting: subprocess.Popen[bytes]) -> None:
    started = psutil.Process(waiting.pid).create_time()
    assert is_agent_running(status_of(waiting.pid, started))
    assert not is_agent_running(status_of(waiting.pid, started - 60))
    assert not is_agent_running(status_of(waiting.pid, None))
    assert not is_agent_running(status_of(None, None))
    for pid in (-1, 2**31, 2**70):
        assert not is_agent_running(status_of(pid, started))
        assert not wake_agent(status_of(pid, started))


def test_a_waiting_agent_is_woken(waiting: subprocess.Popen[bytes]) -> None:
    started = psutil.Process(waiting.pid).create_time()
    assert not wake_agent(status_of(waiting.pid, started - 60))
    assert wake_agent(status_of(waiting.pid, started))
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == b"woken\n"


def test_a_process_that_does_not_wait_for_the_signal_is_not_killed_by_a_forged_status(
    bystander: subprocess.Popen[bytes],
) -> None:
    assert not wake_agent(status_of(bystander.pid, psutil.Process(bystander.pid).create_time()))
    assert bystander.poll() is None
    bystander.send_signal(signal.SIGKILL)


def test_an_agent_that_ended_is_not_running(waiting: subprocess.Popen[bytes]) -> None:
    started = psutil.Process(waiting.pid).create_time()
    waiting.kill()
    os.waitid(os.P_PID, waiting.pid, os.WEXITED | os.WNOWAIT)
    assert not is_agent_running(status_of(waiting.pid, started)), "it has ended but nobody has reaped it"
    waiting.wait()
    assert not is_agent_running(status_of(waiting.pid, started))
    assert not wake_agent(status_of(waiting.pid, started))
