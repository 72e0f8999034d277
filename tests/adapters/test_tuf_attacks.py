"""Attacks on the way from the repository to the device, each on a real server, each with what is left on disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from suture.adapters import tuf_held, tuf_metadata
from suture.adapters.clock import SystemClock
from suture.adapters.fetch import Fetcher
from suture.adapters.files import write_file
from suture.adapters.tuf_client import PollAnswer, RepositoryClient
from suture.core.digests import Digest, digest_bytes
from suture.core.errors import (
    BusyError,
    ExpiredError,
    NetworkError,
    RepositoryError,
    RolledBackError,
    SecondDigestError,
    SignatureError,
    SlowError,
    StorageError,
    SutureError,
    TrustError,
    UnreachableError,
)
from suture.testing.http_server import Fault, RepositoryServer, serve
from suture.testing.repository import SimulatedRepository
from suture.trust.documents import Index
from suture.trust.floors import Floors
from suture.trust.offers import RolloutState
from suture.trust.paths import manifest_path, patch_path

ROLLOUT = "rollout-1.0-x86_64"
RELEASE = "release-1.0-x86_64"
MANIFEST_1 = b'{"level": 1}'


class LyingClock(SystemClock):
    """A real steady clock and a wall clock that is off."""

    def __init__(self) -> None:
        self.moment: datetime | None = None

    def now(self) -> datetime:
        return self.moment or super().now()


class World:
    """One repository, its server, and one device."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path
        self.repository = SimulatedRepository(tmp_path / "repository")
        self.repository.publish(1, MANIFEST_1)
        self.server = RepositoryServer(self.repository.directory)
        self.clock = LyingClock()
        self.floors = Floors()
        self.known_index: Index | None = None
        self.trust = tmp_path / "trust"
        self.pinned = self.repository.first_root_digest
        self.base_urls = [self.server.url]
        self.deadline_seconds = 5.0
        self.window_seconds = 30.0

    def poll(self) -> PollAnswer:
        """As a new process would, with the journal's floors."""
        client = self.client()
        try:
            return client.poll()
        finally:
            self.floors = client.floors
            client.close()

    def client(self) -> RepositoryClient:
        return RepositoryClient(
            "darkroom",
            "1.0-x86_64",
            self.trust,
            self.base_urls,
            self.pinned,
            self.floors,
            self.clock,
            known_index=self.known_index,
            fetcher=Fetcher(self.clock, window_seconds=self.window_seconds),
            metadata_deadline_seconds=self.deadline_seconds,
        )

    def snapshot(self, name: str) -> Path:
        """A copy of the repository as it is now, to replay later."""
        shutil.copytree(self.repository.directory, self.path / name)
        return self.path / name

    def trusted_files(self) -> dict[str, bytes]:
        files = (path for path in self.trust.rglob("*.json"))
        return {str(path.relative_to(self.trust)): path.read_bytes() for path in files}

    def empty_cache(self) -> None:
        shutil.rmtree(self.trust)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.server:
        yield made
    with suppress(FileNotFoundError):
        assert not [path for path in made.trust.iterdir() if path.name.startswith(".refresh-")]


# --- expiry: freeze attacks and sleeping publishers ----


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", RELEASE])
def test_an_expired_role_is_expired_and_heals_when_it_is_signed_again(world: World, role: str) -> None:
    before = world.poll()
    if role == "root":
        world.repository.lifetimes["root"] = timedelta(hours=-1)
        world.repository.rotate_root()
    else:
        world.repository.expire(role)
    with pytest.raises(ExpiredError) as caught:
        world.poll()
    assert role in caught.value.message
    world.repository.lifetimes[role] = timedelta(days=30)
    world.repository.rotate_root() if role == "root" else world.repository.sign_again(role)
    assert world.poll().index == before.index


def test_a_server_that_lies_304_freezes_a_device_only_until_the_timestamp_expires(world: World) -> None:
    world.poll()
    world.repository.publish(2, b'{"level": 2}')
    world.server.set_fault("/metadata/timestamp.json", Fault.ALWAYS_304)
    assert not world.poll().changed
    world.clock.moment = datetime.now(UTC) + timedelta(days=8)
    with pytest.raises(ExpiredError, match="timestamp"):
        world.poll()


