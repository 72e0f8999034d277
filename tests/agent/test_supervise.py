"""`suture supervise` as a user runs it: real processes, real sockets, real signals."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from suture.adapters.process import is_running, read_process
from suture.agent.restarts.supervised import SupervisedRestarter
from suture.agent.supervisor_state import SupervisedState, read_live_state, read_state, state_path
from suture.core.errors import NotKnownError, RestartError, StorageError

WORKER = """
import os, pathlib, signal, socket, sys, threading, time
root = sys.argv[1]
behaviour = (pathlib.Path(root) / "behaviour").read_text() if root != "-" else ""
def notify(text):
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(text.encode(), "\\0" + address[1:])
if behaviour == "ends": sys.exit(3)
if behaviour == "silent": time.sleep(600)
if behaviour == "stubborn": signal.signal(signal.SIGTERM, signal.SIG_IGN)
assert os.environ["LISTEN_PID"] == str(os.getpid())
assert (os.environ["LISTEN_FDS"], os.environ["LISTEN_FDNAMES"]) == ("1", "thumbs")
assert os.environ.get("SUTURE_PRODUCT_ROOT", "-") == root
assert os.getpid() == os.getpgrp() == os.getsid(0)
assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN  # Python's own doing, not inherited
assert sorted(int(n) for n in os.listdir("/proc/self/fd"))[:4] == [0, 1, 2, 3]
server = socket.socket(fileno=3)
server.settimeout(0.05)
stop = threading.Event()
if behaviour != "stubborn": signal.signal(signal.SIGTERM, lambda *_: stop.set())
if behaviour == "child":
    child = os.posix_spawn("/bin/sleep", ["sleep", "600"], os.environ)
def serve(client):
    with client:
        request = client.recv(100)
        if request == b"slow": time.sleep(0.4)
        if request == b"die": os._exit(9)
        client.sendall(f"{os.getpid()} {root}".encode())
threads = []
notify("STATUS=starting\\nREADY=1\\n")
while not stop.is_set():
    try: client, _ = server.accept()
    except TimeoutError: continue
    threads.append(threading.Thread(target=serve, args=(client,)))
    threads[-1].start()
for thread in threads: thread.join()
"""


T = TypeVar("T")


def until(look: Callable[[], T | None], seconds: float = 20.0) -> T:
    """What `look` gives once it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


class Shop:
    """A directory with two good trees, bad ones, a pointer, and the supervisors started in it."""

    def __init__(self, path: Path) -> None:
        self.path, self.state = path, path / "state"
        (path / "worker.py").write_text(WORKER)
        for behaviour in ("one", "two", "ends", "silent", "stubborn", "child"):
            (path / behaviour).mkdir()
            (path / behaviour / "behaviour").write_text(behaviour)
        self.running: list[subprocess.Popen[bytes]] = []
        self.point("one")

    def point(self, tree: str) -> None:
        (self.path / "next").symlink_to(tree)
        (self.path / "next").rename(self.path / "current")

    def start(self, *words: str, command: tuple[str, ...] | None = None) -> subprocess.Popen[bytes]:
        ours = ["supervise", "--name", "thumbs", "--state-directory", str(self.state), *words, "--"]
        theirs = command or (sys.executable, "-S", str(self.path / "worker.py"), "{root}")
        argv = [sys.executable, "-m", "suture.cli.main", *ours, *theirs]
        with (self.path / "log").open("ab") as log:
            self.running.append(subprocess.Popen(argv, stderr=log, stdout=log))
        return self.running[-1]

    def serve(self, *words: str) -> subprocess.Popen[bytes]:
        process = self.start("--pointer", str(self.path / "current"), "--listen", "127.0.0.1:0", *words)
        self.wait(lambda state: state.state == "running")
        return process

    def look(self) -> SupervisedState | None:
        return read_state(state_path(self.state, "thumbs"))

    def wait(self, right: Callable[[SupervisedState], bool], seconds: float = 20.0) -> SupervisedState:
        return until(lambda: state if (state := self.look()) is not None and right(state) else None, seconds)

    def ask(self, request: bytes = b"hello") -> tuple[int, str]:
        state = self.look()
        assert state is not None
        assert state.listen is not None
        if state.listen.startswith("unix:"):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(20)
            client.connect(state.listen[5:])
        else:
            host, port = state.listen.rsplit(":", 1)
            client = socket.create_connection((host.strip("[]"), int(port)), timeout=20)
        with client:
            client.sendall(request)
            pid, root = client.recv(4096).decode().split(" ")
        return int(pid), root

    def log(self) -> str:
        return (self.path / "log").read_text()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    found = Shop(tmp_path)
    yield found
    for process in found.running:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()


