"""Health checks on real commands, servers and supervised services; and what the product file does not allow."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from suture.adapters.process import own_identity, read_process, run_bounded
from suture.adapters.sockets import ask_loopback, check_loopback_url
from suture.agent.health.checks import HealthChecks
from suture.agent.supervisor_state import SupervisedState, state_path, write_state
from suture.core.errors import HostError, InputError, NotAllowedError, NotKnownError
from suture.improvement.manifest import CommandCheck, HealthCheck, HttpCheck, Restart, StaysUpCheck
from suture.wire.product import AllowedCommand, AllowedUrl, FixedRelease, Product, ProductComponent

RUN_AS = "nobody" if os.geteuid() == 0 else None


def product_with(
    commands: dict[str, tuple[str, ...]] | None = None,
    urls: dict[str, str] | None = None,
    *,
    run_as: str | None = RUN_AS,
) -> Product:
    return Product(
        format="suture-product/1",
        product="darkroom",
        title="Darkroom",
        vendor="Acme",
        release=FixedRelease("1.0"),
        root="/usr",
        components=(ProductComponent("imaging", "lib"),),
        repositories=("http://127.0.0.1/",),
        first_root="sha256:" + "0" * 64,
        services=("thumbs",),
        commands=tuple(AllowedCommand(*one) for one in (commands or {}).items()),
        urls=tuple(AllowedUrl(*one) for one in (urls or {}).items()),
        run_as=run_as,
    )


def check(
    product: Product, *checks: HealthCheck, state: Path = Path("/nowhere"), restart: Restart | None = None
) -> list[tuple[str, bool, str]]:
    outcomes = HealthChecks(state).check(product, restart or Restart(), checks)
    assert all(outcome.milliseconds >= 0 for outcome in outcomes)
    return [(outcome.check, outcome.ok, outcome.reason) for outcome in outcomes]


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def test_a_command_that_ends_with_0_is_healthy() -> None:
    assert check(product_with({"works": ("true",)}), CommandCheck("works")) == [("works", True, "")]


def test_a_command_that_fails_says_its_last_words() -> None:
    product = product_with({"fails": shell("echo first; echo broken >&2; exit 3"), "never": ("true",)})
    [(name, ok, reason)] = check(product, CommandCheck("fails"), CommandCheck("never"))
    assert (name, ok) == ("fails", False)
    assert reason == "it ended with 3: first\nbroken"


def test_a_command_knows_only_a_clean_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("LD_PRELOAD", "/nowhere/evil.so")
    product = product_with({"env": shell("env; id -u; cat; ls /proc/self/fd; pwd; umask; exit 1")})
    [(_, _, reason)] = check(product, CommandCheck("env"))
    assert "SECRET" not in reason
    assert "LD_PRELOAD" not in reason
    assert "SUTURE_PRODUCT_ROOT=/usr" in reason
    assert "SUTURE_PRODUCT=darkroom" in reason
    lines = reason.splitlines()
    assert lines[-6:-2] == ["0", "1", "2", "3"]  # 3 is ls's own
    assert lines[-2:] == ["/", "0077"]
    if os.geteuid() == 0:
        assert lines[-7] == "65534"


def test_a_command_is_no_shell_line() -> None:
    product = product_with({"echo": ("echo", "$(id); `id` && false | x {root}")})
    assert check(product, CommandCheck("echo")) == [("echo", True, "")]


@pytest.mark.slow
def test_a_command_that_hangs_is_killed_with_its_children() -> None:
    marker = f"31415{os.getpid()}"
    product = product_with({"hangs": shell(f"sleep {marker} & echo started; sleep {marker}")})
    began = time.monotonic()
    [(_, ok, reason)] = check(product, CommandCheck("hangs", timeout_seconds=1))
    assert not ok
    assert "did not end within 1 s" in reason
    assert "started" in reason
    assert time.monotonic() - began < 5
    assert subprocess.run(["pgrep", "-f", f"sleep {marker}"], capture_output=True, check=False).returncode == 1


def test_a_daemon_left_behind_holding_the_output_does_not_hold_the_check() -> None:
    product = product_with({"forks": shell("sleep 600 & exit 0")})
    began = time.monotonic()
    assert check(product, CommandCheck("forks", timeout_seconds=20)) == [("forks", True, "")]
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_endless_output_is_bounded_and_printable() -> None:
    product = product_with({"floods": shell(r"yes long; true"), "dirty": shell(r"printf '\033[31mred\007\n'; exit 1")})
    [(_, ok, reason)] = check(product, CommandCheck("floods", timeout_seconds=1))
    assert not ok
    assert len(reason) <= 4200
    [(_, _, reason)] = check(product, CommandCheck("dirty"))
    assert reason == "it ended with 1: ?[31mred?"


def test_a_program_that_is_not_there_is_unhealthy_and_no_traceback() -> None:
    [(_, ok, reason)] = check(product_with({"gone": ("/no/such/program",)}), CommandCheck("gone"))
    assert not ok
    assert "cannot start /no/such/program" in reason


@pytest.mark.parametrize("unknown", [CommandCheck("other"), HttpCheck("other")])
def test_what_the_product_file_does_not_list_is_refused_before_anything_runs(
    tmp_path: Path, unknown: CommandCheck | HttpCheck
) -> None:
    tmp_path.chmod(0o777)
    product = product_with({"touches": ("touch", str(tmp_path / "ran"))})
    with pytest.raises(NotAllowedError, match="other"):
        check(product, CommandCheck("touches"), unknown)
    assert not (tmp_path / "ran").exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be refused as root")
@pytest.mark.parametrize("run_as", [None, "root"])
def test_no_command_runs_as_root(run_as: str | None) -> None:
    with pytest.raises(NotAllowedError, match="as root"):
        check(product_with({"any": ("true",)}, run_as=run_as), CommandCheck("any"))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks the user up")
def test_a_user_that_does_not_exist_is_said() -> None:
    with pytest.raises(NotKnownError, match="no such user"):
        check(product_with({"any": ("true",)}, run_as="surely-nobody-has-it"), CommandCheck("any"))


class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        match self.path:
            case "/redirect":
                self.send_response(302)
                self.send_header("Location", "/ok")
            case "/warm":
                self.send_response(200 if type(self).asked > 3 else 503)
            case "/broken":
                self.send_response(500)
            case _:
                self.send_response(200)
        self.end_headers()
        if self.path == "/broken":
            self.wfile.write(b"no codec")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


@pytest.mark.slow
def test_http(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    product = product_with(urls={"ok": f"{server}/ok", "warm": f"{server}/warm", "broken": f"{server}/broken"})
    assert check(product, HttpCheck("ok"), HttpCheck("warm")) == [("ok", True, ""), ("warm", True, "")]
    [(_, ok, reason)] = check(product, HttpCheck("broken", timeout_seconds=1))
    assert not ok
    assert reason == "it answered 500: no codec"


@pytest.mark.slow
def test_a_redirect_is_no_answer(server: str) -> None:
    [(_, ok, reason)] = check(product_with(urls={"r": f"{server}/redirect"}), HttpCheck("r", timeout_seconds=1))
    assert not ok
    assert "answered 302" in reason


def test_a_service_that_refuses_or_trickles_is_unhealthy_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as trickler:
        url = f"http://127.0.0.1:{trickler.getsockname()[1]}/"

        def trickle() -> None:
            client, _ = trickler.accept()
            with client:
                try:
                    client.sendall(b"HTTP/1.1 200 OK\r\n")
                    while True:
                        client.sendall(b"X: y\r\n"[:1])
                        time.sleep(0.05)
                except OSError:
                    pass

        thread = threading.Thread(target=trickle)
        thread.start()
        began = time.monotonic()
        with pytest.raises(HostError, match="no answer in time"):
            ask_loopback(url, timeout_seconds=0.5)
        assert time.monotonic() - began < 2
        thread.join()
    [(_, ok, reason)] = check(product_with(urls={"gone": url}), HttpCheck("gone", timeout_seconds=1))
    assert not ok
    assert "refused" in reason


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "http://example.com/",
        "http://127.0.0.1.example.com/",
        "http://user@127.0.0.1/",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "http://[::1/",
        "http://127.0.0.1:99999/",
        "",
    ],
)
def test_only_this_machine_is_asked(url: str) -> None:
    with pytest.raises(InputError, match="cannot ask"):
        check_loopback_url(url)


def state_of(directory: Path, pid: int | None) -> Path:
    supervisor, started = own_identity()
    worker = read_process(pid) if pid is not None else None
    path = state_path(directory, "thumbs")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_state(
        path,
        SupervisedState(
            "thumbs", supervisor, started, 1, "running", "2026-03-01T12:00:00Z", pid, worker.started if worker else None
        ),
    )
    return directory


@pytest.mark.slow
def test_a_service_that_stays_up_and_one_that_does_not(tmp_path: Path) -> None:
    restart = Restart(services=("thumbs", "not-in-the-product-file"))
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as worker:
        state = state_of(tmp_path, worker.pid)
        assert check(product_with(), StaysUpCheck(1), state=state, restart=restart) == [("stays-up", True, "")]
        killer = threading.Timer(0.3, worker.send_signal, [signal.SIGKILL])
        killer.start()
        [(_, ok, reason)] = check(product_with(), StaysUpCheck(5), state=state, restart=restart)
        killer.join()
    assert not ok
    assert "main process is gone" in reason
    [(_, ok, _)] = check(product_with(), StaysUpCheck(1), state=state_of(tmp_path, None), restart=restart)
    assert not ok
    [(_, ok, reason)] = check(product_with(), StaysUpCheck(1), state=tmp_path / "empty", restart=restart)
    assert not ok
    assert "cannot find the supervised service" in reason


def test_a_restart_in_between_is_not_staying_up(tmp_path: Path) -> None:
    restart = Restart(services=("thumbs",))
    with subprocess.Popen(["sleep", "600"]) as first, subprocess.Popen(["sleep", "600"]) as second:
        state = state_of(tmp_path, first.pid)
        changer = threading.Timer(0.3, state_of, [tmp_path, second.pid])
        changer.start()
        [(_, ok, reason)] = check(product_with(), StaysUpCheck(5), state=state, restart=restart)
        changer.join()
        first.kill()
        second.kill()
    assert not ok
    assert "did not keep its main process" in reason


def test_a_command_ended_by_a_signal_says_which() -> None:
    result = run_bounded(shell("kill -9 $$"), environment={"PATH": "/bin:/usr/bin"}, timeout_seconds=10)
    assert result.status == -9
    assert result.milliseconds > 0
