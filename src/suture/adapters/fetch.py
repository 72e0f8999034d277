"""The door to the repository's web server: bounded, paced GET requests and nothing else.

Never follows a redirect, asks a proxy, reads an environment variable, sends a cookie or anything that tells devices
apart. Never believes a length from a header. What comes back is untrusted bytes; `suture.trust` and TUF judge them.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from suture.adapters.fetch_address import Origin, split_address
from suture.adapters.fetch_answers import Answer, StatusError, TooLongError, Validators
from suture.adapters.fetch_connection import (
    SLOW_WINDOW_SECONDS,
    Deadline,
    Pace,
    PacedConnection,
    Traffic,
    trusted_authorities,
)
from suture.adapters.fetch_files import is_file_address, read_address, stream_address
from suture.adapters.fetch_gzip import unzipped
from suture.core.clock import Clock
from suture.core.errors import UnreachableError
from suture.core.limits import KIB, SLOWEST_BYTES_PER_SECOND

__all__ = ["Answer", "Deadline", "Fetcher", "StatusError", "TooLongError", "Traffic", "Validators"]

USER_AGENT = "suture/1"
_CHUNK_BYTES = 64 * KIB
_SMALL_BYTES = 16 * KIB
_MAXIMUM_VALIDATOR_BYTES = 256


class Fetcher:
    """Requests on kept-alive connections, one an origin. Not for two threads at once.

    Args:
        clock: its steady clock paces; its wall clock is not read.
        allow_http_hosts: hosts other than loopback that plain http:// is allowed for.
        ca_file: certificate authorities to use instead of the system's.
        window_seconds: see `Pace`; tests shorten it.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        allow_http_hosts: Collection[str] = (),
        ca_file: Path | None = None,
        window_seconds: float = SLOW_WINDOW_SECONDS,
        slowest_bytes_per_second: float = SLOWEST_BYTES_PER_SECOND,
    ) -> None:
        self.traffic = Traffic()
        self._clock = clock
        self._allow_http_hosts = frozenset(allow_http_hosts)
        self._ca_file = ca_file
        self._window_seconds = window_seconds
        self._slowest = slowest_bytes_per_second
        self._connections: dict[Origin, PacedConnection] = {}
        self._context: ssl.SSLContext | None = None

    def get(self, url: str, *, maximum_bytes: int, deadline: Deadline, known: Validators | None = None) -> Answer:
        """Fetch a small file whole.

        Args:
            url: absolute: http, https, or ``file:///`` (never compared, always read).
            maximum_bytes: hard bound of the body.
            deadline: shared with other requests of the same job.
            known: validators of the copy at hand; with them the answer may be 304 (RFC 9110 §13).

        Raises:
            StatusError: neither 200 nor an asked-for 304; a redirect is one of these.
            TooLongError: the body is longer than `maximum_bytes`.
            SlowError: the deadline or the slowest speed was passed.
            UnreachableError: no connection, a broken one, a truncated body, an unwanted encoding.
        """
        if is_file_address(url):
            deadline.remaining()
            return Answer(read_address(url, maximum_bytes), Validators())
        headers = {}
        if known is not None and known.etag:
            headers["If-None-Match"] = known.etag
        elif known is not None and known.last_modified:
            headers["If-Modified-Since"] = known.last_modified
        asked = bool(headers)
        # JSON shrinks to a third; large metadata of products with many releases to a twentieth (docs/scale.md).
        response = self._request(url, {**headers, "Accept-Encoding": "gzip"}, maximum_bytes, deadline)
        if response.status == 304 and asked and known is not None:
            self._drain(url, response)
            return Answer(None, known)
        self._expect(url, response, (200,), encodings=("gzip",))
        chunks = self._chunks(url, response, maximum_bytes)
        if _encoding(response) == "gzip":
            chunks = unzipped(url, chunks, maximum_bytes)
        return Answer(b"".join(chunks), _validators(response))

    def download(
        self,
        url: str,
        *,
        size: int,
        offset: int,
        deadline: Deadline,
        write: Callable[[bytes], None],
        restart: Callable[[], None],
        if_range: str = "",
    ) -> str:
        """Stream a large file of known size, from `offset` on where the server can.

        Args:
            size: of the whole file, from signed metadata, bytes.
            offset: how much is at hand already.
            write: takes each chunk in order.
            restart: called before the first `write` when the server sends the whole file after all.
            if_range: a strong ETag of the copy at hand (RFC 9110 §13.1.5); empty: the final digest alone decides.

        Returns:
            The answer's strong ETag, or the empty string.

        Raises:
            NetworkError: as `get`; what was written stays for the next try.
        """
        if is_file_address(url):
            stream_address(url, size=size, offset=offset, deadline=deadline, write=write)
            return ""
        headers = {"Range": f"bytes={offset}-{size - 1}"} if offset else {}
        if offset and if_range:
            headers["If-Range"] = if_range
        response = self._request(url, headers, size, deadline)
        self._expect(url, response, (200, 206) if offset else (200,))
        if response.status == 206:
            self._verify_range(url, response, f"bytes {offset}-{size - 1}/{size}")
        elif offset:
            restart()
            offset = 0
        for chunk in self._chunks(url, response, size - offset):
            write(chunk)
        etag = _validators(response).etag
        return etag if etag.startswith('"') else ""

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _request(
        self, url: str, headers: dict[str, str], maximum_bytes: int, deadline: Deadline
    ) -> http.client.HTTPResponse:
        origin, path = split_address(url, self._allow_http_hosts)
        fields = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*", **headers}
        reused = origin in self._connections
        while True:
            connection = self._connections.get(origin) or self._connect(origin)
            pace = Pace(
                self._clock,
                deadline,
                maximum_bytes,
                self.traffic,
                window_seconds=self._window_seconds,
                slowest=self._slowest,
            )
            try:
                connection.begin(pace)
                self.traffic.requests += 1
                connection.request("GET", path, headers=fields)
                return connection.getresponse()
            except (ConnectionError, http.client.RemoteDisconnected) as error:
                # A kept-alive connection may have been closed by the server meanwhile: once, a new one is tried.
                self._close(origin)
                if not reused:
                    raise UnreachableError(f"cannot read {url}: {_words(error)}") from error
                reused = False
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._close(origin)
                raise UnreachableError(f"cannot read {url}: {_words(error)}") from error
            except BaseException:
                self._close(origin)
                raise

    def _connect(self, origin: Origin) -> PacedConnection:
        if origin.scheme == "https" and self._context is None:
            self._context = trusted_authorities(self._ca_file)
        context = self._context if origin.scheme == "https" else None
        connection = PacedConnection(origin.host, origin.port, self.traffic, context)
        self._connections[origin] = connection
        return connection

    def _expect(
        self,
        url: str,
        response: http.client.HTTPResponse,
        statuses: tuple[int, ...],
        encodings: tuple[str, ...] = (),
    ) -> None:
        status, encoding = response.status, _encoding(response)
        if status in statuses and encoding in ("", "identity", *encodings):
            return
        if response.length is not None and response.length <= _SMALL_BYTES:
            self._drain(url, response)  # an error page is read away, so that its connection can be used again
        else:
            self._drop(url, response)
        if status in statuses:
            raise UnreachableError(f"cannot use {url}: it is sent as {encoding[:40]}, which was not asked for")
        if 300 <= status < 400:
            raise StatusError(f"cannot read {url}: the server redirects ({status}), which is not followed", status)
        raise StatusError(f"cannot read {url}: the server answers {status}", status)

    def _verify_range(self, url: str, response: http.client.HTTPResponse, wanted: str) -> None:
        if response.getheader("Content-Range", "").strip() != wanted:
            self._drop(url, response)
            raise UnreachableError(f"cannot resume {url}: the server sends another range than was asked for")

    def _chunks(self, url: str, response: http.client.HTTPResponse, maximum_bytes: int) -> Iterator[bytes]:
        received = 0
        complete = False
        try:
            while chunk := response.read1(_CHUNK_BYTES):
                received += len(chunk)
                if received > maximum_bytes:
                    raise TooLongError(f"cannot use {url}: it is longer than {maximum_bytes:,} bytes")
                yield chunk
            # http.client ends a truncated body in silence when read piece by piece.
            if response.length:
                raise UnreachableError(f"cannot read {url}: it broke off after {received:,} bytes")
            complete = True
            response.close()  # fully read: this frees the connection for the next request
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnreachableError(f"cannot read {url}: {_words(error)}") from error
        finally:
            if not complete:
                self._drop(url, response)

    def _drain(self, url: str, response: http.client.HTTPResponse) -> None:
        for _ in self._chunks(url, response, _SMALL_BYTES):
            pass

    def _drop(self, url: str, response: http.client.HTTPResponse) -> None:
        response.close()
        self._close(split_address(url, self._allow_http_hosts)[0])

    def _close(self, origin: Origin) -> None:
        connection = self._connections.pop(origin, None)
        if connection is not None:
            connection.close()


def _validators(response: http.client.HTTPResponse) -> Validators:
    return Validators(
        etag=_printable(response.getheader("ETag", "")),
        last_modified=_printable(response.getheader("Last-Modified", "")),
    )


def _encoding(response: http.client.HTTPResponse) -> str:
    return response.getheader("Content-Encoding", "identity").strip().lower()


def _printable(value: str) -> str:
    """A header's value that may be sent back later, or nothing."""
    fits = len(value) <= _MAXIMUM_VALIDATOR_BYTES and value.isascii() and value.isprintable()
    return value.strip() if fits else ""


def _words(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text or type(error).__name__