def has_ended(pid: int | None, started: int | None) -> bool:
    assert pid is not None
    assert started is not None
    return not is_running(pid, started)


def test_a_worker_serves_from_the_pointers_real_path(shop: Shop) -> None:
    process = shop.serve()
    pid, root = shop.ask()
    state = read_live_state(shop.state, "thumbs")
    assert root == str(shop.path / "one") == state.root
    assert (state.worker_pid, state.generation, state.outcome, state.crashes) == (pid, 1, "ok", 0)
    assert state.supervisor_pid == process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert has_ended(state.worker_pid, state.worker_started)
    last = shop.look()
    assert last is not None
    assert (last.state, last.worker_pid) == ("stopped", None)
    with pytest.raises(RestartError, match="ended"):
        read_live_state(shop.state, "thumbs")


def test_a_hand_over_loses_no_request_and_the_old_worker_drains(shop: Shop) -> None:
    shop.serve()
    answers: list[tuple[int, str]] = []
    failures: list[BaseException] = []
    over = threading.Event()

    def load() -> None:
        while not over.is_set():
            try:
                answers.append(shop.ask())
            except (OSError, ValueError) as error:
                failures.append(error)

    old, _ = shop.ask()
    slow: list[tuple[int, str]] = []
    clients = [threading.Thread(target=load) for _ in range(4)]
    clients.append(threading.Thread(target=lambda: slow.append(shop.ask(b"slow"))))
    for client in clients:
        client.start()
    restarter = SupervisedRestarter(shop.state)
    for number in range(3):
        shop.point(("two", "one")[number % 2])
        outcome = restarter.restart("thumbs", deadline_seconds=20)
        assert (outcome.ok, outcome.reason, outcome.health) == (True, "", False)
        assert outcome.milliseconds > 0
        assert shop.ask()[1] == str(shop.path / ("two", "one")[number % 2])
    over.set()
    for client in clients:
        client.join()
    assert failures == []
    assert slow == [(old, str(shop.path / "one"))]
    assert len({pid for pid, _ in answers}) >= 2
    assert read_live_state(shop.state, "thumbs").generation == 4


@pytest.mark.parametrize(
    ("tree", "words", "reason"),
    [("ends", (), "exit code 3"), ("silent", ("--start-timeout", "0.5"), "not ready within 0.5 s")],
)
def test_a_new_worker_that_fails_is_ended_and_the_old_one_stays(
    shop: Shop, tree: str, words: tuple[str, ...], reason: str
) -> None:
    shop.serve(*words)
    old, _ = shop.ask()
    shop.point(tree)
    outcome = SupervisedRestarter(shop.state).restart("thumbs", deadline_seconds=20)
    assert not outcome.ok
    assert outcome.health
    assert reason in outcome.reason
    assert shop.ask() == (old, str(shop.path / "one"))
    state = read_live_state(shop.state, "thumbs")
    assert (state.worker_pid, state.root, state.outcome) == (old, str(shop.path / "one"), "failed")
    shop.point("two")
    assert SupervisedRestarter(shop.state).restart("thumbs", deadline_seconds=20).ok
    assert shop.ask()[1] == str(shop.path / "two")


def test_a_worker_that_dies_is_started_again_and_counted(shop: Shop) -> None:
    shop.serve()
    old, _ = shop.ask()
    with contextlib.suppress(OSError, ValueError):
        shop.ask(b"die")
    state = shop.wait(lambda state: state.crashes == 1 and state.state == "running")
    assert state.generation == 1
    assert shop.ask()[0] == state.worker_pid != old
    os.kill(state.worker_pid, signal.SIGKILL)
    shop.wait(lambda state: state.crashes == 2 and state.state == "running")