def test_a_frozen_mirror_that_sends_the_same_bytes_is_the_same_freeze(world: World) -> None:
    world.poll()
    world.server.set_fault("/metadata/timestamp.json", Fault.WRONG_ETAG)
    assert not world.poll().changed
    assert world.server.log[-1].status == 200, "the bytes were compared"
    world.clock.moment = datetime.now(UTC) + timedelta(days=8)
    with pytest.raises(ExpiredError):
        world.poll()


def test_in_1970_what_has_expired_stays_expired(world: World) -> None:
    world.poll()  # lifts the clock's floor to the index's time
    floor = world.floors.clock_time
    assert floor is not None
    world.clock.moment = datetime(1970, 1, 2, tzinfo=UTC)
    assert not world.poll().changed
    assert world.poll().asked_at == floor
    # The release role signs again a month later; the old timestamp, replayed with it, expired before that.
    later = Floors(world.floors.roles, "2200-01-01T00:00:00Z")
    world.floors = later
    with pytest.raises(ExpiredError):
        world.poll()


def test_one_boot_in_2040_does_no_lasting_harm(world: World) -> None:
    before = world.poll()
    files, floors = world.trusted_files(), world.floors
    world.clock.moment = datetime(2040, 1, 1, tzinfo=UTC)
    with pytest.raises(ExpiredError):
        world.poll()
    world.repository.publish(2, b'{"level": 2}')
    with pytest.raises(ExpiredError):
        world.poll()
    assert world.floors.clock == floors.clock, "the wall clock lifts no floor"
    assert {name: files[name] for name in files if "documents" in name} == {
        name: data for name, data in world.trusted_files().items() if "documents" in name
    }
    world.clock.moment = None
    after = world.poll()
    assert len(after.index.levels) == len(before.index.levels) + 1


def test_an_index_from_the_future_lifts_no_floor(world: World) -> None:
    world.poll()
    real = world.repository.now
    world.repository.now = datetime(2040, 1, 1, tzinfo=UTC)
    world.repository.index = msgspec.structs.replace(world.repository.index, issued="2040-01-01T00:00:00Z")
    world.repository.lifetimes = {
        name: timedelta(days=300) + (real - world.repository.now) for name in world.repository.lifetimes
    }
    world.repository.release_documents()
    floor = world.floors.clock
    with pytest.raises(RepositoryError, match="issued at 2040"):
        world.poll()
    assert world.floors.clock == floor


# --- rollback ----


def test_a_replayed_older_timestamp_is_rolled_back(world: World) -> None:
    old = world.snapshot("old")
    world.repository.publish(2, b'{"level": 2}')
    newest = world.poll()
    world.server.directory = old
    with pytest.raises(RolledBackError):
        world.poll()
    world.server.directory = world.repository.directory
    assert world.poll().index == newest.index


def test_an_emptied_cache_does_not_accept_an_older_repository(world: World) -> None:
    old = world.snapshot("old")
    world.repository.publish(2, b'{"level": 2}')
    world.poll()
    world.empty_cache()
    world.server.directory = old
    with pytest.raises(RolledBackError, match="has seen version"):
        world.poll()
    assert [name for name in world.trusted_files() if "held" in name or "timestamp" in name] == []
    world.server.directory = world.repository.directory
    assert len(world.poll().index.levels) == 2


def test_a_trust_directory_restored_from_a_backup_is_noticed_when_the_server_is_frozen_too(world: World) -> None:
    old = world.snapshot("old")
    world.poll()
    shutil.copytree(world.trust, world.path / "backup")
    world.repository.publish(2, b'{"level": 2}')
    world.poll()
    world.empty_cache()
    shutil.copytree(world.path / "backup", world.trust)
    world.server.directory = old
    with pytest.raises(RolledBackError):
        world.poll()


def test_a_fast_forwarded_timestamp_is_healed_by_new_online_keys(world: World) -> None:
    world.poll()
    timestamp = world.repository.documents["timestamp"]
    timestamp.version = 2**31
    world.repository.refresh()
    world.poll()
    timestamp.version = 3
    world.repository.rotate_root("timestamp", "snapshot")
    assert world.poll().changed
    world.empty_cache()
    assert world.poll().changed, "the floor of the old keys is gone"


