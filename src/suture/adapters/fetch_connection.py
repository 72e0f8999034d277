"""One HTTP/1.1 connection whose every read is paced: total deadline, slowest speed, hard byte bound.

Standard library only: no proxies, no redirects, no retries, no environment variables (not even SSL_CERT_FILE and
SSLKEYLOGFILE). A socket timeout alone bounds one read, not a transfer; here each read asks the pace first, so a server
that trickles header lines or body bytes is given up in time (slow retrieval, TUF specification §1.5.2).
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suture.core.clock import Clock
from suture.core.errors import SlowError, UnreachableError
from suture.core.limits import KIB, SLOWEST_BYTES_PER_SECOND

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CONNECT_SECONDS = 10.0
"""For one address of a host; the next is tried after that."""
SLOW_WINDOW_SECONDS = 30.0
MAXIMUM_HEADER_BYTES = 64 * KIB

_CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@dataclass(slots=True)
class Traffic:
    """What went over the network, counted where it happens. `bytes_received` holds headers and bodies, TLS apart."""

    connections: int = 0
    """Attempts, failed ones included."""
    requests: int = 0
    bytes_received: int = 0


class Deadline:
    """A point on the steady clock that a whole transfer, or several, must not pass."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end = clock.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left.

        Raises:
            SlowError: none are.
        """
        seconds = self._end - self._clock.monotonic()
        if seconds <= 0:
            raise SlowError("cannot finish reading from the repository in time")
        return seconds

    def part(self, parts: int) -> Deadline:
        """A deadline after an equal share of what is left, so that one hanging mirror leaves time for the others."""
        return Deadline(self._clock, self.remaining() / max(1, parts))


class Pace:
    """Judges one answer while it arrives: time, speed and size.

    Args:
        clock: its steady clock.
        deadline: for all of it.
        maximum_bytes: of the body; headers and chunk marks get `MAXIMUM_HEADER_BYTES` and as much again.
        window_seconds: in each such stretch `slowest` times as many bytes must arrive.
        slowest: bytes a second.
    """

    def __init__(
        self,
        clock: Clock,
        deadline: Deadline,
        maximum_bytes: int,
        traffic: Traffic,
        *,
        window_seconds: float = SLOW_WINDOW_SECONDS,
        slowest: float = SLOWEST_BYTES_PER_SECOND,
    ) -> None:
        self._clock = clock
        self._deadline = deadline
        self._left = 2 * maximum_bytes + MAXIMUM_HEADER_BYTES
        self._traffic = traffic
        self._window_seconds = window_seconds
        self._window_minimum = window_seconds * slowest
        self._window_end = clock.monotonic() + window_seconds
        self._window_bytes = 0

    def wait_seconds(self) -> float:
        """How long the next read may block.

        Raises:
            SlowError: the deadline passed, or the last window brought too few bytes.
        """
        now = self._clock.monotonic()
        if now >= self._window_end:
            if self._window_bytes < self._window_minimum:
                raise SlowError("cannot read from the repository: it answers too slowly")
            self._window_end, self._window_bytes = now + self._window_seconds, 0
        return max(0.001, min(self._deadline.remaining(), self._window_end - now))

    def count(self, received: int) -> None:
        """Note bytes that arrived.

        Raises:
            UnreachableError: more than any honest answer holds.
        """
        self._traffic.bytes_received += received
        self._window_bytes += received
        self._left -= received
        if self._left < 0:
            raise UnreachableError("cannot read from the repository: its answer does not end")


class _PacedRaw(io.RawIOBase):
    """The receiving side of a socket, one paced recv at a time."""

    def __init__(self, connection: socket.socket, pace: Pace) -> None:
        super().__init__()
        self._socket = connection
        # Holds the socket open after `Connection: close`, as http.client expects of makefile().
        self._hold = connection.makefile("rb", buffering=0)
        self.pace = pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while True:
            self._socket.settimeout(self.pace.wait_seconds())
            try:
                received = self._socket.recv_into(buffer)
            except TimeoutError:
                continue  # the pace says which bound was passed
            self.pace.count(received)
            return received

    def close(self) -> None:
        self._hold.close()
        super().close()


class _PacedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, pace: Pace, **words: Any) -> None:
        super().__init__(sock, *args, **words)
        self.fp.close()
        self.fp = io.BufferedReader(_PacedRaw(sock, pace), 64 * KIB)


def trusted_authorities(ca_file: Path | None = None) -> ssl.SSLContext:
    """A TLS context that verifies names and chains against the system's authorities, deaf to the environment.

    Raises:
        UnreachableError: no bundle of authorities is where systems keep it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    paths = ssl.get_default_verify_paths()
    candidates = [str(ca_file)] if ca_file is not None else [paths.openssl_cafile, *_CA_FILES]
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            try:
                context.load_verify_locations(cafile=candidate)
            except (OSError, ssl.SSLError) as error:
                raise UnreachableError(f"cannot read the certificate authorities in {candidate}: {error}") from error
            return context
    raise UnreachableError(
        f"cannot verify the repository: no certificate authorities in {candidates[0] or 'the usual places'}",
        advice="install the system's ca-certificates package",
    )


class PacedConnection(http.client.HTTPConnection):
    """A plain or TLS connection to one origin. Use: `begin(pace)`, then `request()` and `getresponse()`."""

    def __init__(self, host: str, port: int, traffic: Traffic, context: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self._traffic = traffic
        self._context = context
        self._pace: Pace | None = None

    def begin(self, pace: Pace) -> None:
        """Set the bounds of the next answer; before `request()`."""
        self._pace = pace
        self.response_class = functools.partial(_PacedResponse, pace=pace)  # type: ignore[assignment]  # a factory will do
        if self.sock is not None:
            self.sock.settimeout(pace.wait_seconds())

    def connect(self) -> None:
        """Try the host's addresses in turn. Called by http.client.

        Raises:
            OSError: none answered.
        """
        assert self._pace is not None  # noqa: S101  # begin() comes first
        last: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            seconds = min(CONNECT_SECONDS, self._pace.wait_seconds())
            attempt = socket.socket(family, kind, protocol)
            self._traffic.connections += 1
            try:
                attempt.settimeout(seconds)
                attempt.connect(address)
                attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._context is not None:
                    # CPython bounds the whole handshake by the socket's timeout, not each read of it.
                    attempt = self._context.wrap_socket(attempt, server_hostname=self.host)
            except OSError as error:
                last = error
                with contextlib.suppress(OSError):
                    attempt.close()
                continue
            self.sock = attempt
            return
        raise last if last is not None else OSError("the host has no address")
