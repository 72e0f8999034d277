"""The chain from a real web server to a judged answer, when nobody means harm."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from suture.adapters.clock import SystemClock
from suture.adapters.tuf_client import RepositoryClient
from suture.core.errors import DigestMismatchError, RepositoryError
from suture.testing.http_server import RepositoryServer, serve
from suture.testing.repository import SimulatedRepository
from suture.trust.floors import Floors
from suture.trust.offers import RolloutState
from suture.trust.paths import manifest_path, patch_path

MANIFEST = b'{"level": 1}'
PATCH = os.urandom(300_000)
PATCH_PATH = patch_path("darkroom", "1.0-x86_64", 1, "imaging", 0)


@pytest.fixture
def repository(tmp_path: Path) -> SimulatedRepository:
    made = SimulatedRepository(tmp_path / "repository")
    made.publish(1, MANIFEST, [(PATCH_PATH, PATCH)])
    return made


@pytest.fixture
def server(repository: SimulatedRepository):  # type: ignore[no-untyped-def]  # a generator fixture
    with serve(repository.directory) as running:
        yield running


def client_of(tmp_path: Path, repository: SimulatedRepository, server: RepositoryServer) -> RepositoryClient:
    return RepositoryClient(
        "darkroom",
        "1.0-x86_64",
        tmp_path / "trust",
        [server.url],
        repository.first_root_digest,
        Floors(),
        SystemClock(),
    )


def test_a_first_poll_brings_index_and_rollout_and_a_second_one_is_one_request(
    tmp_path: Path, repository: SimulatedRepository, server: RepositoryServer
) -> None:
    with client_of(tmp_path, repository, server) as client:
        first = client.poll()
        assert first.changed
        assert [entry.level for entry in first.index.levels] == [1]
        assert first.rollout.state is RolloutState.PRESENT
        assert first.rollout.document is not None
        assert first.rollout.document.shares[0].permille == 1000
        assert first.earliest.role == "timestamp"
        assert first.floors.clock == first.index.issued
        assert server.connections == 1, "one handshake for a whole poll"
        server.clear_log()
        second = client.poll()
        assert not second.changed
        assert (second.index, second.rollout, second.roles) == (first.index, first.rollout, first.roles)
        assert [(one.path, one.status, one.body_bytes) for one in server.log] == [("/metadata/timestamp.json", 304, 0)]
        assert server.connections == 0


def test_a_new_process_asks_once_and_still_has_the_whole_answer(
    tmp_path: Path, repository: SimulatedRepository, server: RepositoryServer
) -> None:
    with client_of(tmp_path, repository, server) as client:
        first = client.poll()
    server.clear_log()
    with client_of(tmp_path, repository, server) as client:
        again = client.poll()
        assert not again.changed
        assert again.index == first.index
        assert len(server.log) == 1
        assert client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 1), 1000) == MANIFEST
        assert len(server.log) == 2, "held metadata is verified again without network"


def test_a_patch_arrives_and_no_partial_file_stays(
    tmp_path: Path, repository: SimulatedRepository, server: RepositoryServer
) -> None:
    seen: list[tuple[int, int]] = []
    destination = tmp_path / "staged.patch"
    entry = repository.documents["release-1.0-x86_64"].targets[PATCH_PATH]  # type: ignore[union-attr]
    with client_of(tmp_path, repository, server) as client:
        client.poll()
        client.fetch_patch(
            PATCH_PATH,
            "sha256:" + entry.hashes["sha256"],
            len(PATCH),
            destination,
            lambda at, of: seen.append((at, of)),
        )
    assert destination.read_bytes() == PATCH
    assert seen[-1] == (len(PATCH), len(PATCH))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["repository", "staged.patch", "trust"]
    assert destination.stat().st_mode & 0o777 == 0o600


def test_a_refresh_without_news_keeps_the_documents_and_a_release_brings_new_ones(
    tmp_path: Path, repository: SimulatedRepository, server: RepositoryServer
) -> None:
    with client_of(tmp_path, repository, server) as client:
        client.poll()
        repository.refresh()
        assert client.poll().changed
        repository.publish(2, b'{"level": 2}')
        repository.recall(1)
        answer = client.poll()
        assert [entry.level for entry in answer.index.levels] == [1, 2]
        assert [recall.level for recall in answer.index.recalls] == [1]
    documents = list((tmp_path / "trust" / "documents").iterdir())
    assert len(documents) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "trust").rglob("*"))


def test_a_baseline_without_a_release_has_an_empty_index(
    tmp_path: Path, repository: SimulatedRepository, server: RepositoryServer
) -> None:
    with RepositoryClient(
        "darkroom",
        "2.0-x86_64",
        tmp_path / "trust",
        [server.url],
        repository.first_root_digest,
        Floors(),
        SystemClock(),
    ) as client:
        answer = client.poll()
        assert answer.index.levels == ()
        assert answer.rollout.state is RolloutState.MISSING
        assert not client.poll().changed


def test_a_manifest_whose_digest_differs_from_the_index_is_refused(
    tmp_path: Path, repository: SimulatedRepository, server: RepositoryServer
) -> None:
    with client_of(tmp_path, repository, server) as client:
        client.poll()
        with pytest.raises(RepositoryError, match="expected was"):
            client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 1), 1000, "sha256:" + "0" * 64)
        with pytest.raises(RepositoryError, match="does not list"):
            client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 7), 1000)
        with pytest.raises(RepositoryError, match="12 bytes"):
            client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 1), 5)


def test_a_changed_target_is_refused(tmp_path: Path, repository: SimulatedRepository, server: RepositoryServer) -> None:
    repository.target_file(manifest_path("darkroom", "1.0-x86_64", 1)).write_bytes(b'{"level": 9}')
    with client_of(tmp_path, repository, server) as client:
        client.poll()
        with pytest.raises(DigestMismatchError):
            client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 1), 1000)


def test_rotated_keys_are_followed(tmp_path: Path, repository: SimulatedRepository, server: RepositoryServer) -> None:
    with client_of(tmp_path, repository, server) as client:
        client.poll()
        repository.rotate_root("root", "timestamp", "snapshot", "targets")
        answer = client.poll()
        assert answer.changed
        assert [role.version for role in answer.roles if role.role == "root"] == [2]
        repository.lifetimes["timestamp"] = timedelta(days=3)
        repository.refresh()
        assert client.poll().changed


def test_a_version_with_signs_that_urls_quote_is_found(tmp_path: Path) -> None:
    made = SimulatedRepository(tmp_path / "repository", baseline_identity="1.0+b~1-any")
    made.publish(1, MANIFEST)
    with serve(made.directory) as server:
        directory, pinned = tmp_path / "trust", made.first_root_digest
        with RepositoryClient(
            "darkroom", "1.0+b~1-any", directory, [f"{server.url}/"], pinned, Floors(), SystemClock()
        ) as client:
            assert client.poll().rollout.state is RolloutState.PRESENT
            assert client.fetch_document(manifest_path("darkroom", "1.0+b~1-any", 1), 100) == MANIFEST
            assert not client.poll().changed