def test_a_stolen_fast_forward_replayed_after_the_rotation_poisons_no_floor(world: World) -> None:
    timestamp = world.repository.documents["timestamp"]
    honest = timestamp.version
    timestamp.version = 2**31
    world.repository.refresh()
    world.poll()
    stolen = (world.repository.directory / "metadata/timestamp.json").read_bytes()
    timestamp.version = honest
    world.repository.rotate_root("timestamp", "snapshot")
    (world.repository.directory / "metadata/timestamp.json").write_bytes(stolen)
    world.server.set_fault("/metadata/timestamp.json", Fault.WRONG_ETAG)
    shutil.rmtree(world.trust / "documents")  # so that the cheap answer is not enough
    with pytest.raises(SignatureError):
        world.poll()
    world.repository.refresh()
    assert world.poll().changed


def test_a_withdrawn_recall_is_rolled_back(world: World) -> None:
    world.repository.recall(1)
    world.poll()
    world.repository.index = msgspec.structs.replace(world.repository.index, recalls=())
    world.repository.release_documents()
    with pytest.raises(RolledBackError, match="recall of level 1"):
        world.poll()


def test_a_second_digest_for_a_known_level_is_refused_even_with_an_emptied_cache(world: World) -> None:
    world.known_index = world.poll().index
    files = world.trusted_files()
    world.repository.publish(1, b'{"level": 1, "evil": true}')
    with pytest.raises(SecondDigestError, match="level 1"):
        world.poll()
    kept = {name: data for name, data in world.trusted_files().items() if name.startswith(("documents", "held"))}
    assert kept == {name: data for name, data in files.items() if name.startswith(("documents", "held"))}
    world.empty_cache()
    with pytest.raises(SecondDigestError, match="level 1"):
        world.poll()


# --- forgery and damage ----


def test_another_first_root_than_the_pinned_one_is_refused(world: World) -> None:
    world.pinned = Digest("sha256:" + "0" * 64)
    with pytest.raises(SignatureError, match="first root"):
        world.poll()
    assert world.trusted_files() == {}


def test_a_whole_repository_signed_by_somebody_else_is_refused(world: World) -> None:
    world.poll()
    other = SimulatedRepository(world.path / "other")
    other.publish(1, b"evil")
    other.publish(2, b"evil")
    world.server.directory = other.directory
    with pytest.raises(SignatureError):
        world.poll()


@pytest.mark.parametrize(
    "pattern", ["timestamp.json", "*.snapshot.json", "*.targets.json", "*.release-*", "*.rollout-*"]
)
def test_flipped_metadata_is_never_an_answer_with_something_new(world: World, pattern: str) -> None:
    before = world.poll()
    world.repository.documents["targets"].version += 1
    world.repository._write_role("targets")
    world.repository.publish(2, b'{"level": 2}')
    files = {name: data for name, data in world.trusted_files().items() if name.startswith(("documents", "held"))}
    world.server.set_fault(f"/metadata/{pattern}", Fault.FLIPPED)
    if "rollout" in pattern:  # nothing new is offered, and nothing else is held up
        answer = world.poll()
        assert answer.rollout.state is RolloutState.UNUSABLE
        assert len(answer.index.levels) == 2
        return
    with pytest.raises(TrustError):
        world.poll()
    assert {name: world.trusted_files()[name] for name in files} == files
    world.server.clear_faults()
    assert len(world.poll().index.levels) == len(before.index.levels) + 1


@pytest.mark.slow
def test_every_flipped_bit_of_a_timestamp_is_refused_or_means_the_same(world: World) -> None:
    world.poll()
    world.repository.publish(2, b'{"level": 2}')
    file = world.repository.directory / "metadata/timestamp.json"
    honest = file.read_bytes()
    for position in range(len(honest)):
        flipped = bytearray(honest)
        flipped[position] ^= 1 << (position % 8)
        file.write_bytes(flipped)
        shutil.copytree(world.trust, world.path / "kept")
        with suppress(SutureError):
            assert len(world.poll().index.levels) in (1, 2)
        world.empty_cache()
        (world.path / "kept").rename(world.trust)


