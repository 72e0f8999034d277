"""A small static file server for the repository: for trying out, demos and small fleets; any web server does as well.

Serves regular files under ``metadata/`` and ``targets/`` and nothing else: no listing, no writing, no links, no way
out. Names with a version or a digest never change, so they are immutable to caches; ``timestamp.json`` is not.
"""

from __future__ import annotations

import gzip
import hashlib
import http
import io
import json
import os
import re
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from suture.adapters.files import host_errors
from suture.core.clock import format_time
from suture.core.errors import UsageError
from suture.core.limits import KIB

IDLE_SECONDS = 30
"""A connection that says nothing for so long is closed."""
MAXIMUM_CONNECTIONS = 256
_COPY_BYTES = 64 * KIB
_DIGESTED_BYTES = 64 * KIB
"""Files up to this get an ETag of their content; larger ones are named by digest and get one of their inode."""
_PACKED_FROM_BYTES, _PACKED_TO_BYTES = 1 * KIB, 1024 * KIB
_IMMUTABLE = re.compile(r"(?:\d+|[0-9a-f]{64})\.[^/]+\Z")
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})\Z")


@dataclass(frozen=True, slots=True)
class ServedFile:
    """An open regular file. `size` in bytes."""

    file: BinaryIO
    size: int
    etag: str
    encoding: str = ""


