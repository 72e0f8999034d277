"""Mirrors: a verified copy for a LAN or a stick, and real devices that live from it while the vendor is gone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from chain_world import ChainWorld, chain_world, run_suture

from suture.adapters.clock import SystemClock
from suture.adapters.fetch import Fetcher
from suture.adapters.tuf_client import RepositoryClient
from suture.agent.mirroring import Mirrored, mirror_product
from suture.core.errors import ExpiredError, NotKnownError, UnreachableError
from suture.testing.http_server import Fault, RepositoryServer, serve
from suture.testing.repository import SimulatedRepository
from suture.trust.floors import Floors
from suture.trust.offers import RolloutState
from suture.trust.paths import manifest_path, patch_path
from suture.wire.product import FixedRelease, Product, ProductComponent

CLOCK = SystemClock()
PATCH = patch_path("darkroom", "1.0-x86_64", 1, "imaging", 0)


class Site:
    """A vendor's repository with its server, and a mirror of it."""

    def __init__(self, path: Path) -> None:
        self.repository = SimulatedRepository(path / "repository")
        self.repository.publish(1, b'{"level": 1}', [(PATCH, b"patch" * 1000)])
        self.server = RepositoryServer(self.repository.directory)
        self.directory = path / "mirror"
        self.device = path / "device"
        self.product = Product(
            format="suture-product/1",
            product="darkroom",
            title="Darkroom",
            vendor="Example",
            release=FixedRelease("1.0"),
            root="/opt/darkroom",
            components=(ProductComponent("imaging", "imaging"),),
            repositories=(self.server.url,),
            first_root=self.repository.first_root_digest,
        )

    def mirror(self, *releases: str) -> Mirrored:
        with contextlib.closing(Fetcher(CLOCK)) as fetcher:
            return mirror_product(self.directory, self.product, releases, fetcher, CLOCK)

    def client(self, address: str, *, floors: Floors | None = None) -> RepositoryClient:
        """A device of the site."""
        pinned = self.repository.first_root_digest
        return RepositoryClient("darkroom", "1.0-x86_64", self.device, [address], pinned, floors or Floors(), CLOCK)

    @property
    def stick(self) -> str:
        return f"file://{self.directory / 'darkroom'}"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    with made.server:
        yield made


def test_a_device_has_all_it_needs_from_the_copy_while_the_vendor_is_gone(site: Site, tmp_path: Path) -> None:
    done = site.mirror()
    assert (done.releases, done.targets, done.downloaded) == (("1.0-x86_64",), 4, 4)
    site.server.close()
    with serve(site.directory) as lan:
        for address in (site.stick, f"{lan.url}/darkroom/"):
            shutil.rmtree(site.device, ignore_errors=True)
            with site.client(address) as client:
                answer = client.poll()
                assert answer.rollout.state is RolloutState.PRESENT
                assert client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 1), 100) == b'{"level": 1}'
                entry = site.repository.documents["release-1.0-x86_64"].targets[PATCH]  # type: ignore[union-attr]
                client.fetch_patch(PATCH, f"sha256:{entry.hashes['sha256']}", 5000, tmp_path / "staged")
                assert not client.poll().changed
            assert (tmp_path / "staged").read_bytes() == b"patch" * 1000
    files = [path for path in (site.directory / "darkroom").rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in files)


def test_a_second_run_fetches_only_what_is_new_and_a_stick_may_be_a_plain_copy(site: Site, tmp_path: Path) -> None:
    site.mirror()
    assert site.mirror().downloaded == 0
    site.repository.publish(2, b'{"level": 2}')
    assert site.mirror().downloaded == 3, "the manifest, the index and the rollout document"
    shutil.copytree(site.directory / "darkroom", tmp_path / "stick")
    with site.client(f"file://{tmp_path / 'stick'}") as client:
        assert len(client.poll().index.levels) == 2


def test_only_the_releases_that_were_asked_for_and_none_that_nobody_knows(site: Site) -> None:
    with pytest.raises(NotKnownError, match="no such release"):
        site.mirror("9.9-x86_64")
    assert not (site.directory / "darkroom/metadata/timestamp.json").exists()
    assert site.mirror("1.0-x86_64").releases == ("1.0-x86_64",)