def test_a_crash_loop_backs_off_and_a_hand_over_mends_it(shop: Shop) -> None:
    shop.point("ends")
    process = shop.start("--pointer", str(shop.path / "current"), "--listen", "127.0.0.1:0")
    shop.wait(lambda state: state.state == "backing-off" and state.outcome == "failed")
    until(lambda: shop.log().count("exit code 3") >= 3)
    began = time.monotonic()
    shop.point("one")
    assert SupervisedRestarter(shop.state).restart("thumbs", deadline_seconds=20).ok
    assert time.monotonic() - began < 10
    assert shop.ask()[1] == str(shop.path / "one")
    assert process.poll() is None


def test_a_hand_over_during_another_gives_the_latest_tree(shop: Shop) -> None:
    shop.serve()
    shop.point("silent")
    pid = read_live_state(shop.state, "thumbs").supervisor_pid
    os.kill(pid, signal.SIGHUP)
    shop.wait(lambda state: state.state == "handing-over")
    shop.point("two")
    outcome = SupervisedRestarter(shop.state).restart("thumbs", deadline_seconds=20)
    assert outcome.ok
    assert shop.ask()[1] == str(shop.path / "two")
    assert read_live_state(shop.state, "thumbs").generation == 3


def test_a_worker_that_ignores_sigterm_is_killed_after_its_time(shop: Shop) -> None:
    shop.point("stubborn")
    shop.serve("--drain-timeout", "0.3")
    before = read_live_state(shop.state, "thumbs")
    shop.point("one")
    assert SupervisedRestarter(shop.state).restart("thumbs", deadline_seconds=20).ok
    until(lambda: has_ended(before.worker_pid, before.worker_started))


def test_the_whole_process_group_ends_with_its_worker(shop: Shop) -> None:
    shop.point("child")
    process = shop.serve()
    state = read_live_state(shop.state, "thumbs")
    children = [
        p for p in os.listdir("/proc") if p.isdigit() and (s := read_process(int(p))) and s.parent == state.worker_pid
    ]
    assert len(children) == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert read_process(int(children[0])) is None


def test_a_second_signal_ends_it_at_once(shop: Shop) -> None:
    shop.point("stubborn")
    process = shop.serve("--drain-timeout", "600")
    process.send_signal(signal.SIGINT)
    shop.wait(lambda state: state.state == "stopping")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_a_killed_supervisor_leaves_no_worker_behind(shop: Shop) -> None:
    process = shop.serve()
    state = read_live_state(shop.state, "thumbs")
    process.kill()
    process.wait()
    until(lambda: has_ended(state.worker_pid, state.worker_started))
    shop.start("--pointer", str(shop.path / "current"), "--listen", str(state.listen))
    after = shop.wait(lambda now: now.state == "running" and now.supervisor_pid != state.supervisor_pid)
    assert after.listen == state.listen


def test_a_second_supervisor_of_the_same_name_is_refused(shop: Shop) -> None:
    shop.serve()
    before = shop.look()
    assert shop.start(command=("sleep", "60")).wait(20) == 11
    assert "supervised already" in shop.log()
    assert shop.look() == before


@pytest.mark.parametrize("address", ["[::1]:0", "unix:{path}/s"])
def test_other_addresses(shop: Shop, address: str) -> None:
    if address.startswith("[") and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    process = shop.start("--pointer", str(shop.path / "current"), "--listen", address.format(path=shop.path))
    shop.wait(lambda state: state.state == "running")
    assert shop.ask()[1] == str(shop.path / "one")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert not (shop.path / "s").exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--listen", "nonsense"), 2, "HOST:PORT"),
        (("--listen", "127.0.0.1:99999"), 2, "HOST:PORT"),
        (("--listen", "::1:80"), 2, "square brackets"),
        (("--listen", "unix:relative"), 2, "absolute"),
        (("--product", "nobody"), 3, "cannot find the product"),
        (("--pointer", "/nowhere/at/all"), 60, "cannot resolve the pointer"),
        (("--ready", "http://example.com/"), 2, "only this machine"),
        (("--ready", "http://127.0.0.1:1/", "--ready-command", "true"), 2, "together"),
        (("--ready-command", "'"), 2, "--ready-command"),
        (("--start-timeout", "0"), 2, "--start-timeout"),
        (("--name", "../x"), 2, "as a service"),
        ((), 2, "{root}"),
    ],
)
def test_bad_words_end_in_a_clear_error_and_nothing_is_left(
    shop: Shop, words: tuple[str, ...], code: int, says: str
) -> None:
    assert shop.start(*words, command=("sleep", "60") if words else None).wait(20) == code
    assert says in shop.log()
    assert "Traceback" not in shop.log()
    assert shop.look() is None


