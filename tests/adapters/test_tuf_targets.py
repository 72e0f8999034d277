"""A patch's way onto the disk: broken off, resumed, planted links, wrong bytes, and what lies there afterwards."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from suture.adapters.clock import SystemClock
from suture.adapters.fetch import Deadline, Fetcher
from suture.adapters.tuf_targets import download_target
from suture.core.digests import digest_bytes
from suture.core.errors import BusyError, DigestMismatchError, NetworkError, SlowError, StorageError, UnreachableError
from suture.testing.http_server import Fault, RepositoryServer, serve

DATA = os.urandom(500_000)
DIGEST = digest_bytes(DATA)
CLOCK = SystemClock()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RepositoryServer]:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "patch").write_bytes(DATA)
    with serve(tmp_path / "web") as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / "1.patch"


def download(servers: list[RepositoryServer], place: Path, *, seconds: float = 5.0, size: int = len(DATA)) -> Fetcher:
    fetcher = Fetcher(CLOCK)
    urls = [f"{server.url}/patch" for server in servers]
    try:
        download_target(fetcher, urls, digest=DIGEST, size=size, destination=place, deadline=Deadline(CLOCK, seconds))
    finally:
        fetcher.close()
    return fetcher


def left(place: Path) -> list[str]:
    return sorted(path.name for path in place.parent.iterdir())


def test_a_download_that_broke_off_goes_on_from_there(server: RepositoryServer, place: Path) -> None:
    server.break_once("/patch", after_bytes=200_000)
    with pytest.raises(UnreachableError):
        download([server], place)
    assert not place.exists()
    (partial,) = place.parent.iterdir()
    at_hand = partial.stat().st_size
    assert 0 < at_hand <= 200_000
    assert partial.stat().st_mode & 0o777 == 0o600
    server.clear_log()
    download([server], place)
    assert place.read_bytes() == DATA
    assert left(place) == ["1.patch"]
    assert server.log[0].header("Range") == f"bytes={at_hand}-{len(DATA) - 1}"
    assert server.log[0].body_bytes == len(DATA) - at_hand


def test_another_address_goes_on_where_the_first_one_broke_off(server: RepositoryServer, place: Path) -> None:
    with serve(server.directory) as second:
        server.break_once("/patch", after_bytes=200_000)
        download([server, second], place)
        assert second.log[0].status == 206
    assert place.read_bytes() == DATA


def test_a_server_without_ranges_starts_over_and_ends_right(server: RepositoryServer, place: Path) -> None:
    server.break_once("/patch", after_bytes=200_000)
    with pytest.raises(UnreachableError):
        download([server], place)
    server.set_fault("/patch", Fault.NO_RANGES)
    download([server], place)
    assert place.read_bytes() == DATA


def test_wrong_bytes_leave_nothing_and_what_was_there_stays(server: RepositoryServer, place: Path) -> None:
    place.write_bytes(b"old")
    server.set_fault("/patch", Fault.FLIPPED)
    with pytest.raises(DigestMismatchError):
        download([server], place)
    assert left(place) == ["1.patch"]
    assert place.read_bytes() == b"old"


def test_a_poisoned_partial_file_is_thrown_away_once(server: RepositoryServer, place: Path) -> None:
    partial = place.with_name(f".1.patch.{DIGEST[-16:]}.part")
    partial.write_bytes(b"x" * 1000)
    download([server], place)
    assert place.read_bytes() == DATA
    assert [one.status for one in server.log] == [206, 200]


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_a_file_of_another_size_than_signed_is_refused(server: RepositoryServer, place: Path, size: int) -> None:
    with pytest.raises((NetworkError, DigestMismatchError)):
        download([server], place, size=size)
    assert not place.exists()


def test_a_link_planted_at_the_destination_is_replaced_and_not_followed(
    server: RepositoryServer, place: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    place.symlink_to(victim)
    download([server], place)
    assert victim.read_bytes() == b"precious"
    assert not place.is_symlink()
    assert place.read_bytes() == DATA


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "too long"])
def test_what_is_planted_as_the_partial_file_is_removed_and_not_written_to(
    server: RepositoryServer, place: Path, tmp_path: Path, kind: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    partial = place.with_name(f".1.patch.{DIGEST[-16:]}.part")
    if kind == "symlink":
        partial.symlink_to(victim)
    elif kind == "hard link":
        partial.hardlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(partial)
    else:
        partial.write_bytes(b"x" * (len(DATA) + 1))
    download([server], place)
    assert victim.read_bytes() == b"precious"
    assert place.read_bytes() == DATA
    assert left(place) == ["1.patch"]


def test_a_directory_that_is_a_link_is_refused(server: RepositoryServer, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    with pytest.raises(StorageError):
        download([server], tmp_path / "linked" / "1.patch")
    assert list((tmp_path / "real").iterdir()) == []


def test_a_trickle_ends_at_the_deadline_and_what_came_stays(server: RepositoryServer, place: Path) -> None:
    server.set_fault("/patch", Fault.TRICKLE, step_seconds=0.01)
    with pytest.raises(SlowError):
        download([server], place, seconds=0.3)
    (partial,) = place.parent.iterdir()
    assert 0 < partial.stat().st_size < 1000


def test_two_downloads_to_one_place_are_refused(server: RepositoryServer, place: Path) -> None:
    partial = place.with_name(f".1.patch.{DIGEST[-16:]}.part")
    partial.write_bytes(b"")
    with partial.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BusyError):
            download([server], place)
    assert server.log == ()


def test_a_whole_partial_file_needs_no_request(server: RepositoryServer, place: Path) -> None:
    place.with_name(f".1.patch.{DIGEST[-16:]}.part").write_bytes(DATA)
    assert download([server], place).traffic.requests == 0
    assert place.read_bytes() == DATA


def test_what_another_download_to_this_place_left_is_cleared(server: RepositoryServer, place: Path) -> None:
    place.with_name(".1.patch.0123456789abcdef.part").write_bytes(b"old")
    place.with_name(".2.patch.0123456789abcdef.part").write_bytes(b"another's")
    download([server], place)
    assert left(place) == [".2.patch.0123456789abcdef.part", "1.patch"]
