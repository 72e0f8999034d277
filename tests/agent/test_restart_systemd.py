"""Restarting systemd units: the words that systemctl gets (a script stands in for it, executed for real), and, where
systemd runs, the real thing under the contract that supervised services keep too."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suture.agent.doors import Restarter
from suture.agent.restarts.supervised import SupervisedRestarter
from suture.agent.restarts.systemd import SystemdRestarter
from suture.core.errors import InputError, NotKnownError, RestartError

FAKE = """#!{python} -S
import json, os, pathlib, sys, time
here = pathlib.Path({here!r})
with (here / "calls").open("a") as calls: calls.write(json.dumps([sys.argv[1:], sorted(os.environ)]) + "\\n")
state = json.loads((here / "state").read_text())
if "try-restart" in sys.argv:
    time.sleep(state.pop("takes", 0))
    state.update(state.pop("then"))
    (here / "state").write_text(json.dumps(state))
    if state.get("fails"): sys.exit("Job for thumbs.service failed because the control process exited with error code.")
else:
    print("\\n".join(f"{{key}}={{value}}" for key, value in state.items() if key[0].isupper()))
"""
RUNNING = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "MainPID": "100",
    "NRestarts": "0",
    "Result": "success",
    "ActiveEnterTimestampMonotonic": "1000",
}


class Fake:
    """A systemctl of our own, and the directory that says systemd runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "booted").mkdir()
        (path / "systemctl").write_text(FAKE.format(python=sys.executable, here=str(path)))
        (path / "systemctl").chmod(0o755)
        self.say(then={"MainPID": "200", "ActiveEnterTimestampMonotonic": "2000"})
        self.restarter = SystemdRestarter(user=False, booted=str(path / "booted"), path=str(path))

    def say(self, **fields: object) -> None:
        (self.path / "state").write_text(json.dumps({**RUNNING, **fields}))

    def calls(self) -> list[tuple[list[str], list[str]]]:
        return [tuple(json.loads(line)) for line in (self.path / "calls").read_text().splitlines()]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def test_a_unit_that_runs_is_restarted_and_nothing_else_reaches_the_command_line(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYSTEMD_EDITOR", "evil")
    outcome = fake.restarter.restart("thumbs.service", deadline_seconds=20)
    assert (outcome.name, outcome.ok, outcome.reason) == ("thumbs.service", True, "")
    words = [words for words, _ in fake.calls()]
    assert words[1] == ["--no-ask-password", "try-restart", "--", "thumbs.service"]
    assert [one[1] for one in words] == ["show", "try-restart", "show"]
    assert set(fake.calls()[0][1]) - {"LC_CTYPE"} == {"LC_ALL", "PATH", "SYSTEMD_COLORS", "SYSTEMD_PAGER"}


def test_a_user_asks_the_users_own_manager(fake: Fake) -> None:
    restarter = SystemdRestarter(user=True, booted=str(fake.path / "booted"), path=str(fake.path))
    assert restarter.restart("thumbs.service", deadline_seconds=20).ok
    assert fake.calls()[0][0][0] == "--user"


@pytest.mark.parametrize(
    "name", ["--force", "a b.service", "x.service;id", "../x.service", "", "x.mount", "x.service\n"]
)
def test_what_is_no_unit_never_reaches_systemctl(fake: Fake, name: str) -> None:
    with pytest.raises(InputError):
        fake.restarter.restart(name, deadline_seconds=20)
    assert not (fake.path / "calls").exists()


def test_a_unit_that_is_stopped_stays_stopped(fake: Fake) -> None:
    fake.say(ActiveState="inactive", MainPID="0")
    outcome = fake.restarter.restart("thumbs.service", deadline_seconds=20)
    assert outcome.ok
    assert "inactive" in outcome.reason
    assert all("try-restart" not in words for words, _ in fake.calls())


@pytest.mark.parametrize(
    ("then", "reason", "health"),
    [
        ({"fails": True}, "Job for thumbs.service failed", True),
        ({"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}, "failed, exit-code", True),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, "auto-restart", True),
        ({}, "same process", False),
    ],
)
def test_a_unit_that_does_not_come_back_is_said(fake: Fake, then: dict[str, object], reason: str, health: bool) -> None:
    fake.say(then=then)
    outcome = fake.restarter.restart("thumbs.service", deadline_seconds=20)
    assert not outcome.ok
    assert reason in outcome.reason
    assert outcome.health == health


def test_a_restart_without_end_is_cut(fake: Fake) -> None:
    fake.say(takes=600, then={})
    began = time.monotonic()
    outcome = fake.restarter.restart("thumbs.service", deadline_seconds=0.5)
    assert not outcome.ok
    assert "within 0.5 s" in outcome.reason
    assert time.monotonic() - began < 5


def test_an_unknown_unit_is_not_known(fake: Fake) -> None:
    fake.say(LoadState="not-found", ActiveState="inactive")
    with pytest.raises(NotKnownError, match=r"thumbs\.service"):
        fake.restarter.restart("thumbs.service", deadline_seconds=20)


@pytest.mark.parametrize(
    "text", ["{}", '{"MainPID": "x", "ActiveState": "active"}', '{"MainPID": "99999999999999999999999"}']
)
def test_whatever_systemctl_says_is_no_traceback(fake: Fake, text: str) -> None:
    (fake.path / "state").write_text(text)
    with contextlib.suppress(NotKnownError):
        assert fake.restarter.look("thumbs.service").main_pid == 0


def test_without_systemd_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(RestartError, match="systemd does not run here") as caught:
        SystemdRestarter(booted=str(tmp_path / "no")).restart("thumbs.service", deadline_seconds=1)
    assert "suture supervise" in caught.value.advice


def test_without_systemctl_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(RestartError, match="no systemctl"):
        SystemdRestarter(booted=str(tmp_path), path=str(tmp_path)).restart("thumbs.service", deadline_seconds=1)


# --- one contract for both real ends -------------------------------------------------------------------------------

SERVICE = """
import os, pathlib, signal, socket, sys, time
if pathlib.Path(sys.argv[1]).exists(): sys.exit(3)
address = os.environ["NOTIFY_SOCKET"]
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
    sender.sendto(b"READY=1", "\\0" + address[1:] if address.startswith("@") else address)
time.sleep(600)
"""
End = tuple[Restarter, str, Callable[[], int], Path]
"""A restarter, the service's name, its main process now, and the file whose existence makes a start fail."""


def _supervised(path: Path) -> Iterator[End]:
    from suture.agent.supervisor_state import read_live_state, read_state, state_path

    bad, state = path / "bad", path / "state"
    argv = [sys.executable, "-m", "suture.cli.main", "supervise", "--name", "thumbs", "--state-directory", str(state)]
    argv += ["--", sys.executable, "-c", SERVICE, str(bad)]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as supervisor:
        end = time.monotonic() + 20
        while (said := read_state(state_path(state, "thumbs"))) is None or said.state != "running":
            assert time.monotonic() < end
            time.sleep(0.01)
        yield SupervisedRestarter(state), "thumbs", lambda: read_live_state(state, "thumbs").worker_pid or 0, bad
        supervisor.terminate()


def _systemd(path: Path) -> Iterator[End]:
    bad, name = path / "bad", f"suture-test-{os.getpid()}.service"
    (path / "service.py").write_text(SERVICE)
    unit = Path("/run/systemd/system") / name
    unit.write_text(f"[Service]\nType=notify\nExecStart={sys.executable} -S {path}/service.py {bad}\n")
    try:
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemctl", "start", name], check=True)
        restarter = SystemdRestarter(user=False)
        yield restarter, name, lambda: restarter.look(name).main_pid, bad
    finally:
        subprocess.run(["systemctl", "stop", name], check=False)
        unit.unlink()
        subprocess.run(["systemctl", "daemon-reload"], check=True)


HAS_SYSTEMD = os.path.isdir("/run/systemd/system") and os.geteuid() == 0
SYSTEMD_MARKS = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.skipif(not HAS_SYSTEMD, reason="systemd is not booted here (/run/systemd/system), or this is not root"),
]


@pytest.fixture(params=["supervised", pytest.param("systemd", marks=SYSTEMD_MARKS)])
def end(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[End]:
    yield from (_supervised if request.param == "supervised" else _systemd)(tmp_path)


def test_contract_a_restart_gives_a_new_process(end: End) -> None:
    restarter, name, main_process, _ = end
    before = main_process()
    outcome = restarter.restart(name, deadline_seconds=30)
    assert (outcome.name, outcome.ok, outcome.health) == (name, True, False)
    assert 0 < outcome.milliseconds < 30_000
    assert main_process() not in (0, before)


def test_contract_new_code_that_fails_is_the_new_codes_own_fault(end: End) -> None:
    restarter, name, _, bad = end
    bad.touch()
    outcome = restarter.restart(name, deadline_seconds=30)
    assert (outcome.ok, outcome.health) == (False, True)
    assert outcome.reason


def test_contract_an_unknown_name_is_not_known(end: End) -> None:
    restarter, name, _, _ = end
    other = "suture-nobody-has-this" + (".service" if name.endswith(".service") else "")
    with pytest.raises(NotKnownError):
        restarter.restart(other, deadline_seconds=5)
