"""The one module that drives `tuf.ngclient`. Its client workflow is TUF specification §5, never rewritten here.

Each refresh runs in a private directory. What comes out is judged (`suture.trust`) by the caller before it is adopted.
All of python-tuf's exceptions end here, each in the error of ours that says the same.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, NoReturn
from urllib.parse import quote

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import Metadata, Root, Targets  # type: ignore[attr-defined]  # re-exported without __all__
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from suture.adapters.fetch import Deadline, Fetcher, StatusError, TooLongError
from suture.adapters.files import host_errors, read_file
from suture.adapters.tuf_held import MAXIMUM_METADATA_BYTES, role_file
from suture.core.canonical import canonical_json
from suture.core.clock import format_time
from suture.core.digests import Digest, digest_bytes, digest_from_hex
from suture.core.errors import (
    ExpiredError,
    InputError,
    NetworkError,
    RepositoryError,
    RolledBackError,
    SignatureError,
    SutureError,
)
from suture.trust.freshness import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, LoadedRole

MAXIMUM_TIMESTAMP_BYTES = 16_384
"""python-tuf's default. A timestamp with three signatures is 1 kB."""
_CONFIG = UpdaterConfig(
    max_delegations=8,  # targets, the release role, the rollout role; the rest is room for a later format
    timestamp_max_length=MAXIMUM_TIMESTAMP_BYTES,
    targets_max_length=MAXIMUM_METADATA_BYTES,
)


class SignedTarget:
    """What the signed metadata says of one target: its length in bytes, its digest, and where it lies."""

    __slots__ = ("digest", "length", "path", "url_path")

    def __init__(self, path: str, length: int, digest: Digest) -> None:
        self.path = path
        self.length = length
        self.digest = digest
        # Consistent snapshots: TUF specification §6.2 and §5.7.3, the digest goes before the file's name.
        directory, _, name = path.rpartition("/")
        prefix = f"{quote(directory)}/" if directory else ""
        self.url_path = f"{prefix}{digest.removeprefix('sha256:')}.{quote(name)}"


class _TufFetcher(FetcherInterface):
    """Our fetcher in python-tuf's words. Bodies stay in memory (python-tuf itself would use $TMPDIR)."""

    def __init__(self, read: Callable[[str, int], bytes]) -> None:
        self._read = read
        self.bodies: dict[str, bytes] = {}
        """What this refresh has read, by file name: to tell when a role expired that ngclient would not load."""

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
        self.bodies[url.rpartition("/")[2]] = body
        return body


