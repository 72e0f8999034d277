"""The trust directory of one product: what was verified, kept private, whole and durable.

    trust/<product>/            0700, ours, no symbolic link
      held.json                 what the last good poll found, and the validators for the next cheap one
      metadata/                 TUF metadata as verified, one file a role
      metadata/root_history/    every root from the pinned first one on
      documents/                index and rollout document as verified, named by their digests
      .refresh-…/               private to one refresh; judged, then adopted or thrown away

Every file here is believed only as far as it verifies again: its digest in `held.json` on cheap polls, its signatures
through `tuf.ngclient` on others. A damaged directory costs a full refresh and nothing else.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from suture.adapters.fetch import Validators
from suture.adapters.files import (
    PRIVATE_DIRECTORY,
    host_errors,
    make_directory,
    write_file,
)
from suture.adapters.tuf_metadata import (
    HISTORY,
    MAXIMUM_METADATA_BYTES,
    MetadataDirectory,
    files_of,
    read_tolerant,
    role_file,
)
from suture.core.digests import DIGEST_PATTERN, Digest, digest_bytes
from suture.core.errors import RightsError, StorageError
from suture.core.limits import KIB
from suture.trust.freshness import LoadedRole

_MAXIMUM_HELD_BYTES = 256 * KIB

_Digest = Annotated[str, msgspec.Meta(pattern=DIGEST_PATTERN)]
_Text = Annotated[str, msgspec.Meta(max_length=500)]


class Held(msgspec.Struct, frozen=True):
    """What the last good poll found. `timestamp` is the digest of the served timestamp.json that it began with."""

    format: Literal["suture-held/1"]
    product: _Text
    baseline: _Text
    base_url: _Text
    etag: _Text
    last_modified: _Text
    timestamp: _Digest
    roles: Annotated[tuple[LoadedRole, ...], msgspec.Meta(min_length=4, max_length=16)]
    """Root, timestamp, snapshot, targets and, where it exists, the release role: what the answer rests on."""
    index: _Digest | None
    """Digest of the held index; None where the publisher has released nothing for the baseline."""
    rollout: _Digest | None
    rollout_state: Literal["present", "missing", "expired", "unusable"]
    rollout_expires: Annotated[str, msgspec.Meta(max_length=40)] | None
    rollout_reason: _Text = ""

    @property
    def validators(self) -> Validators:
        """For the next conditional request."""
        return Validators(self.etag, self.last_modified)


@dataclass(frozen=True, slots=True)
class TrustDirectory:
    """Reads and writes of one product's trust directory. `path` is absolute."""

    path: Path

    @property
    def metadata(self) -> Path:
        """Where verified TUF metadata lies."""
        return self.path / "metadata"

    @property
    def verified(self) -> MetadataDirectory:
        """The same, as refreshes use it."""
        return MetadataDirectory(self.path, self.metadata)

    @property
    def lock(self) -> Path:
        """Held by whoever polls: `tuf.ngclient` is for one at a time."""
        return self.path / "lock"

    def prepare(self) -> None:
        """Make the directories where missing, and refuse any that another user could have had a hand in.

        Raises:
            StorageError: a symbolic link, or no directory, in one of the places.
            RightsError: it belongs to somebody else.
        """
        for path in (self.path, self.metadata, self.metadata / HISTORY, self.path / "documents"):
            if not os.path.lexists(path):
                make_directory(path, mode=PRIVATE_DIRECTORY)
            _verify_private(path)

    def read_held(self) -> Held | None:
        """The last good poll, or None where there is none or it cannot be read."""
        data = read_tolerant(self.path / "held.json", _MAXIMUM_HELD_BYTES)
        if data is None:
            return None
        try:
            return msgspec.json.decode(data, type=Held)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def write_held(self, held: Held) -> None:
        """Remember a good poll, durably."""
        write_file(self.path / "held.json", msgspec.json.encode(held))

    def drop_held(self) -> None:
        """Make the next poll a full one."""
        with host_errors(f"remove {self.path / 'held.json'}"):
            (self.path / "held.json").unlink(missing_ok=True)

    def read_document(self, digest: str, maximum_bytes: int) -> bytes | None:
        """A held document, or None where it is missing or damaged."""
        data = read_tolerant(self._document(digest), maximum_bytes)
        return data if data is not None and digest_bytes(data) == digest else None

    def write_document(self, data: bytes) -> Digest:
        """Keep a verified document, durably, under its digest; what held.json names now stays beside it."""
        digest = digest_bytes(data)
        if self.read_document(digest, len(data)) is None:
            write_file(self._document(digest), data)
        return digest

    def drop_documents(self, *, keep: tuple[str | None, ...]) -> None:
        """Remove the documents that held.json names no more."""
        kept = {self._document(digest).name for digest in keep if digest is not None}
        for path in files_of(self.path / "documents"):
            if path.name not in kept:
                with host_errors(f"remove {path}"):
                    path.unlink(missing_ok=True)

    def _document(self, digest: str) -> Path:
        return self.path / "documents" / f"{digest.removeprefix('sha256:')}.json"

    def read_role(self, role: str) -> bytes | None:
        """Verified metadata of a role other than root, or None."""
        return read_tolerant(self.metadata / role_file(role), MAXIMUM_METADATA_BYTES)

    def read_first_root(self) -> bytes | None:
        """1.root.json as kept, or None; its digest is the caller's to check."""
        return read_tolerant(self.metadata / HISTORY / "1.root.json", MAXIMUM_METADATA_BYTES)


def _verify_private(path: Path) -> None:
    with host_errors(f"look at {path}"):
        status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise StorageError(f"cannot keep trust metadata in {path}: it is no directory, or a symbolic link to one")
    if status.st_uid != os.geteuid():
        raise RightsError(f"cannot keep trust metadata in {path}: it belongs to user {status.st_uid}")
    if stat.S_IMODE(status.st_mode) & 0o077:
        with host_errors(f"make {path} private"):
            path.chmod(PRIVATE_DIRECTORY)
