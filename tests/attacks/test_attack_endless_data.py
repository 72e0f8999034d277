"""Endless data: an answer that does not end, to fill memory or disk (TUF specification §1.5.2)."""

from __future__ import annotations

from pathlib import Path

import pytest
from attack_world import MANIFEST_2, World

from suture.core.digests import digest_bytes
from suture.core.errors import RepositoryError, UnreachableError
from suture.core.limits import MIB
from suture.testing.http_server import Fault
from suture.trust.paths import manifest_path, patch_path


@pytest.mark.parametrize("fault", [Fault.ENDLESS, Fault.ENDLESS_HEADERS])
@pytest.mark.parametrize(
    "pattern", ["/metadata/timestamp.json", "/metadata/2.root.json", "/metadata/*.targets.json", "/targets/*index.json"]
)
def test_an_endless_answer_is_cut_off(world: World, fault: Fault, pattern: str) -> None:
    world.server.set_fault(pattern, fault)
    client = world.client()
    with client, pytest.raises((UnreachableError, RepositoryError)):
        client.poll()
    assert client.traffic.bytes_received < 12 * MIB, "python-tuf's bound of targets, twice"
    world.server.clear_faults()
    assert world.poll().changed


def test_a_gzip_bomb_is_cut_off_at_the_bound_of_what_it_unpacks_to(world: World) -> None:
    file = world.repository.directory / "metadata/timestamp.json"
    file.write_bytes(b" " * 50_000_000)
    world.server.compress()
    client = world.client()
    with client, pytest.raises(UnreachableError, match="longer than 16,384 bytes"):
        client.poll()
    assert client.traffic.bytes_received < 100_000
    assert world.trusted_files() == {}


def test_an_endless_patch_stops_at_its_signed_size(world: World, tmp_path: Path) -> None:
    path = patch_path("darkroom", "1.0-x86_64", 2, "imaging", 0)
    world.repository.publish(2, MANIFEST_2, [(path, b"p" * 1000)])
    with world.client() as client:
        client.poll()
        world.server.set_fault("/targets/*imaging*", Fault.ENDLESS)
        with pytest.raises(UnreachableError):
            client.fetch_patch(path, digest_bytes(b"p" * 1000), 1000, tmp_path / "staged")
    assert all(one.stat().st_size <= 1000 for one in tmp_path.glob("*staged*"))


def test_a_target_larger_than_its_bound_is_not_asked_for(world: World) -> None:
    world.repository.publish(2, b" " * 3_000_000)
    with world.client() as client:
        client.poll()
        world.server.clear_log()
        with pytest.raises(RepositoryError, match="3,000,000 bytes"):
            client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 2), 1000)
        assert world.server.log == ()
