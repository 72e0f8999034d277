"""A real web server on loopback for tests and demos: static files, validators, ranges, and faults by path.

It speaks HTTP/1.1 over real sockets and counts what it is asked. Never for the outside: it listens on loopback only.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from suture.testing.http_faults import Fault, LoggedRequest

__all__ = ["Fault", "LoggedRequest", "RepositoryServer", "serve"]


@dataclass
class _State:
    directory: Path
    redirect_to: str = "http://127.0.0.1:9/"
    step_seconds: float = 0.05
    compresses: bool = False
    faults: dict[str, Fault] = field(default_factory=dict)
    breaks_after: dict[str, int] = field(default_factory=dict)
    log: list[LoggedRequest] = field(default_factory=list)
    connections: int = 0
    sockets: set[socket.socket] = field(default_factory=set)
    answering: int = 0
    settled: threading.Condition = field(default_factory=threading.Condition)
    stop: threading.Event = field(default_factory=threading.Event)


class RepositoryServer:
    """Serves a directory on a free port of 127.0.0.1 until closed. Use as a context manager.

    Args:
        directory: what to serve.
        tls: serve https with this context instead of http.
    """

    def __init__(self, directory: Path, *, tls: ssl.SSLContext | None = None) -> None:
        self._state = _State(directory)
        state = self._state

        class Handler(_Handler):
            server_state = state

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                """Clients that hang up are what these tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._scheme = "http" if tls is None else "https"
        if tls is not None:  # the handshake is made in the connection's own thread, at its first read
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> RepositoryServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The base address, without a final slash."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def directory(self) -> Path:
        """What is served; may be set to another one at any time."""
        return self._state.directory

    @directory.setter
    def directory(self, directory: Path) -> None:
        self._state.directory = directory

    def compress(self) -> None:
        """Send bodies of 1 kB and more as gzip where the client asks for it, as web servers do."""
        self._state.compresses = True

    @property
    def log(self) -> tuple[LoggedRequest, ...]:
        """The requests since the last `clear_log`, in the order in which their answers ended.

        A client may have its answer before the server has noted it, so this waits for answers under way, a second at
        most (some hang on purpose).
        """
        with self._state.settled:
            self._state.settled.wait_for(lambda: self._state.answering == 0, timeout=1)
            return tuple(self._state.log)

    @property
    def connections(self) -> int:
        """Connections accepted since the last `clear_log`."""
        return self._state.connections

    def clear_log(self) -> None:
        """Forget what was asked so far."""
        with self._state.settled:
            self._state.settled.wait_for(lambda: self._state.answering == 0, timeout=1)
            self._state.log.clear()
            self._state.connections = 0

    def set_fault(self, pattern: str, fault: Fault, *, step_seconds: float = 0.05, redirect_to: str = "") -> None:
        """Break the paths that match a shell pattern, such as ``/metadata/timestamp.json`` or ``*``."""
        self._state.faults[pattern] = fault
        self._state.step_seconds = step_seconds
        self._state.redirect_to = redirect_to or self._state.redirect_to

    def break_once(self, pattern: str, *, after_bytes: int) -> None:
        """Close the connection after so many body bytes, at the next request of a matching path only."""
        self._state.breaks_after[pattern] = after_bytes

    def clear_faults(self) -> None:
        """Serve honestly again."""
        self._state.faults.clear()
        self._state.breaks_after.clear()

    def close(self) -> None:
        """Stop, and let hanging handlers go."""
        self._state.stop.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        for connection in tuple(self._state.sockets):  # kept-alive connections would go on being served
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_state: _State
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server_state.connections += 1
        self.server_state.sockets.add(self.connection)

    def finish(self) -> None:
        self.server_state.sockets.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Nothing on standard error: `RepositoryServer.log` has it."""

    def do_GET(self) -> None:  # http.server calls it by this name
        state = self.server_state
        fault = next((value for key, value in state.faults.items() if fnmatchcase(self.path, key)), None)
        self.status = self.sent = self.head_bytes = 0
        with state.settled:
            state.answering += 1
        try:
            if fault is None or not self._spoil(fault):
                self._serve(fault)
        except OSError:
            self.close_connection = True
        finally:
            entry = LoggedRequest(self.path, self.status, self.sent, self.head_bytes, tuple(self.headers.items()))
            with state.settled:
                state.log.append(entry)
                state.answering -= 1
                state.settled.notify_all()

    def _spoil(self, fault: Fault) -> bool:
        state = self.server_state
        if fault is Fault.HANG:
            state.stop.wait()
            self.close_connection = True
        elif fault is Fault.REDIRECT:
            self._head(302, 0, Location=state.redirect_to)
        elif fault is Fault.SERVER_ERROR:
            self._whole(500, b"broken")
        elif fault is Fault.NOT_FOUND:
            self._whole(404, b"not found")
        elif fault is Fault.ALWAYS_304:
            self._head(304, None)
        elif fault is Fault.ENDLESS:
            self._head(200, None, Connection="close")
            self.close_connection = True
            self._pour(b"x" * 65536)
        elif fault is Fault.ENDLESS_HEADERS:
            self.close_connection = True
            self._pour(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        elif fault is Fault.TRICKLE_HEADERS:
            self.close_connection = True
            self._drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 60000)
        else:
            return False
        return True

    def _serve(self, fault: Fault | None) -> None:
        path, state = self._file(), self.server_state
        if path is None:
            self._whole(404, b"not found")
            return
        body = path.read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if fault is Fault.WRONG_ETAG:
            etag = f'"{len(self.server_state.log)}"'
        if fault is Fault.FLIPPED:
            body = bytes([*body[: len(body) // 2], body[len(body) // 2] ^ 1, *body[len(body) // 2 + 1 :]])
        encoding = {}
        if state.compresses and len(body) >= 1000 and "gzip" in self.headers.get("Accept-Encoding", ""):
            body, etag, encoding = gzip.compress(body, 9), f'{etag[:-1]}-gzip"', {"Content-Encoding": "gzip"}
        if self.headers.get("If-None-Match") == etag:
            self._head(304, None, ETag=etag)
            return
        if fault is Fault.GZIP:
            self._head(200, len(body), ETag=etag, **{"Content-Encoding": "gzip"})
            self._send(body)
            return
        start = self._range_start(fault, etag, len(body))
        if start:
            shown = start + 1 if fault is Fault.WRONG_RANGE else start
            span = f"bytes {shown}-{len(body) - 1}/{len(body)}"
            self._head(206, len(body) - start, ETag=etag, **{"Content-Range": span})
        else:
            self._head(200, len(body), ETag=etag, **encoding)
        self._body(body[start:], fault)

    def _body(self, body: bytes, fault: Fault | None) -> None:
        breaks = self.server_state.breaks_after
        pattern = next((key for key in breaks if fnmatchcase(self.path, key)), None)
        if fault is Fault.TRICKLE:
            self._drip(body)
        elif fault is Fault.TRUNCATED or pattern is not None:
            cut = len(body) // 2 if pattern is None else breaks.pop(pattern)
            self._send(body[:cut])
            self.close_connection = True
        else:
            self._send(body)

    def _range_start(self, fault: Fault | None, etag: str, size: int) -> int:
        asked = self.headers.get("Range", "")
        if fault is Fault.NO_RANGES or not asked.startswith("bytes="):
            return 0
        if self.headers.get("If-Range", etag) != etag:
            return 0
        start = asked.removeprefix("bytes=").partition("-")[0]
        return int(start) if start.isdigit() and int(start) < size else 0

    def _file(self) -> Path | None:
        name = unquote(urlsplit(self.path).path).lstrip("/")
        root = self.server_state.directory.resolve()
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None

    def _whole(self, status: int, body: bytes) -> None:
        self._head(status, len(body))
        self._send(body)

    def _head(self, status: int, length: int | None, **fields: str) -> None:
        self.status = status
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()

    def flush_headers(self) -> None:
        self.head_bytes += sum(len(line) for line in getattr(self, "_headers_buffer", ()))
        super().flush_headers()

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.sent += len(data)

    def _pour(self, data: bytes) -> None:
        while not self.server_state.stop.is_set():
            self._send(data)

    def _drip(self, data: bytes) -> None:
        for position in range(len(data)):
            if self.server_state.stop.wait(self.server_state.step_seconds):
                return
            self._send(data[position : position + 1])


@contextlib.contextmanager
def serve(directory: Path, *, tls: ssl.SSLContext | None = None) -> Iterator[RepositoryServer]:
    """A running `RepositoryServer`, closed at the end."""
    with RepositoryServer(directory, tls=tls) as server:
        yield server
