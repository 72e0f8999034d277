"""The repository as it stands: every role's metadata, verified from the pinned first root down.

The publisher believes its own web directory no more than a device would: a tampered copy must never be signed on. Only
expiry is not judged, since a publisher's work is to sign again what has expired.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from securesystemslib.exceptions import StorageError as SecureSystemsStorageError
from tuf.api.exceptions import RepositoryError as TufRepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # re-exported without __all__
    Metadata,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from suture.adapters.files import read_file
from suture.core.digests import digest_bytes
from suture.core.errors import RepositoryError
from suture.core.limits import MIB
from suture.publisher.workshop import Workshop, WorkshopFile

MAXIMUM_METADATA_BYTES = 5 * MIB
"""What a stock client accepts of one role (tuf.ngclient.UpdaterConfig.targets_max_length)."""
_ADVICE = "restore repository/ from its backup; nothing was signed"
_ROLLOUT_ROLE = re.compile(r"rollout-(.+)\Z")

_Signed = TypeVar("_Signed", Root, Targets, Snapshot, Timestamp)
_Delegator = Metadata[Root] | Metadata[Targets]
_Delegate = Metadata[Root] | Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp]


@dataclass(frozen=True, slots=True)
class Published:
    """Verified metadata. `delegated` by role name: release-… and rollout-… ."""

    directory: Path
    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]
    delegated: dict[str, Metadata[Targets]] = field(default_factory=dict)

    def baselines(self) -> tuple[str, ...]:
        """Identities of the baselines that have roles, sorted."""
        matches = (_ROLLOUT_ROLE.match(name) for name in self.delegated)
        return tuple(sorted(match.group(1) for match in matches if match))

    def read_target(self, role: str, path: str, *, maximum_bytes: int) -> bytes | None:
        """The verified bytes of a role's target, or None where the role has no such target.

        Raises:
            RepositoryError: the file is not what the role signed.
        """
        metadata = self.delegated.get(role)
        target = metadata.signed.targets.get(path) if metadata else None
        if target is None:
            return None
        data = read_file(self.directory / "targets" / prefixed_path(target), maximum_bytes=maximum_bytes)
        if len(data) != target.length or digest_bytes(data) != f"sha256:{target.hashes.get('sha256')}":
            raise RepositoryError(f"cannot use the published {path}: it is not what {role} signed", advice=_ADVICE)
        return data


def prefixed_path(target: TargetFile) -> str:
    """Where a target lies under ``targets/`` with consistent snapshots (TUF specification §5.7.1)."""
    directory, _, name = target.path.rpartition("/")
    return f"{directory}/{target.hashes['sha256']}.{name}"


def read_published(workshop: Workshop, settings: WorkshopFile) -> Published:
    """Read and verify the repository's current metadata.

    Raises:
        RepositoryError: it does not verify from the workshop's first root down.
        StorageError: a file is missing.
    """
    directory = workshop.metadata
    try:
        root = _walk_roots(directory, settings.first_root)
        timestamp = _load(Timestamp, directory / "timestamp.json")
        _verify(root, "timestamp", timestamp)
        snapshot = _load(Snapshot, directory / f"{timestamp.signed.snapshot_meta.version}.snapshot.json")
        _verify(root, "snapshot", snapshot)
        versions = {name.removesuffix(".json"): meta.version for name, meta in snapshot.signed.meta.items()}
        targets = _load(Targets, directory / f"{versions['targets']}.targets.json")
        _verify(root, "targets", targets)
        delegated = dict(_load_delegated(directory, targets, versions))
    except (TufRepositoryError, DeserializationError, SecureSystemsStorageError, KeyError, ValueError) as error:
        raise RepositoryError(f"cannot use the repository in {directory}: {error}", advice=_ADVICE) from error
    return Published(workshop.repository, root, targets, snapshot, timestamp, delegated)


def _walk_roots(directory: Path, first_root: str) -> Metadata[Root]:
    data = read_file(directory / "1.root.json", maximum_bytes=MAXIMUM_METADATA_BYTES)
    if digest_bytes(data) != first_root:
        raise RepositoryError("cannot use the repository: its 1.root.json is not the workshop's", advice=_ADVICE)
    root = _load(Root, directory / "1.root.json")
    _verify(root, "root", root)
    while (path := directory / f"{root.signed.version + 1}.root.json").exists():
        newer = _load(Root, path)
        _verify(root, "root", newer)
        _verify(newer, "root", newer)
        if newer.signed.version != root.signed.version + 1:
            raise RepositoryError(f"cannot use {path}: it is version {newer.signed.version}", advice=_ADVICE)
        root = newer
    return root


def _verify(delegator: _Delegator, role: str, metadata: _Delegate) -> None:
    delegator.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)


def _load_delegated(
    directory: Path, targets: Metadata[Targets], versions: dict[str, int]
) -> Iterator[tuple[str, Metadata[Targets]]]:
    delegations = targets.signed.delegations
    for name in (delegations.roles or {}) if delegations else {}:
        metadata = _load(Targets, directory / f"{versions[name]}.{name}.json")
        _verify(targets, name, metadata)
        yield name, metadata


def _load(kind: type[_Signed], path: Path) -> Metadata[_Signed]:
    metadata: Metadata[_Signed] = Metadata.from_bytes(read_file(path, maximum_bytes=MAXIMUM_METADATA_BYTES))
    if not isinstance(metadata.signed, kind):
        raise RepositoryError(f"cannot use {path}: it is no {kind.type} metadata", advice=_ADVICE)
    return metadata