def test_mixed_versions_do_not_pass(world: World) -> None:
    world.poll()
    old_snapshot = world.repository.metadata_file("snapshot").read_bytes()
    world.repository.publish(2, b'{"level": 2}')
    world.repository.metadata_file("snapshot").write_bytes(old_snapshot)
    with pytest.raises(RepositoryError):
        world.poll()


def test_an_older_release_role_in_a_newer_snapshot_does_not_pass(world: World) -> None:
    """What a stolen online key could do: hide a recall by listing the release role as it was."""
    release = world.repository.documents[RELEASE]
    old_version = release.version
    world.repository.recall(1)
    world.poll()
    release.version = old_version
    world.repository._write_online()
    with pytest.raises(RolledBackError):
        world.poll()
    world.empty_cache()
    with pytest.raises(RolledBackError, match="release-"):
        world.poll()


def test_below_the_threshold_is_a_bad_signature(world: World) -> None:
    world.poll()
    world.repository.signers[RELEASE] = world.repository.signers[RELEASE][:1]
    world.repository.publish(2, b'{"level": 2}')
    with pytest.raises(SignatureError):
        world.poll()


def test_the_online_key_cannot_answer_for_the_index(world: World) -> None:
    world.poll()
    path = f"{world.repository.prefix()}/2.json"
    world.repository.add_target(path, b"evil", role=ROLLOUT)
    world.repository.write_rollout()
    with world.client() as client:
        client.poll()
        with pytest.raises(RepositoryError, match="does not list"):
            client.fetch_document(path, 100)


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "junk"])
def test_a_damaged_trust_directory_is_fetched_anew(world: World, damage: str) -> None:
    before = world.poll()
    for path in sorted(world.trust.rglob("*.json")):
        honest = path.read_bytes()
        if damage == "remove":
            path.unlink()
        else:
            flipped = bytes([*honest[:-40], honest[-40] ^ 4, *honest[-39:]])
            path.write_bytes({"truncate": honest[: len(honest) // 2], "flip": flipped, "junk": b"\xff"}[damage])
        answer = world.poll()
        assert answer.index == before.index, path
        with world.client() as client:
            assert client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 1), 100) == MANIFEST_1, path
    world.repository.publish(2, b'{"level": 2}')
    assert len(world.poll().index.levels) == 2


# --- the server misbehaves ----


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.SERVER_ERROR, UnreachableError),
        (Fault.NOT_FOUND, UnreachableError),
        (Fault.REDIRECT, UnreachableError),
        (Fault.TRUNCATED, UnreachableError),
        (Fault.GZIP, UnreachableError),
        (Fault.ENDLESS, (UnreachableError, RepositoryError)),
        (Fault.HANG, SlowError),
        (Fault.TRICKLE, SlowError),
        (Fault.TRICKLE_HEADERS, SlowError),
    ],
)
@pytest.mark.parametrize("pattern", ["/metadata/timestamp.json", "/metadata/*.snapshot.json", "/targets/*index.json"])
def test_a_fault_on_the_way_is_no_answer_and_changes_nothing(
    world: World, fault: Fault, error: type[SutureError], pattern: str
) -> None:
    before = world.poll()
    world.repository.publish(2, b'{"level": 2}')
    files = {name: data for name, data in world.trusted_files().items() if name.startswith(("documents", "held"))}
    world.deadline_seconds = 0.5 if error is SlowError else 5.0
    world.server.set_fault(pattern, fault, step_seconds=0.05)
    with pytest.raises(error):
        world.poll()
    assert {name: world.trusted_files()[name] for name in files} == files
    world.server.clear_faults()
    world.deadline_seconds = 5.0
    assert len(world.poll().index.levels) == len(before.index.levels) + 1


def test_a_stopped_server_is_unreachable(world: World) -> None:
    world.poll()
    world.server.close()
    with pytest.raises(UnreachableError):
        world.poll()