class Refresh:
    """One run of the TUF client workflow in a private directory.

    Args:
        working: the private directory, holding what was verified before.
        first_root: bytes of 1.root.json, whose digest the caller has checked.
        base_url: the repository's address, without a final slash; ignored when `fetcher` is None.
        fetcher: None for a run without network, over what the directory holds.
        deadline: for all of it.
        timestamp: the body of timestamp.json where it was just fetched, which saves asking twice.
    """

    def __init__(
        self,
        working: Path,
        first_root: bytes,
        base_url: str,
        fetcher: Fetcher | None,
        deadline: Deadline,
        timestamp: bytes | None,
    ) -> None:
        self._working = working
        self._timestamp = timestamp
        self._fetcher = fetcher
        self._deadline = deadline
        self._metadata_url = f"{base_url}/metadata/"
        self._tuf_fetcher = _TufFetcher(self._read)
        with _our_errors("start from the first root"):
            self._updater = Updater(
                str(working), self._metadata_url, fetcher=self._tuf_fetcher, config=_CONFIG, bootstrap=first_root
            )

    def run(self) -> None:
        """TUF specification §5.3 to §5.6: root, timestamp, snapshot, targets.

        Raises:
            NetworkError, SignatureError, ExpiredError, RolledBackError, RepositoryError.
        """
        with _our_errors("refresh the repository's metadata"):
            self._updater.refresh()

    def find(self, path: str) -> SignedTarget | None:
        """TUF specification §5.6.7: the target's entry in the role it is delegated to, or None.

        Raises:
            As `run`; RepositoryError where the entry has no SHA-256.
        """
        with _our_errors(f"look up {path}"):
            target = self._updater.get_targetinfo(path)
        if target is None:
            return None
        try:
            digest = digest_from_hex(target.hashes.get("sha256", ""))
        except InputError as error:
            raise RepositoryError(f"cannot use {path}: its metadata has no SHA-256 digest") from error
        return SignedTarget(path, target.length, digest)

    def loaded(self, role: str) -> LoadedRole | None:
        """What stands of a role in the directory, or None: not there, or not signed by whom its delegator names now.

        The signatures are verified again, since a file may be left from an earlier run under keys that were rotated.
        """
        metadata = self._parsed(role)
        if metadata is None or not self._is_signed(role, metadata):
            return None
        signed = metadata.signed
        return LoadedRole(role, signed.version, format_time(signed.expires), self._keys(role))

    def delegates(self, role: str) -> bool:
        """Whether the top-level targets role delegates to `role`."""
        metadata = self._parsed(TARGETS)
        delegations = (
            metadata.signed.delegations if metadata is not None and isinstance(metadata.signed, Targets) else None
        )
        return delegations is not None and role in (delegations.roles or {})

    def expired_since(self, role: str) -> datetime | None:
        """The expiry of a role that ngclient refused as expired (it had verified its signatures before that)."""
        names = [name for name in self._tuf_fetcher.bodies if name.endswith("." + role_file(role))]
        if not names:
            return None
        with _our_errors(f"read the {role} metadata"):
            return Metadata[Targets].from_bytes(self._tuf_fetcher.bodies[names[-1]]).signed.expires

    def _read(self, url: str, maximum_bytes: int) -> bytes:
        name = url.removeprefix(self._metadata_url)
        if name == role_file(TIMESTAMP) and self._timestamp is not None:
            return self._timestamp
        if self._fetcher is None:
            raise StatusError(f"cannot read {name} without network", 404)
        answer = self._fetcher.get(url, maximum_bytes=maximum_bytes, deadline=self._deadline)
        return answer.body or b""

    def _parsed(self, role: str) -> Metadata[Root] | Metadata[Targets] | None:
        path = self._working / role_file(role)
        if role == ROOT:  # ngclient keeps root.json as a link to the newest version
            versions = (self._working / "root_history").glob("*.root.json")
            path = max(versions, key=lambda one: int(one.name.partition(".")[0]))
        if not path.is_file():
            return None
        data = read_file(path, maximum_bytes=MAXIMUM_METADATA_BYTES)
        with _our_errors(f"read the {role} metadata"):
            return Metadata.from_bytes(data)

    def _delegator(self, role: str) -> Metadata[Root] | Metadata[Targets]:
        delegator = self._parsed(ROOT if role in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS) else TARGETS)
        if delegator is None:
            raise RepositoryError(f"cannot tell who signs the {role} metadata")
        return delegator

    def _is_signed(self, role: str, metadata: Metadata[Root] | Metadata[Targets]) -> bool:
        try:
            self._delegator(role).signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except (tuf_errors.UnsignedMetadataError, ValueError):
            return False
        return True

    def _keys(self, role: str) -> Digest:
        """A digest over who may sign `role`, as its delegator says now."""
        with _our_errors(f"tell who signs the {role} metadata"):
            delegation = self._delegator(role).signed.get_delegated_role(role)
        return digest_bytes(canonical_json([sorted(delegation.keyids), delegation.threshold]))


@contextlib.contextmanager
def _our_errors(doing: str) -> Iterator[None]:
    """Turn python-tuf's exceptions into ours; `doing` completes "cannot …"."""
    try:
        with host_errors(doing):
            yield
    except SutureError:
        raise
    except (tuf_errors.RepositoryError, tuf_errors.DownloadError) as error:
        _raise_ours(doing, error)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        # Metadata that is signed and yet breaks an assumption of python-tuf's.
        raise RepositoryError(f"cannot {doing}: {error}") from error


def _raise_ours(doing: str, error: Exception) -> NoReturn:
    words = str(error) or type(error).__name__
    if isinstance(error, tuf_errors.DownloadLengthMismatchError):
        raise RepositoryError(f"cannot {doing}: {words}") from error
    if isinstance(error, tuf_errors.DownloadError):
        # Our fetcher's own error is the cause, and says more: unreachable or too slow.
        if isinstance(error.__cause__, NetworkError):
            raise error.__cause__
        raise NetworkError(f"cannot {doing}: {words}") from error
    if isinstance(error, tuf_errors.UnsignedMetadataError):
        raise SignatureError(f"cannot {doing}: {words}") from error
    if isinstance(error, tuf_errors.ExpiredMetadataError):
        raise ExpiredError(f"cannot {doing}: {words}") from error
    if isinstance(error, tuf_errors.BadVersionNumberError):  # EqualVersionNumberError is one
        raise RolledBackError(f"cannot {doing}: {words}") from error
    if isinstance(error, tuf_errors.LengthOrHashMismatchError):
        raise RepositoryError(f"cannot {doing}: {words}; files of different versions were mixed or changed") from error
    raise RepositoryError(f"cannot {doing}: {words}") from error
