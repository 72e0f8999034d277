"""The one module that drives `tuf.ngclient`. Its client workflow is TUF specification §5, never rewritten here.

Each refresh runs in a private directory (`tuf_workflow`). What comes out is judged before it is adopted.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import Root  # type: ignore[attr-defined]  # re-exported without __all__
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from suture.adapters.fetch import Deadline, Fetcher
from suture.adapters.fetch_answers import StatusError, TooLongError
from suture.adapters.tuf_errors import our_errors
from suture.adapters.tuf_metadata import MAXIMUM_METADATA_BYTES, role_file
from suture.adapters.tuf_reading import SignedTarget, VerifiedMetadata, signed_target
from suture.core.errors import NetworkError, RepositoryError
from suture.trust.freshness import ROOT, TIMESTAMP

MAXIMUM_TIMESTAMP_BYTES = 16_384
"""python-tuf's default. A timestamp with three signatures is 1 kB."""
DEVICE_DELEGATIONS = 8
"""Roles that one look-up may visit: targets, the release role, the rollout role, and room for a later format."""
GENERAL_DELEGATIONS = 32
"""python-tuf's own bound, for repositories that are not laid out as ours."""

Read = Callable[[str, int], bytes]
"""Reads a metadata file by its address, at most so many bytes; raises NetworkError."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where one refresh reads from.

    Args:
        metadata_url: the address of the metadata, with a final slash.
        read: see `Read`.
        timestamp: the body of timestamp.json where it was just fetched, which saves asking twice.
    """

    metadata_url: str
    read: Read
    timestamp: bytes | None = None


def read_from(fetcher: Fetcher, deadline: Deadline) -> Read:
    """Reads through our fetcher, all under one deadline."""

    def read(url: str, maximum_bytes: int) -> bytes:
        return fetcher.get(url, maximum_bytes=maximum_bytes, deadline=deadline).body or b""

    return read


def read_nothing(url: str, _: int) -> bytes:
    """For a refresh over what the directory holds."""
    raise StatusError(f"cannot read {url} without network", 404)


class _TufFetcher(FetcherInterface):
    """Our fetcher in python-tuf's words. Bodies stay in memory (python-tuf itself would use $TMPDIR)."""

    def __init__(self, read: Callable[[str, int], bytes], bodies: dict[str, bytes]) -> None:
        self._read = read
        self._bodies = bodies

    def _fetch(self, url: str) -> Iterator[bytes]:
        yield self.download_bytes(url, MAXIMUM_METADATA_BYTES)

    @contextlib.contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        yield io.BytesIO(self.download_bytes(url, max_length))

    def download_bytes(self, url: str, max_length: int) -> bytes:
        try:
            body = self._read(url, max_length)
        except StatusError as error:
            raise tuf_errors.DownloadHTTPError(error.message, error.status) from error
        except TooLongError as error:
            raise tuf_errors.DownloadLengthMismatchError(error.message) from error
        except NetworkError as error:
            raise tuf_errors.DownloadError(error.message) from error
        self._bodies[url.rpartition("/")[2]] = body
        return body


class Refresh(VerifiedMetadata):
    """One run of the TUF client workflow in a private directory. `tuf_workflow` makes, runs and adopts it.

    Args:
        working: the private directory, holding what was verified before.
        first_root: bytes of the root to start from, which the caller trusts.
        source: where the rest is read from.
        max_delegations: roles that one look-up may visit.
    """

    def __init__(
        self, working: Path, first_root: bytes, source: Source, *, max_delegations: int = DEVICE_DELEGATIONS
    ) -> None:
        super().__init__(working)
        self._source = source
        self._tuf_fetcher = _TufFetcher(self._read, self._bodies)
        self._is_closed = False
        config = UpdaterConfig(
            max_delegations=max_delegations,
            timestamp_max_length=MAXIMUM_TIMESTAMP_BYTES,
            targets_max_length=MAXIMUM_METADATA_BYTES,
        )
        with our_errors("start from the first root"):
            self._updater = Updater(
                str(working), source.metadata_url, fetcher=self._tuf_fetcher, config=config, bootstrap=first_root
            )
            self.root = self._newest_root()

    def run(self) -> None:
        """TUF specification §5.3 to §5.6: root, timestamp, snapshot, targets.

        Raises:
            NetworkError, SignatureError, ExpiredError, RolledBackError, RepositoryError.
        """
        with our_errors("refresh the repository's metadata"):
            try:
                self._updater.refresh()
            finally:
                self.root = self._newest_root()
        root = self._parsed(ROOT)
        self._is_consistent = root is None or not isinstance(root.signed, Root) or bool(root.signed.consistent_snapshot)

    def find(self, path: str, *, algorithms: tuple[str, ...] = ("sha256",)) -> SignedTarget | None:
        """TUF specification §5.6.7: the target's entry in the role it is delegated to, or None.

        Args:
            path: the target's.
            algorithms: kinds of digest that will do, best first; `hashlib` knows them.

        Raises:
            As `run`; RepositoryError where the entry has no such digest.
        """
        with our_errors(f"look up {path}"):
            target = self._updater.get_targetinfo(path)
        if target is None:
            return None
        kind = next((kind for kind in algorithms if kind in target.hashes), None)
        if kind is None:
            raise RepositoryError(f"cannot use {path}: its metadata has no {' or '.join(algorithms)} digest")
        digest = target.hashes[kind]
        if not re.fullmatch(f"[0-9a-f]{{{2 * hashlib.new(kind).digest_size}}}", digest):
            raise RepositoryError(f"cannot use {path}: {digest[:80]!r} is no {kind} digest")
        return signed_target(path, target.length, f"{kind}:{digest}", consistent=self._is_consistent)

    def close(self) -> None:
        """The private directory goes; from here on only roles that are loaded answer."""
        self._is_closed = True

    def _read(self, url: str, maximum_bytes: int) -> bytes:
        if self._is_closed:
            raise RepositoryError("cannot look beyond the roles that sign this release: another one is delegated to")
        if self._source.timestamp is not None and url == self._source.metadata_url + role_file(TIMESTAMP):
            return self._source.timestamp
        return self._source.read(url, maximum_bytes)

    def _newest_root(self) -> Path:
        return self._working / (self._working / role_file(ROOT)).readlink()  # as ngclient keeps it
