"""One repository, its real server, and one device, for tests that are named for attacks."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from suture.adapters.clock import SystemClock
from suture.adapters.fetch import Fetcher
from suture.adapters.tuf_client import PollAnswer, RepositoryClient
from suture.testing.http_server import RepositoryServer
from suture.testing.repository import SimulatedRepository
from suture.trust.documents import Index
from suture.trust.floors import Floors

ROLLOUT = "rollout-1.0-x86_64"
RELEASE = "release-1.0-x86_64"
MANIFEST_1 = b'{"level": 1}'
MANIFEST_2 = b'{"level": 2}'


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
        self.fetcher: Fetcher | None = None

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
            fetcher=self.fetcher or Fetcher(self.clock, window_seconds=self.window_seconds),
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

    def root_version(self) -> int:
        """The newest root that the device trusts."""
        return max(int(path.name.partition(".")[0]) for path in self.trust.rglob("root_history/*.root.json"))
