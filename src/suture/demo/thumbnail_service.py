"""The thumbnail service of the demo: what a vendor's own program looks like. It knows nothing of Suture.

Stand-alone (``python -I -B thumbnail_service.py --root ROOT …``): the standard library, and PIL from ROOT/imaging.
A main process holds the listening socket it was given (sd_listen_fds(3)) and two forked workers answer on it. It says
READY=1 (sd_notify(3)) only after every worker has made thumbnails of each kind of picture and compared the pixels, so a
broken tree never becomes ready. On SIGTERM it drains: it stops accepting (what waits in the accept queue belongs to the
socket, which the supervisor keeps), finishes what is in flight, asks kept connections to close, and ends.

Must never write into ROOT, and never fall back to another PIL than ROOT's.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, cast

FIRST_PASSED_DESCRIPTOR = 3
WORKERS = 2
DRAIN_IDLE_SECONDS = 2.0
"""How long a kept connection may stay silent while draining, before it is closed."""
DRAIN_SECONDS = 20.0
MAXIMUM_SIZE = 512
MAXIMUM_DWELL_SECONDS = 2.0


class Studio:
    """Makes thumbnails with the PIL of one tree, and knows what some must look like."""

    def __init__(self, root: Path, pictures: Path, expectations: Path) -> None:
        component = root / "imaging"
        sys.path.insert(0, str(component))
        import PIL
        from PIL import Image, features

        if not Path(PIL.__file__).resolve().is_relative_to(component.resolve()):
            raise RuntimeError(f"PIL came from {PIL.__file__}, not from {component}")
        self._image: Any = Image
        self._pictures = pictures
        self._expected = json.loads(expectations.read_text(encoding="utf-8"))["pictures"]
        self.versions = {"pillow": str(PIL.__version__), "libwebp": str(features.version("webp")), "root": str(root)}

    def thumbnail(self, name: str, size: int) -> bytes:
        """A PPM (P6) whose longer side is at most `size` pixels. Raises KeyError for a picture it does not have."""
        if name not in self._expected:
            raise KeyError(name)
        with self._image.open(self._pictures / name) as picture:
            small = picture.convert("RGB")
        small.thumbnail((size, size), self._image.Resampling.LANCZOS)
        return b"P6 %d %d 255\n" % small.size + bytes(small.tobytes())

    def check(self) -> None:
        """Make a thumbnail of one picture of each kind and compare it. Raises RuntimeError where one differs."""
        first = {about["kind"]: name for name, about in sorted(self._expected.items(), reverse=True)}
        for kind, name in sorted(first.items()):
            for size, expected in self._expected[name]["thumbnails"].items():
                try:
                    made = hashlib.sha256(self.thumbnail(name, int(size))).hexdigest()
                except Exception as error:  # whatever a broken codec raises is this check's answer
                    raise RuntimeError(f"cannot decode the {kind} picture {name}: {error}") from error
                if made != expected:
                    raise RuntimeError(f"the {kind} picture {name} comes out with other pixels")


class Server(ThreadingMixIn, TCPServer):
    """One worker's server on the shared listening socket."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, studio: Studio) -> None:
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.socket.close()
        listening.setblocking(False)
        self.socket = listening
        self.studio = studio
        self.draining = threading.Event()
        self._open = 0
        self._all_closed = threading.Condition()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count the connection, then hand it to its thread."""
        with self._all_closed:
            self._open += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The connection's end, however it came."""
        super().shutdown_request(request)
        with self._all_closed:
            self._open -= 1
            self._all_closed.notify_all()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """One line, not a traceback: a client that goes away is no fault of ours."""
        print(f"connection ended: {sys.exc_info()[1]!r}", file=sys.stderr, flush=True)

    def drain(self) -> None:
        """Stop accepting, then wait until every connection is closed."""
        self.draining.set()
        self.shutdown()
        with self._all_closed:
            self._all_closed.wait_for(lambda: self._open == 0, timeout=DRAIN_SECONDS)


