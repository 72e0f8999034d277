"""Reads back what `tuf.ngclient` verified in a private directory, since it shows nobody what it loaded.

Signatures are verified again, because a file may be left from an earlier run under keys that were rotated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import (  # type: ignore[attr-defined]  # re-exported without __all__
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from suture.adapters.files import read_file
from suture.adapters.tuf_errors import our_errors
from suture.adapters.tuf_metadata import MAXIMUM_METADATA_BYTES, role_file
from suture.core.canonical import canonical_json
from suture.core.clock import format_time
from suture.core.digests import Digest, digest_bytes
from suture.core.errors import RepositoryError
from suture.trust.freshness import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, LoadedRole

_Parsed = Metadata[Root] | Metadata[Timestamp] | Metadata[Snapshot] | Metadata[Targets]


@dataclass(frozen=True, slots=True)
class SignedTarget:
    """What the signed metadata says of one target: its length in bytes, its digest, and where it lies."""

    path: str
    length: int
    digest: str
    url_path: str


def signed_target(path: str, length: int, digest: str, *, consistent: bool) -> SignedTarget:
    """A target and its place; `consistent` as the root says (TUF specification §6.2)."""
    directory, _, name = path.rpartition("/")
    # Consistent snapshots: TUF specification §6.2 and §5.7.3, the digest goes before the file's name.
    name = f"{digest.partition(':')[2]}.{quote(name)}" if consistent else quote(name)
    return SignedTarget(path, length, digest, f"{quote(directory)}/{name}" if directory else name)


class VerifiedMetadata:
    """The metadata in one private directory. `root` is the newest root that was verified, a file in it."""

    def __init__(self, working: Path) -> None:
        self.root = working / role_file(ROOT)
        self._working = working
        self._is_consistent = True
        self._bodies: dict[str, bytes] = {}
        """What this run has read, by file name: also what ngclient would not load, since it had expired."""

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
        return role in self.delegated()

    def delegated(self) -> tuple[str, ...]:
        """The roles that the top-level targets role delegates to, in its order."""
        metadata = self._parsed(TARGETS)
        delegations = metadata.signed.delegations if metadata and isinstance(metadata.signed, Targets) else None
        return tuple(delegations.roles or ()) if delegations is not None else ()

    def listed(self, role: str) -> tuple[SignedTarget, ...]:
        """Every target with a SHA-256 digest that a role which stands in the directory lists, whatever its path."""
        metadata = self._parsed(role) if self.loaded(role) is not None else None
        if metadata is None or not isinstance(metadata.signed, Targets):
            return ()
        return tuple(
            signed_target(path, one.length, f"sha256:{one.hashes['sha256']}", consistent=self._is_consistent)
            for path, one in metadata.signed.targets.items()
            if re.fullmatch("[0-9a-f]{64}", one.hashes.get("sha256", ""))
        )

    def versioned(self, role: str) -> str:
        """The file name under which a repository keeps a role that its snapshot names, or that the timestamp does.

        Raises:
            RepositoryError: neither names it.
        """
        timestamp, snapshot = self._parsed(TIMESTAMP), self._parsed(SNAPSHOT)
        meta = snapshot.signed.meta if snapshot is not None and isinstance(snapshot.signed, Snapshot) else {}
        found = meta.get(f"{role}.json")
        if role == SNAPSHOT and timestamp is not None and isinstance(timestamp.signed, Timestamp):
            found = timestamp.signed.snapshot_meta
        if found is None:
            raise RepositoryError(f"cannot use the repository: its snapshot does not name {role}")
        return f"{found.version}.{role}.json"

    def held_bytes(self, role: str) -> bytes | None:
        """A role's bytes as they stand in the directory, else as this run read and did not believe them."""
        path = self._working / role_file(role)
        if path.is_file() and self.loaded(role) is not None and self._is_listed(role):
            return read_file(path, maximum_bytes=MAXIMUM_METADATA_BYTES)
        names = [name for name in self._bodies if name.endswith("." + role_file(role))]
        return self._bodies[names[-1]] if names else None

    def _is_listed(self, role: str) -> bool:
        found = self.loaded(role)
        return role == TIMESTAMP or (found is not None and self.versioned(role) == f"{found.version}.{role}.json")

    def expired_since(self, role: str) -> datetime | None:
        """The expiry of a role that ngclient refused as expired (it had verified its signatures before that)."""
        names = [name for name in self._bodies if name.endswith("." + role_file(role))]
        if not names:
            return None
        with our_errors(f"read the {role} metadata"):
            return Metadata[Targets].from_bytes(self._bodies[names[-1]]).signed.expires

    def _parsed(self, role: str) -> _Parsed | None:
        path = self.root if role == ROOT else self._working / role_file(role)
        if not path.is_file():
            return None
        data = read_file(path, maximum_bytes=MAXIMUM_METADATA_BYTES)
        with our_errors(f"read the {role} metadata"):
            return Metadata.from_bytes(data)

    def _delegator(self, role: str) -> Root | Targets:
        delegator = self._parsed(ROOT if role in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS) else TARGETS)
        if delegator is None or not isinstance(delegator.signed, Root | Targets):
            raise RepositoryError(f"cannot tell who signs the {role} metadata")
        return delegator.signed

    def _is_signed(self, role: str, metadata: _Parsed) -> bool:
        try:
            self._delegator(role).verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except (tuf_errors.UnsignedMetadataError, ValueError):
            return False
        return True

    def _keys(self, role: str) -> Digest:
        """A digest over who may sign `role`, as its delegator says now."""
        with our_errors(f"tell who signs the {role} metadata"):
            delegation = self._delegator(role).get_delegated_role(role)
        return digest_bytes(canonical_json([sorted(delegation.keyids), delegation.threshold]))