def test_a_second_address_answers_where_the_first_one_is_gone_hangs_or_is_out_of_date(world: World) -> None:
    old = world.snapshot("old")
    world.repository.publish(2, b'{"level": 2}')
    world.poll()
    with serve(old) as stale, serve(old) as hanging:
        hanging.set_fault("*", Fault.HANG)
        world.repository.publish(3, b'{"level": 3}')
        world.base_urls = ["http://127.0.0.1:9", stale.url, hanging.url, world.server.url]
        world.deadline_seconds = 2.0
        answer = world.poll()
        assert answer.base_url == world.server.url
        assert len(answer.index.levels) == 3
        world.base_urls = ["http://127.0.0.1:9", stale.url]
        with pytest.raises(RolledBackError):  # distrust is said before silence
            world.poll()


def test_two_polls_at_once_are_refused(world: World) -> None:
    import fcntl

    world.poll()
    with (world.trust / "lock").open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BusyError):
            world.poll()


# --- the rollout document may only delay ----


def test_an_expired_rollout_role_offers_nothing_new_and_says_since_when(world: World) -> None:
    world.poll()
    world.repository.lifetimes[ROLLOUT] = timedelta(hours=-2)
    world.repository.sign_again(ROLLOUT)
    world.repository.recall(1)
    for _ in range(2):
        answer = world.poll()
        assert answer.rollout.state is RolloutState.EXPIRED
        assert answer.rollout.since == world.repository.now - timedelta(hours=2)
        assert len(answer.index.recalls) == 1


def test_a_rollout_role_that_expires_between_polls_is_expired_without_a_request_more(world: World) -> None:
    world.repository.lifetimes[ROLLOUT] = timedelta(days=2)
    world.repository.sign_again(ROLLOUT)
    assert world.poll().rollout.state is RolloutState.PRESENT
    world.clock.moment = datetime.now(UTC) + timedelta(days=3)
    answer = world.poll()
    assert not answer.changed
    assert answer.rollout.state is RolloutState.EXPIRED
    world.clock.moment = None
    assert world.poll().rollout.state is RolloutState.PRESENT


def test_a_missing_rollout_document_is_no_error(world: World) -> None:
    world.repository.rollout = None
    world.repository.write_rollout()
    for _ in range(2):
        assert world.poll().rollout.state is RolloutState.MISSING


@pytest.mark.parametrize("data", [b"junk", b"{}", b'{"format":"suture-rollout/2"}', b"[" * 30_000, b"x" * 70_000])
def test_a_rollout_document_that_makes_no_sense_holds_up_no_recall(world: World, data: bytes) -> None:
    world.repository.recall(1)
    world.repository.write_rollout(data)
    answer = world.poll()
    assert answer.rollout.state is RolloutState.UNUSABLE
    assert answer.rollout.reason
    assert len(answer.index.recalls) == 1
    assert world.poll().rollout == answer.rollout


def test_a_pause_arrives_with_its_end(world: World) -> None:
    until = world.repository.now + timedelta(hours=6)
    world.repository.pause(until)
    document = world.poll().rollout.document
    assert document is not None
    assert document.pause is not None


# --- the device's own disk ----


def test_a_trust_directory_that_is_a_symbolic_link_is_refused(world: World) -> None:
    elsewhere = world.path / "elsewhere"
    elsewhere.mkdir()
    world.trust.symlink_to(elsewhere)
    with pytest.raises(StorageError, match="symbolic link"):
        world.poll()
    assert list(elsewhere.iterdir()) == []
    world.trust.unlink()
    world.trust.mkdir(mode=0o755)
    (world.trust / "metadata").symlink_to(elsewhere)
    with pytest.raises(StorageError, match="symbolic link"):
        world.poll()
    assert list(elsewhere.iterdir()) == []


def test_links_planted_for_metadata_files_are_replaced_and_never_followed(world: World) -> None:
    world.poll()
    victim = world.path / "victim"
    victim.write_bytes(b"precious")
    for name in ("timestamp.json", "snapshot.json", "targets.json", "root_history/2.root.json"):
        (world.trust / "metadata" / name).unlink(missing_ok=True)
        (world.trust / "metadata" / name).symlink_to(victim)
    (world.trust / "held.json").unlink()
    (world.trust / "held.json").symlink_to(victim)
    world.repository.rotate_root("timestamp")
    assert world.poll().changed
    assert victim.read_bytes() == b"precious"
    assert not [path for path in world.trust.rglob("*") if path.is_symlink()]


