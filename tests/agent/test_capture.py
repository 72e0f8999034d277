"""Evidence before a restart: what is kept, for whom, and that neither time nor room is overdrawn."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from suture.agent import capture
from suture.agent.capture import CAPTURE_BYTES, KEPT_CAPTURES, Evidence, capture_evidence
from suture.agent.device import Device, open_device
from suture.agent.doors import ScanResult, User
from suture.agent.machine.state import Kind, Operation, Step
from suture.agent.places import resolve_places
from suture.wire.product import Product

MAPS = """
import mmap, os, sys
f = os.open(sys.argv[1], os.O_RDONLY); m = mmap.mmap(f, 0, prot=mmap.PROT_READ)
print("ready", flush=True); sys.stdin.read()
"""


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with open_device(resolve_places(tmp_path / "state", tmp_path / "etc", {}, False, tmp_path)) as opened:
        yield opened


@pytest.fixture
def product(tmp_path: Path) -> Product:
    words = {
        "format": "suture-product/1",
        "product": "darkroom",
        "title": "Darkroom",
        "vendor": "Example",
        "release": {"kind": "fixed", "version": "1.0"},
        "root": str(tmp_path),
        "components": [{"name": "engine", "path": "lib"}],
        "repositories": ["http://127.0.0.1/"],
        "first_root": "sha256:" + "0" * 64,
        "pointer": str(tmp_path / "current"),
    }
    return msgspec.convert(words, Product)


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """A process that maps a file, which has been deleted since."""
    engine = tmp_path / "engine.so"
    engine.write_bytes(b"evil" * 1000)
    with subprocess.Popen(
        [sys.executable, "-S", "-c", MAPS, str(engine)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        engine.unlink()
        yield User(child.pid, time.time(), "python", "mapped")
        child.kill()


def operation(number: int) -> Operation:
    return Operation(number, Kind.INSTALL, 1, 0, Step.RESTART, "2026-03-01T12:00:00Z")


def read(path: Path | None) -> Evidence:
    assert path is not None
    return msgspec.json.decode((path / "evidence.json").read_bytes(), type=Evidence)


def test_evidence_names_processes_sockets_and_digests_of_what_was_mapped_and_is_private(
    device: Device, product: Product, user: User
) -> None:
    path = capture_evidence(device, product, operation(7), ScanResult((user,), ()))
    evidence = read(path)
    assert path is not None
    assert path.name == "darkroom-000007"
    assert {stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent)} == {0o700}
    assert stat.S_IMODE((path / "evidence.json").stat().st_mode) == 0o600
    first = evidence.processes[0]
    assert (first.pid, first.uses) == (user.pid, "mapped")
    assert any("engine.so" in one for one in first.open_files)
    assert os.getpid() in {one.pid for one in evidence.processes}
    assert set(evidence.sockets) >= {"tcp", "udp", "unix"}
    if os.geteuid() == 0:
        digest = f"sha256:{hashlib.sha256(b'evil' * 1000).hexdigest()}"
        assert digest in {one.digest for one in evidence.mapped}, "though its file is gone"


def test_no_time_means_no_evidence_and_says_so(device: Device, product: Product, user: User) -> None:
    evidence = read(capture_evidence(device, product, operation(1), ScanResult((user,), ()), seconds=0))
    assert (evidence.processes, evidence.mapped) == ((), ())
    assert len(evidence.missing) == 4


def test_the_evidence_is_small_whatever_processes_say_of_themselves(
    device: Device, product: Product, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "_read_words", lambda _: "\x00" * 2048)  # six bytes each in JSON
    monkeypatch.setattr(capture, "_MAXIMUM_PROCESSES", 50_000)
    monkeypatch.setattr(capture, "every_pid", lambda: [os.getpid()] * 20_000)
    path = capture_evidence(device, product, operation(1), ScanResult((user,), ()))
    assert read(path).missing
    assert path is not None
    assert (path / "evidence.json").stat().st_size <= CAPTURE_BYTES


def test_a_place_that_cannot_be_written_stops_nothing(device: Device, product: Product, user: User) -> None:
    (device.places.state / "evidence").write_text("in the way")
    assert capture_evidence(device, product, operation(1), ScanResult((user,), ())) is None


def test_only_the_latest_are_kept(device: Device, product: Product, user: User) -> None:
    for number in range(KEPT_CAPTURES + 3):
        capture_evidence(device, product, operation(number), ScanResult((user,), ()), seconds=0)
    assert len(list((device.places.state / "evidence").iterdir())) == KEPT_CAPTURES
