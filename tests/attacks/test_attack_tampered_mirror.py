"""A tampered mirror or stick: the usual errors, word for word those of the vendor's own host."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from attack_world import MANIFEST_1, World

from suture.adapters.clock import SystemClock
from suture.adapters.fetch import Fetcher
from suture.agent.mirroring import mirror_product
from suture.core.errors import (
    DigestMismatchError,
    InputError,
    RolledBackError,
    SignatureError,
    TrustError,
    UnreachableError,
)
from suture.testing.repository import SimulatedRepository
from suture.trust.paths import manifest_path
from suture.wire.product import FixedRelease, Product, ProductComponent

MANIFEST = manifest_path("darkroom", "1.0-x86_64", 1)


@pytest.fixture
def stick(world: World) -> Path:
    """A stick with an honest copy; the device knows nothing else."""
    product = Product(
        format="suture-product/1",
        product="darkroom",
        title="Darkroom",
        vendor="Example",
        release=FixedRelease("1.0"),
        root="/opt/darkroom",
        components=(ProductComponent("imaging", "imaging"),),
        repositories=(world.server.url,),
        first_root=world.pinned,
    )
    clock = SystemClock()
    with contextlib.closing(Fetcher(clock)) as fetcher:
        mirror_product(world.path / "stick", product, (), fetcher, clock)
    world.base_urls = [f"file://{world.path}/stick/darkroom"]
    return world.path / "stick" / "darkroom"


@pytest.mark.parametrize("pattern", ["timestamp", "*.snapshot", "*.targets", "*.release-*"])
def test_changed_metadata_is_refused(world: World, stick: Path, pattern: str) -> None:
    (file,) = (stick / "metadata").glob(f"{pattern}.json")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(TrustError):
        world.poll()
    assert "held.json" not in world.trusted_files()


def test_a_changed_target_is_refused(world: World, stick: Path) -> None:
    (file,) = stick.glob("targets/**/*.1.json")
    file.write_bytes(MANIFEST_1.replace(b"1", b"9"))
    with world.client() as client:
        client.poll()
        with pytest.raises(DigestMismatchError):
            client.fetch_document(MANIFEST, 100)


def test_a_first_root_of_somebody_else_is_refused(world: World, stick: Path) -> None:
    other = SimulatedRepository(world.path / "other")
    other.publish(1, b"evil")
    world.base_urls = [f"file://{other.directory}"]
    with pytest.raises(SignatureError, match="first root"):
        world.poll()


def test_an_older_stick_is_rolled_back(world: World, stick: Path) -> None:
    world.repository.publish(2, b'{"level": 2}')
    world.base_urls = [world.server.url]
    world.poll()
    world.base_urls = [f"file://{stick}"]
    with pytest.raises(RolledBackError):
        world.poll()


@pytest.mark.parametrize("what", ["link", "fifo", "directory", "huge", "gone"])
def test_what_is_no_plain_file_is_not_read(world: World, stick: Path, what: str) -> None:
    file = stick / "metadata/timestamp.json"
    file.unlink()
    if what == "link":
        file.symlink_to("/etc/passwd")
    elif what == "fifo":
        os.mkfifo(file)
    elif what == "directory":
        file.mkdir()
    elif what == "huge":
        with file.open("wb") as opened:
            opened.truncate(10**12)
    with pytest.raises(UnreachableError) as caught:
        world.poll()
    assert "root:" not in str(caught.value)


def test_a_good_address_after_a_bad_stick_is_enough(world: World, stick: Path) -> None:
    (stick / "metadata/timestamp.json").write_bytes(b"junk")
    world.base_urls = [f"file://{stick}", world.server.url]
    assert world.poll().base_url == world.server.url


@pytest.mark.parametrize("address", ["file://host/x", "file:///x/../y", "file:///x?y", "file:x", "file:///x%00"])
def test_other_file_addresses_are_refused(world: World, address: str) -> None:
    world.base_urls = [address]
    with pytest.raises(InputError):
        world.poll()
