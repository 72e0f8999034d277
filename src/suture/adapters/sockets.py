"""Sockets: the listening one that is kept across restarts, sd_notify(3)'s, and one bounded question over loopback HTTP.

No proxies and no redirects, whatever the environment says; an answer's body is never read further than its bound.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import ipaddress
import os
import secrets
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from suture.core.errors import HostError, InputError, RightsError

_BACKLOG = 4096
"""net.core.somaxconn's default since Linux 5.4; what waits while workers change places."""
_MAXIMUM_UNIX_PATH = 107
"""sun_path without its final NUL, unix(7)."""
_MAXIMUM_NOTIFY_BYTES = 4096
_CREDENTIALS = struct.Struct("3i")


def listen(address: str) -> socket.socket:
    """Bind and listen once.

    Args:
        address: ``HOST:PORT``, ``[v6]:PORT``, ``PORT`` 0 for any free one, or ``unix:/path`` (an old socket that
            nobody answers on any more is replaced).

    Raises:
        InputError: another spelling. HostError: the address is taken or not ours; RightsError: a port below 1024.
    """
    if address.startswith("unix:"):
        return _listen_unix(address.removeprefix("unix:"))
    host, separator, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InputError(f"cannot listen on {address!r}: write it as HOST:PORT, [v6]:PORT or unix:/path")
    if ":" in host and not bracketed:
        raise InputError(f"cannot listen on {address!r}: write the IPv6 address in square brackets")
    try:
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        server = socket.socket(family[0], socket.SOCK_STREAM)
    except OSError as error:
        raise HostError(f"cannot listen on {address}: {error.strerror or error}") from error
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(family[4])
        server.listen(_BACKLOG)
    except OSError as error:
        server.close()
        raise _cannot_listen(address, error) from error
    return server


def _cannot_listen(address: str, error: OSError) -> HostError | RightsError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return RightsError(f"cannot listen on {address}: {error.strerror}")
    advice = "stop what listens there, or choose another address" if error.errno == errno.EADDRINUSE else None
    return HostError(f"cannot listen on {address}: {error.strerror}", advice=advice)


def _listen_unix(path: str) -> socket.socket:
    if not path.startswith("/") or len(os.fsencode(path)) > _MAXIMUM_UNIX_PATH:
        raise InputError(f"cannot listen on unix:{path}: it must be absolute and at most {_MAXIMUM_UNIX_PATH} bytes")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.lexists(path) and stat.S_ISSOCK(os.lstat(path).st_mode) and not _answers(path):
            os.unlink(path)
        server.bind(path)
        server.listen(_BACKLOG)
    except OSError as error:
        server.close()
        raise _cannot_listen(f"unix:{path}", error) from error
    return server


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        return client.connect_ex(path) != errno.ECONNREFUSED


def close_listener(server: socket.socket) -> None:
    """Close it, and remove a unix socket's name."""
    with contextlib.suppress(OSError):
        if server.family == socket.AF_UNIX:
            os.unlink(server.getsockname())
    server.close()


def address_of(server: socket.socket) -> str:
    """Where it really listens, spelt as `listen` takes it."""
    if server.family == socket.AF_UNIX:
        return f"unix:{server.getsockname()}"
    host, port = server.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class NotifySocket:
    """The receiving end of sd_notify(3): one for each worker, so that one cannot speak for another.

    An abstract unix socket with a random name: nothing to clean up after a crash, no path too long. Who writes is
    checked by the kernel's credentials (SCM_CREDENTIALS): only this user, root and `session`'s processes are heard.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setblocking(False)
        self.address = f"@suture-notify-{secrets.token_hex(16)}"
        self._socket.bind("\0" + self.address[1:])

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def receive(self, session: int) -> dict[str, str]:
        """All assignments that have arrived, the later ones winning; nothing from strangers."""
        said: dict[str, str] = {}
        while True:
            try:
                data, ancillary, flags, _ = self._socket.recvmsg(_MAXIMUM_NOTIFY_BYTES, 1024)
            except BlockingIOError:
                return said
            _close_passed(ancillary)
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or not _is_heard(ancillary, session):
                continue
            for line in data.decode("utf-8", "replace").split("\n"):
                key, separator, value = line.partition("=")
                if separator:
                    said[key] = value

    def close(self) -> None:
        """No more is heard."""
        self._socket.close()


def tell_service_manager(message: str) -> None:
    """sd_notify(3): tell whoever started us, where anybody asked to be told; nothing fails by it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("@", "/")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)


def _close_passed(ancillary: list[tuple[int, int, bytes]]) -> None:
    """File descriptors sent along (FDSTORE=1) are not ours to keep."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            for (descriptor,) in struct.iter_unpack("i", data[: len(data) - len(data) % 4]):
                os.close(descriptor)


def _is_heard(ancillary: list[tuple[int, int, bytes]], session: int) -> bool:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid, user, _ = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])
            if user in (0, os.geteuid()):
                return True
            with contextlib.suppress(OSError):
                return os.getsid(pid) == session
    return False


def check_loopback_url(url: str) -> str:
    """Return `url` if it is plain HTTP on this machine.

    Raises:
        InputError: another scheme or host, or no port that makes sense.
    """
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        host = parts.hostname or ""
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
        if parts.scheme == "http" and local and parts.username is None and (parts.port is None or parts.port > 0):
            return url
    raise InputError(f"cannot ask {url[:200]!r}: write http://127.0.0.1:PORT/PATH; only this machine is asked")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer's status code, the first 4 KiB of its body, and the pid in its ``Suture-Worker`` field, if any."""

    status: int
    body: str
    worker: str | None


def ask_loopback(url: str, *, timeout_seconds: float) -> HttpAnswer:
    """GET a loopback URL once.

    Args:
        url: as `check_loopback_url` allows.
        timeout_seconds: for the whole exchange, however lively the trickle.

    Raises:
        HostError: refused, too slow, or no HTTP.
    """
    parts = urlsplit(check_loopback_url(url))
    deadline = time.monotonic() + timeout_seconds
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_seconds)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.connect()
        with _cut_at(connection.sock, deadline):
            connection.request("GET", target, headers={"Connection": "close", "User-Agent": "suture-health"})
            answer = connection.getresponse()
            body = answer.read(4096).decode("utf-8", "replace")
            if time.monotonic() >= deadline:  # cut off in mid-answer, http.client takes what it has for all of it
                raise TimeoutError
            return HttpAnswer(answer.status, body, answer.getheader("Suture-Worker"))
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        late = time.monotonic() >= deadline or isinstance(error, TimeoutError)
        raise HostError(f"cannot get {url}: {'no answer in time' if late else reason}") from error
    finally:
        connection.close()


@contextlib.contextmanager
def _cut_at(sock: socket.socket, deadline: float) -> Iterator[None]:
    """Shut the socket down at the deadline: http.client's own timeout begins anew with every byte of a trickle."""

    def cut() -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