def test_clients_poll_while_the_copy_is_updated_and_never_see_half_of_it(site: Site) -> None:
    site.mirror()
    seen: list[int] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def poll_on() -> None:
        try:
            with site.client(site.stick) as client:
                while not stop.is_set():
                    seen.append(len(client.poll().index.levels))
        except BaseException as error:  # noqa: BLE001  # told by the test
            failures.append(error)

    device = threading.Thread(target=poll_on)
    device.start()
    try:
        for level in range(2, 7):
            site.repository.publish(level, b'{"level": %d}' % level)
            site.mirror()
    finally:
        stop.set()
        device.join()
    assert failures == []
    assert seen == sorted(seen)


def test_a_run_that_breaks_off_leaves_the_copy_as_it_was(site: Site) -> None:
    site.mirror()
    before = (site.directory / "darkroom/metadata/timestamp.json").read_bytes()
    site.repository.publish(2, b'{"level": 2}')
    site.server.set_fault("/targets/*/*2.json", Fault.TRUNCATED)
    with pytest.raises(UnreachableError):
        site.mirror()
    assert (site.directory / "darkroom/metadata/timestamp.json").read_bytes() == before
    site.server.clear_faults()
    assert site.mirror().targets == 5


def test_what_no_copy_of_the_last_day_needs_is_removed(site: Site) -> None:
    site.mirror()
    site.repository.publish(2, b'{"level": 2}')
    assert site.mirror().removed == 0
    old = list((site.directory / "darkroom/metadata").glob("*.snapshot.json"))
    assert len(old) == 2
    for path in (site.directory / "darkroom").rglob("*.json"):
        os.utime(path, (time.time() - 90_000,) * 2)
    assert site.mirror().removed >= 3
    assert len(list((site.directory / "darkroom/metadata").glob("*.snapshot.json"))) == 1
    assert list((site.directory / "darkroom/metadata").glob("*.root.json")), "every root stays: devices walk them"
    with site.client(site.stick) as client:
        assert len(client.poll().index.levels) == 2


def test_an_expired_rollout_role_goes_along_and_an_expired_timestamp_does_not(site: Site) -> None:
    site.repository.expire("rollout-1.0-x86_64")
    site.mirror()
    with site.client(site.stick) as client:
        assert client.poll().rollout.state is RolloutState.EXPIRED
    site.repository.expire("timestamp")
    with pytest.raises(ExpiredError):
        site.mirror()
    with site.client(site.stick, floors=client.floors) as client:
        assert not client.poll().changed


def test_rotated_roots_are_all_in_the_copy(site: Site) -> None:
    site.repository.rotate_root("timestamp")
    site.repository.rotate_root("root")
    site.mirror()
    with site.client(site.stick) as client:
        assert next(role.version for role in client.poll().roles if role.role == "root") == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stick", "lan"])
def test_a_real_device_installs_from_the_mirror_while_the_vendor_is_gone(kind: str) -> None:
    with chain_world() as world:
        world.publish(1, "1.1")
        copy = world.root / "copy"
        file = str(world.workshop / "product.json")
        code, answer = run_suture("mirror", str(copy), "--product-file", file)
        assert (code, answer["products"][0]["releases"]) == (0, ["1.0-x86_64"])
        world.stop_serving()
        assert world.suture("check", expect=None)["error"]["code"] == "unreachable"
        with serve(copy) as lan:
            _use_mirror(world, f"file://{copy}/darkroom" if kind == "stick" else f"{lan.url}/darkroom")
            world.suture("agent", "once")
        product = world.product()
        assert (product["level"], product["effective"]) == (1, True)
        assert world.visible() == "version 1.1"


def _use_mirror(world: ChainWorld, address: str) -> None:
    settings = world.device / "etc/settings.json"
    settings.parent.mkdir(exist_ok=True)
    words = {"format": "suture-settings/1", "products": {"darkroom": {"mirrors": [address]}}}
    settings.write_text(json.dumps(words))


def test_addresses_of_mirrors_are_few_and_plain() -> None:
    from suture.wire.settings import SettingsFile

    for address in ("ftp://host/x", "file://host/x", "http://user@host/", "file:///x?y", "https://h/x#y", "/media/x"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(
                json.dumps({"format": "suture-settings/1", "mirrors": [address]}).encode(), type=SettingsFile
            )