def test_what_a_killed_refresh_left_is_cleared(world: World) -> None:
    world.poll()
    (world.trust / ".refresh-abc" / "root_history").mkdir(parents=True)
    world.poll()
    assert not (world.trust / ".refresh-abc").exists()


def test_nothing_is_written_to_the_public_temporary_directory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setenv("TMPDIR", "/nonexistent")
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    world.poll()
    with world.client() as client:
        client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 1), 100)


def test_a_poll_that_changed_nothing_writes_nothing(world: World) -> None:
    world.poll()
    before = {path: path.stat().st_mtime_ns for path in world.trust.rglob("*") if path.is_file()}
    world.poll()
    assert before == {path: path.stat().st_mtime_ns for path in world.trust.rglob("*") if path.is_file()}


def test_all_network_errors_are_one_kind(world: World) -> None:
    world.base_urls = ["http://127.0.0.1:9"]
    with pytest.raises(NetworkError):
        world.poll()
    assert digest_bytes(b"") != world.pinned


class Killed(BaseException):
    """Stands for kill -9 between two writes."""


@pytest.mark.parametrize("how", ["first poll", "later poll"])
def test_a_process_killed_between_any_two_writes_leaves_a_directory_that_heals(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "later poll":
        world.poll()
    world.repository.rotate_root("timestamp")
    world.repository.publish(2, b'{"level": 2}')
    real = write_file
    shutil.copytree(world.trust, world.path / "start") if world.trust.exists() else None
    for survives in range(50):
        if world.trust.exists():
            world.empty_cache()
        if (world.path / "start").exists():
            shutil.copytree(world.path / "start", world.trust)
        left = survives

        def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            real(path, data, mode=mode)

        monkeypatch.setattr(tuf_held, "write_file", write)
        monkeypatch.setattr(tuf_metadata, "write_file", write)
        try:
            world.poll()
            assert survives >= 6
            return
        except Killed:
            monkeypatch.setattr(tuf_held, "write_file", real)
            assert len(world.poll().index.levels) == 2
            assert not world.poll().changed
    pytest.fail("it never came to an end")


def test_a_patch_whose_manifest_disagrees_with_tufs_metadata_is_not_fetched(world: World, tmp_path: Path) -> None:
    path = patch_path("darkroom", "1.0-x86_64", 2, "imaging", 0)
    world.repository.publish(2, b'{"level": 2}', [(path, b"patch")])
    with world.client() as client:
        client.poll()
        for digest, size in ((digest_bytes(b"other"), 5), (digest_bytes(b"patch"), 6)):
            with pytest.raises(RepositoryError):
                client.fetch_patch(path, digest, size, tmp_path / "staged")
        client.fetch_patch(path, digest_bytes(b"patch"), 5, tmp_path / "staged")
    assert (tmp_path / "staged").read_bytes() == b"patch"


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "improvements/../x", "/etc/passwd", "improvements/a/b/c\r\nHost: x"]
)
def test_a_path_from_a_manifest_that_leads_elsewhere_is_not_asked_for(world: World, path: str) -> None:
    with world.client() as client:
        client.poll()
        world.server.clear_log()
        with pytest.raises(RepositoryError, match="target's path"):
            client.fetch_document(path, 100)
        assert world.server.log == ()


def test_what_expired_since_the_poll_is_not_fetched(world: World) -> None:
    with world.client() as client:
        client.poll()
        world.clock.moment = datetime.now(UTC) + timedelta(days=8)
        with pytest.raises(ExpiredError):
            client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 1), 100)


def test_the_index_of_another_baseline_in_the_journal_is_left_aside(world: World) -> None:
    index = world.poll().index
    world.known_index = msgspec.structs.replace(index, baseline="0.9-x86_64", issued="2200-01-01T00:00:00Z")
    world.repository.publish(2, b'{"level": 2}')
    assert world.poll().changed
