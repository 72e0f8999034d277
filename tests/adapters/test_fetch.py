"""The door to the web against servers that stall, trickle, pour, redirect and lie."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from suture.adapters.clock import SystemClock
from suture.adapters.fetch import Deadline, Fetcher, StatusError, TooLongError, Validators
from suture.adapters.fetch_address import split_address
from suture.adapters.fetch_gzip import unzipped
from suture.core.errors import InputError, SlowError, UnreachableError
from suture.testing.certificates import server_context, write_certificate
from suture.testing.http_server import Fault, RepositoryServer, serve

CLOCK = SystemClock()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RepositoryServer]:
    (tmp_path / "small").write_bytes(b"hello")
    (tmp_path / "large").write_bytes(bytes(range(256)) * 4000)
    with serve(tmp_path) as running:
        yield running


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    made = Fetcher(CLOCK)
    yield made
    made.close()


def get(fetcher: Fetcher, url: str, maximum_bytes: int = 100, seconds: float = 5.0) -> bytes | None:
    return fetcher.get(url, maximum_bytes=maximum_bytes, deadline=Deadline(CLOCK, seconds)).body


def test_everything_is_counted_and_one_connection_serves_many_requests(
    server: RepositoryServer, fetcher: Fetcher
) -> None:
    for _ in range(5):
        assert get(fetcher, f"{server.url}/small") == b"hello"
    assert (fetcher.traffic.connections, fetcher.traffic.requests) == (1, 5)
    assert server.connections == 1
    assert fetcher.traffic.bytes_received > 5 * 5


def test_nothing_tells_devices_apart(server: RepositoryServer, fetcher: Fetcher) -> None:
    get(fetcher, f"{server.url}/small")
    names = {name.lower(): value for name, value in server.log[0].headers}
    assert set(names) == {"host", "user-agent", "accept-encoding", "accept"}
    assert names["user-agent"] == "suture/1"


def test_a_conditional_request_that_changed_nothing_brings_no_body(server: RepositoryServer, fetcher: Fetcher) -> None:
    url = f"{server.url}/small"
    first = fetcher.get(url, maximum_bytes=100, deadline=Deadline(CLOCK, 5))
    again = fetcher.get(url, maximum_bytes=100, deadline=Deadline(CLOCK, 5), known=first.validators)
    assert again.body is None
    assert again.validators == first.validators


def test_a_server_without_etags_is_asked_by_time(server: RepositoryServer, fetcher: Fetcher) -> None:
    known = Validators(last_modified="Sun, 01 Mar 2026 12:00:00 GMT")
    server.set_fault("/small", Fault.ALWAYS_304)
    answer = fetcher.get(f"{server.url}/small", maximum_bytes=9, deadline=Deadline(CLOCK, 5), known=known)
    assert answer.body is None
    assert server.log[0].header("If-Modified-Since") == known.last_modified


def test_a_304_that_was_not_asked_for_is_no_answer(server: RepositoryServer, fetcher: Fetcher) -> None:
    server.set_fault("/small", Fault.ALWAYS_304)
    with pytest.raises(StatusError, match="304"):
        get(fetcher, f"{server.url}/small")
    with pytest.raises(StatusError, match="304"):
        fetcher.get(f"{server.url}/small", maximum_bytes=9, deadline=Deadline(CLOCK, 5), known=Validators())


@pytest.mark.parametrize("fault", [Fault.ENDLESS, Fault.ENDLESS_HEADERS])
def test_an_answer_without_end_is_cut_off_at_its_bound(
    server: RepositoryServer, fetcher: Fetcher, fault: Fault
) -> None:
    server.set_fault("/small", fault)
    with pytest.raises(UnreachableError):
        get(fetcher, f"{server.url}/small", maximum_bytes=1000, seconds=20)
    assert fetcher.traffic.bytes_received < 1_000_000


@pytest.mark.parametrize("fault", [Fault.TRICKLE, Fault.TRICKLE_HEADERS, Fault.HANG])
def test_a_lively_trickle_ends_at_the_total_deadline(server: RepositoryServer, fetcher: Fetcher, fault: Fault) -> None:
    server.set_fault("/large", fault, step_seconds=0.02)
    began = time.monotonic()
    with pytest.raises(SlowError):
        get(fetcher, f"{server.url}/large", maximum_bytes=2_000_000, seconds=0.4)
    assert time.monotonic() - began < 2


def test_a_transfer_below_the_slowest_speed_is_given_up_long_before_the_deadline(server: RepositoryServer) -> None:
    slow = Fetcher(CLOCK, window_seconds=0.3, slowest_bytes_per_second=1000)
    server.set_fault("/large", Fault.TRICKLE, step_seconds=0.01)
    began = time.monotonic()
    with pytest.raises(SlowError, match="too slowly"):
        get(slow, f"{server.url}/large", maximum_bytes=2_000_000, seconds=3600)
    assert time.monotonic() - began < 3


def test_a_small_file_is_not_slow_because_it_is_small(server: RepositoryServer) -> None:
    quick = Fetcher(CLOCK, window_seconds=0.2, slowest_bytes_per_second=100_000)
    for _ in range(3):
        assert get(quick, f"{server.url}/small") == b"hello"
    quick.close()


def test_a_redirect_is_an_error_and_its_target_is_never_asked(
    server: RepositoryServer, fetcher: Fetcher, tmp_path: Path
) -> None:
    with serve(tmp_path) as other:
        server.set_fault("/small", Fault.REDIRECT, redirect_to=f"{other.url}/small")
        with pytest.raises(StatusError, match="redirects"):
            get(fetcher, f"{server.url}/small")
        assert other.connections == 0


def test_proxies_in_the_environment_are_not_asked(
    server: RepositoryServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert get(fetcher, f"{server.url}/small") == b"hello"


@pytest.mark.parametrize(
    ("fault", "status"), [(Fault.SERVER_ERROR, 500), (Fault.NOT_FOUND, 404), (Fault.REDIRECT, 302)]
)
def test_an_answer_that_is_not_the_file_has_its_status(
    server: RepositoryServer, fetcher: Fetcher, fault: Fault, status: int
) -> None:
    server.set_fault("/small", fault)
    with pytest.raises(StatusError) as caught:
        get(fetcher, f"{server.url}/small")
    assert caught.value.status == status
    server.clear_faults()
    assert get(fetcher, f"{server.url}/small") == b"hello"


def test_a_truncated_body_is_no_body(server: RepositoryServer, fetcher: Fetcher) -> None:
    server.set_fault("/large", Fault.TRUNCATED)
    with pytest.raises(UnreachableError):
        get(fetcher, f"{server.url}/large", maximum_bytes=2_000_000)


def test_a_body_one_byte_over_its_bound_is_refused(server: RepositoryServer, fetcher: Fetcher) -> None:
    assert get(fetcher, f"{server.url}/small", maximum_bytes=5) == b"hello"
    with pytest.raises(TooLongError):
        get(fetcher, f"{server.url}/small", maximum_bytes=4)


def test_an_encoding_that_was_not_asked_for_is_refused(server: RepositoryServer, fetcher: Fetcher) -> None:
    server.set_fault("/small", Fault.GZIP)
    with pytest.raises(UnreachableError, match="gzip"):
        get(fetcher, f"{server.url}/small")


def test_gzip_is_unpacked_within_the_bound_and_compared_by_its_own_etag(
    server: RepositoryServer, fetcher: Fetcher, tmp_path: Path
) -> None:
    (tmp_path / "text").write_bytes(b"a line of text\n" * 1000)
    server.compress()
    first = fetcher.get(f"{server.url}/text", maximum_bytes=15_000, deadline=Deadline(CLOCK, 5))
    assert first.body == b"a line of text\n" * 1000
    assert server.log[-1].body_bytes < 200
    again = fetcher.get(f"{server.url}/text", maximum_bytes=15_000, deadline=Deadline(CLOCK, 5), known=first.validators)
    assert again.body is None
    assert server.connections == 1
    with pytest.raises(TooLongError):
        get(fetcher, f"{server.url}/text", maximum_bytes=14_999)


@pytest.mark.parametrize("spoil", ["cut", "trailing", "junk", "flipped"])
def test_a_gzip_body_that_is_not_whole_is_no_body(spoil: str) -> None:
    packed = gzip.compress(os.urandom(3000))
    spoilt = {
        "cut": packed[:-1],
        "trailing": packed + b"x",
        "junk": b"junk" * 100,
        "flipped": packed[:1500] + bytes([packed[1500] ^ 1]) + packed[1501:],
    }[spoil]
    for size in (1, 100, len(spoilt)):
        chunks = iter([spoilt[start : start + size] for start in range(0, len(spoilt), size)])
        with pytest.raises(UnreachableError):
            b"".join(unzipped("x", chunks, 10_000))


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again_once(tmp_path: Path, fetcher: Fetcher) -> None:
    (tmp_path / "small").write_bytes(b"hello")
    with serve(tmp_path) as server:
        get(fetcher, f"{server.url}/small")
        connection = next(iter(fetcher._connections.values()))
        assert connection.sock is not None
        connection.sock.shutdown(2)  # as a peer's close looks from here
        assert get(fetcher, f"{server.url}/small") == b"hello"
        assert fetcher.traffic.connections == 2
    with pytest.raises(UnreachableError):
        get(fetcher, f"{server.url}/small")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/x",
        "ftp://127.0.0.1/x",
        "https://user:word@example.org/x",
        "https:///x",
        "https://example.org/x#y",
        "http://127.0.0.1.example.org/x",
        "http://[::1",
    ],
)
def test_addresses_that_are_refused(url: str, fetcher: Fetcher) -> None:
    with pytest.raises(InputError):
        get(fetcher, url)
    assert fetcher.traffic.connections == 0


def test_plain_http_is_for_loopback_or_for_hosts_that_a_person_allowed() -> None:
    assert split_address("http://mirror.example/x", {"mirror.example"})[0].port == 80
    assert split_address("http://localhost:8080/x", ())[0].port == 8080
    assert split_address("http://[::1]/x?y=1", ()) == (split_address("http://[::1]/", ())[0], "/x?y=1")
    assert split_address("https://example.org", ())[0].port == 443


def test_a_partial_download_goes_on_where_it_broke_off(
    server: RepositoryServer, fetcher: Fetcher, tmp_path: Path
) -> None:
    whole = (tmp_path / "large").read_bytes()
    at_hand = bytearray(whole[:100_000])
    fetcher.download(
        f"{server.url}/large",
        size=len(whole),
        offset=len(at_hand),
        deadline=Deadline(CLOCK, 5),
        write=at_hand.extend,
        restart=at_hand.clear,
    )
    assert bytes(at_hand) == whole
    assert server.log[0].header("Range") == f"bytes=100000-{len(whole) - 1}"
    assert server.log[0].status == 206


@pytest.mark.parametrize("if_range", ["", '"another"'])
def test_a_server_without_ranges_or_with_another_file_sends_it_whole(
    server: RepositoryServer, fetcher: Fetcher, tmp_path: Path, if_range: str
) -> None:
    whole = (tmp_path / "large").read_bytes()
    if not if_range:
        server.set_fault("/large", Fault.NO_RANGES)
    at_hand = bytearray(b"x" * 1000)
    fetcher.download(
        f"{server.url}/large",
        size=len(whole),
        offset=1000,
        deadline=Deadline(CLOCK, 5),
        write=at_hand.extend,
        restart=at_hand.clear,
        if_range=if_range,
    )
    assert bytes(at_hand) == whole


def test_another_range_than_asked_for_is_refused(server: RepositoryServer, fetcher: Fetcher) -> None:
    server.set_fault("/large", Fault.WRONG_RANGE)
    with pytest.raises(UnreachableError, match="another range"):
        fetcher.download(
            f"{server.url}/large",
            size=1_024_000,
            offset=10,
            deadline=Deadline(CLOCK, 5),
            write=lambda _: None,
            restart=lambda: None,
        )


def test_certificates_are_verified_and_the_environment_cannot_add_authorities(tmp_path: Path) -> None:
    """A real TLS server with a certificate that only SSL_CERT_FILE would make good."""
    certificate = write_certificate(tmp_path)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "small").write_bytes(b"hello")
    with serve(tmp_path / "web", tls=server_context(certificate)) as server:
        url = f"{server.url}/small"
        trusting = Fetcher(CLOCK, ca_file=certificate)
        assert [get(trusting, url) for _ in range(3)] == [b"hello"] * 3
        assert trusting.traffic.connections == 1, "one handshake"
        trusting.close()
        with pytest.raises(UnreachableError):
            get(Fetcher(CLOCK, ca_file=tmp_path / "none.pem"), url)
        environment = {**os.environ, "SSL_CERT_FILE": str(certificate), "SSLKEYLOGFILE": str(tmp_path / "leak")}
        run = subprocess.run(
            [sys.executable, "-c", ASKS_WITH_SYSTEM_AUTHORITIES, url],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "verify failed" in run.stdout or "no certificate authorities" in run.stdout
        assert not (tmp_path / "leak").exists()


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path, "127.0.0.2")
    with serve(tmp_path, tls=server_context(certificate)) as server:
        fetcher = Fetcher(CLOCK, ca_file=certificate)
        with pytest.raises(UnreachableError, match="verify failed"):
            get(fetcher, f"{server.url}/certificate.pem")
        fetcher.close()
        assert server.log == ()


ASKS_WITH_SYSTEM_AUTHORITIES = """
import sys
from suture.adapters.clock import SystemClock
from suture.adapters.fetch import Deadline, Fetcher
from suture.core.errors import UnreachableError
try:
    Fetcher(SystemClock()).get(sys.argv[1], maximum_bytes=9, deadline=Deadline(SystemClock(), 5))
except UnreachableError as error:
    print(error)
"""
