"""The static server as a real process: what it serves, what it must never serve, and how it ends."""

from __future__ import annotations

import gzip
import http.client
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from publisher_workshop import Bench, serving

from suture.core.errors import UsageError
from suture.publisher.serving import open_served, parse_range, split_listen


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """A bench with an initialised workshop."""
    bench = Bench(tmp_path, capsys)
    bench.init()
    return bench


@contextmanager
def connection(url: str) -> Iterator[http.client.HTTPConnection]:
    """One kept-alive connection."""
    client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        yield client
    finally:
        client.close()


def ask(
    client: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers."""
    client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = client.getresponse()
    return response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}


@pytest.mark.slow
def test_json_is_compressed_for_those_who_ask_and_has_an_etag_of_its_own(bench: Bench) -> None:
    root = (bench.workshop / "repository/metadata/1.root.json").read_bytes()
    with serving(bench) as (url, _), connection(url) as client:
        _, plain, whole = ask(client, "/metadata/1.root.json")
        _, packed, headers = ask(client, "/metadata/1.root.json", Accept_Encoding="gzip")
        assert (plain, gzip.decompress(packed)) == (root, root)
        assert "content-encoding" not in whole
        assert (headers["content-encoding"], headers["vary"]) == ("gzip", "Accept-Encoding")
        assert headers["etag"] != whole["etag"]
        answer = ask(client, "/metadata/1.root.json", Accept_Encoding="gzip", If_None_Match=headers["etag"])
        assert (answer[0], answer[1]) == (304, b"")
        status, part, _ = ask(client, "/metadata/1.root.json", Accept_Encoding="gzip", Range="bytes=0-9")
        assert (status, part) == (206, root[:10])


@pytest.mark.slow
def test_caching_ranges_and_keep_alive(bench: Bench) -> None:
    metadata = bench.workshop / "repository" / "metadata"
    root = (metadata / "1.root.json").read_bytes()
    log = bench.root / "log"
    with serving(bench, "--log", str(log)) as (url, _), connection(url) as client:
        status, body, headers = ask(client, "/metadata/timestamp.json")
        used = client.sock
        assert (status, body) == (200, (metadata / "timestamp.json").read_bytes())
        assert headers["cache-control"] == "no-cache"
        status, body, again = ask(client, "/metadata/timestamp.json", If_None_Match=headers["etag"])
        assert (status, body, again["etag"]) == (304, b"", headers["etag"])
        bench.good("refresh", "--force", *bench.online)
        assert ask(client, "/metadata/timestamp.json", If_None_Match=headers["etag"])[0] == 200
        status, body, headers = ask(client, "/metadata/1.root.json", Range="bytes=10-19")
        assert (status, body, headers["content-range"]) == (206, root[10:20], f"bytes 10-19/{len(root)}")
        assert "immutable" in headers["cache-control"]
        assert ask(client, "/metadata/1.root.json", Range="bytes=-5")[1] == root[-5:]
        assert ask(client, "/metadata/1.root.json", Range="bytes=5-")[1] == root[5:]
        assert ask(client, "/metadata/1.root.json", Range="bytes=5-", If_Range='"other"')[:2] == (200, root)
        assert ask(client, "/metadata/1.root.json", Range="bytes=0-1,3-4")[:2] == (200, root)
        assert ask(client, "/metadata/1.root.json", Range=f"bytes={len(root)}-")[0] == 416
        status, body, headers = ask(client, "/metadata/1.root.json", "HEAD")
        assert (status, body, headers["content-length"]) == (200, b"", str(len(root)))
        assert ask(client, "/metadata/2.root.json")[2]["cache-control"] == "no-store"
        assert client.sock is used
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["status"], line["bytes"]) for line in lines[:2]][1] == (304, 0)
    assert lines[3]["bytes"] == 10


@pytest.mark.slow
def test_nothing_outside_and_no_listing(bench: Bench) -> None:
    repository = bench.workshop / "repository"
    (repository / "metadata" / "link.json").symlink_to(bench.workshop / "workshop.json")
    (repository / "targets" / "out").symlink_to(bench.workshop)
    (repository / "metadata" / ".hidden").write_text("half written")
    paths = [
        "/",
        "/metadata",
        "/metadata/",
        "/targets/",
        "/workshop.json",
        "/metadata/../../workshop.json",
        "/metadata/%2e%2e/%2e%2e/workshop.json",
        "/metadata/..%2f..%2fworkshop.json",
        "/metadata//1.root.json",
        "/metadata/link.json",
        "/targets/out/workshop.json",
        "/metadata/.hidden",
        "/metadata/1.root.json/",
        "/metadata/1.root.json%00",
        "/metadata/\\..\\..\\workshop.json",
        "/keys/",
        "/metadata/" + "a" * 5000,
        "metadata/1.root.json",
    ]
    with serving(bench) as (url, _), connection(url) as client:
        for path in paths:
            assert ask(client, path)[0] == 404, path
        assert ask(client, "/metadata/1.root.json?version=1")[0] == 200
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status = ask(client, "/metadata/1.root.json", method)[0]
            assert status in (405, 501)
            client.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_open_connections(bench: Bench, number: signal.Signals) -> None:
    with serving(bench) as (url, process), connection(url) as client:
        assert ask(client, "/metadata/1.root.json")[0] == 200
        process.send_signal(number)
        assert process.wait(10) == 0


@pytest.mark.slow
def test_garbage_does_not_end_it(bench: Bench) -> None:
    with serving(bench) as (url, process):
        place = urlsplit(url)
        for garbage in (b"\x00" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G" * 100_000 + b"\r\n\r\n"):
            with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as raw:
                raw.sendall(garbage)
        with connection(url) as client:
            assert ask(client, "/metadata/1.root.json")[0] == 200
        assert process.poll() is None


def test_an_address_that_cannot_be_used(bench: Bench) -> None:
    for text in ("", "8080", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", ":80"):
        with pytest.raises(UsageError):
            split_listen(text)
    assert split_listen("[::1]:80") == ("::1", 80)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = bench.run("serve", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--json")
    assert answer.code == 60
    assert answer.json["error"]["message"].startswith("cannot listen on")


@given(st.text())
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = tmp_path_factory.getbasetemp() / "served"
    (root / "metadata").mkdir(parents=True, exist_ok=True)
    assert open_served(root, f"/metadata/{text}") is None


@given(st.text(alphabet="0123456789-bytes=, "), st.integers(0, 1000))
def test_a_range_lies_inside_the_file(text: str, size: int) -> None:
    try:
        part = parse_range(text, size)
    except ValueError:
        return
    assert part is None or 0 <= part[0] < part[1] <= size