def split_listen(text: str) -> tuple[str, int]:
    """``HOST:PORT`` of ``--listen``; port 0 lets the system choose.

    Raises:
        UsageError: no such address.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"cannot listen on {text[:80]!r}: write HOST:PORT, such as 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def open_served(root: Path, url_path: str) -> ServedFile | None:
    """Open what a request's path names, through directories only, never through a link; None where nothing is served.

    Args:
        root: the repository.
        url_path: the request's target, with its query if any.
    """
    names = unquote_to_bytes(urlsplit(url_path).path).split(b"/")
    if len(names) < 3 or names[0] != b"" or names[1] not in (b"metadata", b"targets"):
        return None
    if any(name in (b"", b".", b"..") or name.startswith(b".") or b"\x00" in name for name in names[1:]):
        return None
    try:
        directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in names[1:-1]:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                os.close(directory)
                directory = below
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.fdopen(os.open(names[-1], flags, dir_fd=directory), "rb")
        finally:
            os.close(directory)
    except OSError:
        return None
    return _described(file)


def _described(file: BinaryIO) -> ServedFile | None:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        file.close()
        return None
    if status.st_size <= _DIGESTED_BYTES:
        tag = hashlib.sha256(file.read(_DIGESTED_BYTES)).hexdigest()[:32]
        file.seek(0)
    else:
        tag = f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"
    return ServedFile(file, status.st_size, f'"{tag}"')


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and one-past-last byte of a single range (RFC 9110 §14.1.2); None for the whole file.

    Raises:
        ValueError: not satisfiable.
    """
    match = _RANGE.match(header or "")
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
    if start >= end:
        raise ValueError("not satisfiable")
    return start, end


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"
    server_version = "suture"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    server: RepositoryServer

    def do_GET(self) -> None:
        """A file, a part of it, or 304."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """The same without a body."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's word
        """The request log is written by the server's `log` instead."""

    def _answer(self, *, with_body: bool) -> None:
        started = time.monotonic()
        served = open_served(self.server.repository, self.path)
        if served is None:
            status, sent = self._plain(http.HTTPStatus.NOT_FOUND, with_body=with_body)
        else:
            with served.file:
                status, sent = self._send(self._packed(served), with_body=with_body)
        self.server.log(self.command, self.path, status, sent, time.monotonic() - started)

    def _packed(self, served: ServedFile) -> ServedFile:
        """The same as gzip, where the client takes it and JSON of some size gains by it (docs/scale.md)."""
        takes = "gzip" in self.headers.get("Accept-Encoding", "") and self.headers.get("Range") is None
        if not (takes and self.path.endswith(".json") and _PACKED_FROM_BYTES <= served.size <= _PACKED_TO_BYTES):
            return served
        data = gzip.compress(served.file.read(_PACKED_TO_BYTES), mtime=0)
        return ServedFile(io.BytesIO(data), len(data), f'{served.etag[:-1]}-gzip"', "gzip")

    def _plain(self, status: http.HTTPStatus, *, with_body: bool, size: int | None = None) -> tuple[int, int]:
        body = f"{status.value} {status.phrase}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Cache-Control", "no-store")
        if size is not None:
            self.send_header("Content-Range", f"bytes */{size}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)
        return status.value, len(body) if with_body else 0

    def _send(self, served: ServedFile, *, with_body: bool) -> tuple[int, int]:
        known = {tag.strip().removeprefix("W/") for tag in self.headers.get("If-None-Match", "").split(",")}
        if served.etag in known or "*" in known:
            self._head(http.HTTPStatus.NOT_MODIFIED, served, None)
            return http.HTTPStatus.NOT_MODIFIED.value, 0
        condition = self.headers.get("If-Range")
        wants_part = condition is None or condition == served.etag
        try:
            part = parse_range(self.headers.get("Range"), served.size) if wants_part else None
        except ValueError:
            return self._plain(http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, with_body=with_body, size=served.size)
        status = http.HTTPStatus.OK if part is None else http.HTTPStatus.PARTIAL_CONTENT
        start, end = part or (0, served.size)
        self._head(status, served, (start, end))
        return status.value, self._copy(served, start, end) if with_body else 0

    def _head(self, status: http.HTTPStatus, served: ServedFile, part: tuple[int, int] | None) -> None:
        self.send_response(status)
        immutable = _IMMUTABLE.search(self.path.rpartition("/")[2])
        self.send_header("Cache-Control", "public, max-age=31536000, immutable" if immutable else "no-cache")
        self.send_header("ETag", served.etag)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Vary", "Accept-Encoding")
        if part is not None:
            if served.encoding:
                self.send_header("Content-Encoding", served.encoding)
            kind = "application/json" if self.path.endswith(".json") else "application/octet-stream"
            self.send_header("Content-Type", kind)
            self.send_header("Accept-Ranges", "bytes")
            if status is http.HTTPStatus.PARTIAL_CONTENT:
                self.send_header("Content-Range", f"bytes {part[0]}-{part[1] - 1}/{served.size}")
            self.send_header("Content-Length", str(part[1] - part[0]))
        self.end_headers()

    def _copy(self, served: ServedFile, start: int, end: int) -> int:
        served.file.seek(start)
        sent = 0
        try:
            while chunk := served.file.read(min(_COPY_BYTES, end - start - sent)):
                self.wfile.write(chunk)
                sent += len(chunk)
        except OSError:
            # The reader went away; the log tells how much it got.
            self.close_connection = True
        return sent


class RepositoryServer(ThreadingHTTPServer):
    """Serves one repository, a thread a connection, at most `MAXIMUM_CONNECTIONS` at once.

    Args:
        repository: the directory that holds ``metadata/`` and ``targets/``.
        address: host and port.
        log_file: JSON lines, one a request, or None.
        now: the wall clock, for the log.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, repository: Path, address: tuple[str, int], log_file: BinaryIO | None, now: Callable[[], Any]
    ) -> None:
        self.repository = repository
        self._log_file = log_file
        self._now = now
        self._log_lock = threading.Lock()
        self._places = threading.BoundedSemaphore(MAXIMUM_CONNECTIONS)
        if ":" in address[0]:
            import socket

            self.address_family = socket.AF_INET6
        with host_errors(f"listen on {address[0]}:{address[1]}"):
            super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        """The repository's address, with the port that the system chose."""
        host, port = self.server_address[0], self.server_address[1]
        shown = host.decode() if isinstance(host, bytes) else str(host)
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, from its place in the queue to its end."""
        with self._places:
            super().process_request_thread(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is its reader's affair."""

    def log(self, method: str, path: str, status: int, sent: int, seconds: float) -> None:
        """One line a request; `sent`: bytes of the body."""
        if self._log_file is None:
            return
        entry = {
            "at": format_time(self._now()),
            "method": method,
            "path": path,
            "status": status,
            "bytes": sent,
            "milliseconds": round(seconds * 1000, 3),
        }
        line = json.dumps(entry).encode() + b"\n"
        with self._log_lock:
            self._log_file.write(line)
            self._log_file.flush()