class Handler(BaseHTTPRequestHandler):
    """GET /thumbnail/NAME?size=N&dwell=SECONDS, /version, /health."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 30

    @property
    def _server(self) -> Server:
        return cast(Server, self.server)

    def handle(self) -> None:
        """Answer requests on one connection until it closes, or until a drain finds it silent."""
        self.close_connection = False
        while not self.close_connection and self._request_comes():
            self.handle_one_request()

    def _request_comes(self) -> bool:
        idle_since = None
        while not select.select([self.connection], [], [], 0.05)[0]:
            if self._server.draining.is_set():
                idle_since = idle_since or time.monotonic()
                if time.monotonic() - idle_since > DRAIN_IDLE_SECONDS:
                    return False
        return True

    def do_GET(self) -> None:
        """Route one request."""
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        studio = self._server.studio
        try:
            if url.path == "/version":
                self._answer_json(200, {**studio.versions, "pid": os.getpid(), "main_pid": os.getppid()})
            elif url.path == "/health":
                studio.check()
                self._answer_json(200, {"healthy": True, **studio.versions})
            elif url.path.startswith("/thumbnail/"):
                size = min(max(int(query.get("size", "96")), 1), MAXIMUM_SIZE)
                dwell = min(max(float(query.get("dwell", "0")), 0.0), MAXIMUM_DWELL_SECONDS)
                self._answer(200, studio.thumbnail(url.path.removeprefix("/thumbnail/"), size), dwell=dwell)
            else:
                self._answer_json(404, {"error": "no such page"})
        except KeyError:
            self._answer_json(404, {"error": "no such picture"})
        except ValueError:
            self._answer_json(400, {"error": "size and dwell must be numbers"})
        except RuntimeError as error:
            self._answer_json(503, {"healthy": False, "reason": str(error)})

    def _answer_json(self, status: int, answer: dict[str, object]) -> None:
        self._answer(status, json.dumps(answer).encode(), kind="application/json")

    def _answer(self, status: int, body: bytes, *, kind: str = "image/x-portable-pixmap", dwell: float = 0) -> None:
        """Send `body`; with `dwell`, half of it, a pause of so many seconds, and the rest: a slow answer in flight."""
        versions = self._server.studio.versions
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Darkroom", f"pillow/{versions['pillow']} libwebp/{versions['libwebp']} main/{os.getppid()}")
        if self._server.draining.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        half = len(body) // 2 if dwell else 0
        if dwell:
            self.wfile.write(body[:half])
            self.wfile.flush()
            time.sleep(dwell)
        self.wfile.write(body[half:])
        self.wfile.flush()  # where a drain began after the header was sent, the next answer asks to close

    def log_message(self, *_: object) -> None:
        """Say nothing for each request."""


def listening_socket() -> socket.socket:
    """The socket that the supervisor passed (sd_listen_fds(3)). Raises RuntimeError where there is none for us."""
    if os.environ.get("LISTEN_PID", str(os.getpid())) != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise RuntimeError("no listening socket was passed: start me under `suture supervise`")
    return socket.socket(fileno=FIRST_PASSED_DESCRIPTOR)


def notify(message: str) -> None:
    """Tell the supervisor (sd_notify(3)); nothing where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
        speaker.connect("\0" + address[1:] if address.startswith("@") else address)
        speaker.sendall(message.encode())


def work(words: argparse.Namespace, listening: socket.socket, ready: int, life: int) -> int:
    """A worker's life: check, say so on `ready`, serve until SIGTERM or until the main process is gone (`life`)."""
    told: list[int] = []  # no Event: its lock is not for handlers, and two signals come, the group's and the main's
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        studio = Studio(words.root, words.pictures, words.expectations)
        studio.check()
    except Exception as error:  # noqa: BLE001  a broken tree may raise anything; the answer is the same
        os.write(ready, f"{error}".encode()[:400])
        return 1
    server = Server(listening, studio)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    os.write(ready, b"ok")
    os.close(ready)
    while not told and not select.select([life], [], [], 0.1)[0]:
        pass
    server.drain()
    return 0


def start_worker(words: argparse.Namespace, listening: socket.socket, life: tuple[int, int]) -> tuple[int, int]:
    """Fork one worker; its process id and the pipe on which it says ``ok`` or why not."""
    told, tell = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(told)
        os.close(life[1])
        status = 1
        with contextlib.suppress(Exception):
            status = work(words, listening, tell, life[0])
        sys.stderr.flush()
        os._exit(status)
    os.close(tell)
    return process, told


def end_workers(workers: list[int]) -> None:
    """SIGTERM to each worker and wait for all: they drain."""
    for process in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
    for process in workers:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, 0)


def main() -> int:
    """Start the workers, say READY=1 when all have passed their check, and wait for SIGTERM or a worker's death."""
    parser = argparse.ArgumentParser(description="the demo's thumbnail service")
    for word in ("--root", "--pictures", "--expectations"):
        parser.add_argument(word, type=Path, required=True)
    words = parser.parse_args()
    words.root = words.root.resolve()
    listening = listening_socket()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
    life = os.pipe()
    started = []
    for _ in range(WORKERS):
        started.append(start_worker(words, listening, life))
    workers = [process for process, _ in started]
    for process, told in started:
        answer = os.read(told, 400)
        if answer != b"ok":
            print(f"worker {process} is not ready: {answer.decode(errors='replace')}", file=sys.stderr, flush=True)
            end_workers(workers)
            return 1
        os.close(told)
    notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=serving from {words.root}")
    print(f"ready: {words.root}, workers {workers}", flush=True)
    came = signal.sigwait({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
    notify("STOPPING=1")
    end_workers(workers)
    print("drained" if came != signal.SIGCHLD else "a worker died", flush=True)
    return 1 if came == signal.SIGCHLD else 0


if __name__ == "__main__":
    sys.exit(main())