def test_an_address_that_is_taken_is_said(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert shop.start("--listen", address, command=("sleep", "60")).wait(20) == 60
    assert "Address already in use" in shop.log()


def test_a_command_that_does_not_exist_is_said(shop: Shop) -> None:
    shop.start(command=("/no/such/program",))
    state = shop.wait(lambda state: state.outcome == "failed")
    assert "could not be started" in state.reason
    assert state.state == "backing-off"


def test_a_service_without_socket_and_product(shop: Shop) -> None:
    say = "import os, socket, time; a = os.environ['NOTIFY_SOCKET']; assert 'LISTEN_FDS' not in os.environ;"
    say += "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', '\\0' + a[1:]); time.sleep(600)"
    shop.start(command=(sys.executable, "-c", say))
    state = shop.wait(lambda state: state.state == "running")
    assert (state.root, state.listen) == (None, None)


def test_readiness_by_a_command(shop: Shop) -> None:
    flag = shop.path / "flag"
    check = f"/bin/sh -c 'test -e {flag} && kill -0 $SUTURE_WORKER_PID'"
    shop.start("--ready-command", check, command=("/bin/sleep", "600"))
    shop.wait(lambda state: state.state == "starting")
    flag.touch()
    shop.wait(lambda state: state.state == "running" and state.outcome == "ok")


@pytest.mark.slow
def test_readiness_by_a_url_believes_no_other_worker(shop: Shop) -> None:
    server = """
import http.server, os, socket, sys
root = sys.argv[1]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if root.endswith("two") else 200)
        self.send_header("Suture-Worker", str(os.getpid()))
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
server.serve_forever()
"""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    words = ("--pointer", str(shop.path / "current"), "--listen", address, "--ready", f"http://{address}/")
    shop.start(*words, "--start-timeout", "2", command=(sys.executable, "-c", server, "{root}"))
    shop.wait(lambda state: state.state == "running")
    shop.point("two")
    outcome = SupervisedRestarter(shop.state).restart("thumbs", deadline_seconds=20)
    assert not outcome.ok
    assert "answered" in outcome.reason


@pytest.mark.slow
@pytest.mark.root
def test_a_stranger_cannot_say_ready_for_a_worker(shop: Shop) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to speak as another user")
    shop.point("silent")
    shop.start("--pointer", str(shop.path / "current"), "--start-timeout", "1.5")
    sockets = until(lambda: [w for w in Path("/proc/net/unix").read_text().split() if w.startswith("@suture-notify-")])
    say = "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    say += "for a in sys.argv[1:]: s.sendto(b'READY=1', '\\0' + a[1:])"
    subprocess.run([sys.executable, "-c", say, *sockets], check=True)
    assert shop.wait(lambda state: state.outcome is not None).outcome == "failed"


def test_a_restart_of_nobody_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotKnownError, match="thumbs"):
        SupervisedRestarter(tmp_path).restart("thumbs", deadline_seconds=1)


def test_a_reused_pid_is_not_signalled(shop: Shop) -> None:
    shop.serve()
    state = read_live_state(shop.state, "thumbs")
    path = state_path(shop.state, "thumbs")
    text = path.read_text().replace(f'"supervisor_started": {state.supervisor_started}', '"supervisor_started": 5')
    path.write_text(text)
    with pytest.raises(RestartError, match="not it any more"):
        SupervisedRestarter(shop.state).restart("thumbs", deadline_seconds=1)
    assert shop.ask()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"name": "thumbs", "supervisor_pid": -1}', "{" * 70_000])
def test_a_broken_state_file_is_said(tmp_path: Path, text: str) -> None:
    path = state_path(tmp_path, "thumbs")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises((RestartError, StorageError)):
        read_live_state(tmp_path, "thumbs")


def test_it_sleeps_while_nothing_happens(shop: Shop) -> None:
    process = shop.serve()
    before = _ticks(process.pid)
    switches = _switches(process.pid)
    time.sleep(0.5)  # the thing measured is that nothing happens in it
    assert _ticks(process.pid) - before <= 1
    assert _switches(process.pid) - switches <= 8  # the start itself may still be settling on a busy machine


def _ticks(pid: int) -> int:
    return sum(int(field) for field in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])


def _switches(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))
