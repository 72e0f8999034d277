"""A draft: the next state of the repository, signed in memory, on top of what is published.

Knows TUF's roles and versions and nothing of improvements. Every role that is touched gets exactly one new version and
a new expiry; `files` orders them so that a client that polls between two of them still verifies (see `_roots_around`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # re-exported without __all__
from tuf.api.metadata import (  # type: ignore[attr-defined]  # re-exported without __all__
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from suture.core.digests import Digest, hex_of
from suture.publisher.keys import Keyring
from suture.publisher.publication import NewFile
from suture.publisher.published import Published, prefixed_path
from suture.publisher.workshop import KeyRole, Lifetimes, WorkshopFile
from suture.trust.paths import release_prefix, release_role, rollout_path, rollout_role

_COMPACT = JSONSerializer(compact=True)


def sign_metadata(signed: Root | Targets | Snapshot | Timestamp, signers: Sequence[CryptoSigner]) -> bytes:
    """The bytes of signed metadata, the same for the same contents and keys (Ed25519 is deterministic)."""
    metadata: Metadata[Any] = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes(_COMPACT)


def target_of(path: str, digest: Digest, size: int) -> TargetFile:
    """A target's signed description; `size` in bytes."""
    return TargetFile(size, {"sha256": hex_of(digest)}, path)


class Draft:
    """The next state.

    Args:
        published: what it builds on.
        settings: the workshop's.
        keyring: signs when `files` is called.
        now: aware, UTC; expiries count from it.
        leaving: signers whose keys are being replaced. They sign once more beside the new ones, for clients that have
            read the root before the change and read the rest after it.
    """

    def __init__(
        self,
        published: Published,
        settings: WorkshopFile,
        keyring: Keyring,
        now: datetime,
        leaving: Mapping[KeyRole, Sequence[CryptoSigner]] | None = None,
    ) -> None:
        self._lifetimes: Lifetimes = settings.lifetimes
        self._product = settings.product
        self._settings = settings
        self._keyring = keyring
        self._leaving = dict(leaving or {})
        self._now = now.replace(microsecond=0)
        self._targets = deepcopy(published.targets.signed)
        self._delegated = {name: deepcopy(metadata.signed) for name, metadata in published.delegated.items()}
        self._snapshot = deepcopy(published.snapshot.signed)
        self._timestamp = deepcopy(published.timestamp.signed)
        self._touched: set[str] = set()
        self._target_files: list[NewFile] = []
        self._roots_before: list[tuple[Root, Sequence[CryptoSigner]]] = []
        self._roots_after: list[tuple[Root, Sequence[CryptoSigner]]] = []

    @property
    def is_empty(self) -> bool:
        """Nothing was touched."""
        return not (self._touched or self._roots_before or self._roots_after)

    def has_baseline(self, identity: str) -> bool:
        """Whether `targets` delegates the baseline's roles."""
        return release_role(identity) in self._delegated

    def delegate_baseline(self, identity: str) -> None:
        """Delegate a baseline's two roles, terminating, release first (needs the targets keys)."""
        release = release_role(identity)
        rollout = rollout_role(identity)
        for role in (release, rollout):
            self._delegated[role] = Targets()
            self._delegated[role].version = 0  # `files` makes it 1
        self._delegate(release, KeyRole.RELEASE, f"{release_prefix(self._product, identity)}/*")
        self._delegate(rollout, KeyRole.ONLINE, rollout_path(self._product, identity))
        self._touched |= {"targets", release, rollout}

    def _delegate(self, role: str, key_role: KeyRole, path: str) -> None:
        if self._targets.delegations is None:
            self._targets.delegations = Delegations({}, {})
        delegations = self._targets.delegations
        roles = delegations.roles if delegations.roles is not None else {}
        threshold = self._settings.thresholds.of(key_role)
        roles[role] = DelegatedRole(role, [], threshold, terminating=True, paths=[path])
        delegations.roles = roles
        for key in self._keyring.public_keys(key_role):
            self._targets.add_key(key, role)

    def redelegate(self, key_roles: frozenset[KeyRole]) -> None:
        """Name the current keys of `key_roles` in every delegation that they hold, and sign those roles again."""
        delegations = self._targets.delegations
        for name, role in ((delegations.roles or {}) if delegations else {}).items():
            key_role = key_role_of(name)
            if key_role not in key_roles:
                continue
            for keyid in list(role.keyids):
                self._targets.revoke_key(keyid, name)
            role.threshold = self._settings.thresholds.of(key_role)
            for key in self._keyring.public_keys(key_role):
                self._targets.add_key(key, name)
            self._touched |= {"targets", name}

    def put_target(self, role: str, target: TargetFile, source: bytes | Path) -> None:
        """Put a target into a delegated role in place of the one at its path."""
        self._delegated[role].targets[target.path] = target
        self._touched.add(role)
        self._target_files.append(NewFile(f"repository/targets/{prefixed_path(target)}", source))

    def touch(self, role: str) -> None:
        """Sign a role again with a new version and expiry."""
        self._touched.add(role)

    def put_roots(
        self,
        before: Sequence[tuple[Root, Sequence[CryptoSigner]]],
        after: Sequence[tuple[Root, Sequence[CryptoSigner]]] = (),
    ) -> None:
        """New roots to show before, and after, all other metadata, each with its signers."""
        self._roots_before, self._roots_after = list(before), list(after)

    def files(self) -> list[NewFile]:
        """Sign everything touched, and snapshot and timestamp over it; in the order in which it may be seen.

        Raises:
            InputError, NotKnownError: a key cannot be unlocked.
        """
        files = [*self._target_files]
        files += [self._root_file(root, signers) for root, signers in self._roots_before]
        for name in sorted(self._touched - {"targets", "snapshot", "timestamp"}):
            files.append(self._signed_file(name, self._delegated[name], key_role_of(name)))
        if "targets" in self._touched:
            files.append(self._signed_file("targets", self._targets, KeyRole.TARGETS))
        if files or "snapshot" in self._touched:
            snapshot = self._signed_file("snapshot", self._snapshot, KeyRole.ONLINE)
            self._timestamp.snapshot_meta = self._meta(self._snapshot, snapshot)
            files.append(snapshot)
        files.append(self._timestamp_file())
        if self._roots_after:
            # A device that finds the timestamp unchanged asks no further (spec/repository.md §1.4): one more after it.
            files += [self._root_file(root, signers) for root, signers in self._roots_after]
            files.append(self._timestamp_file())
        return files

    def _timestamp_file(self) -> NewFile:
        self._advance(self._timestamp, self._lifetimes.timestamp_days)
        data = sign_metadata(self._timestamp, self._signers(KeyRole.ONLINE))
        return NewFile("repository/metadata/timestamp.json", data, replaces=True)

    def _signers(self, key_role: KeyRole) -> list[CryptoSigner]:
        return [*self._keyring.signers(key_role), *self._leaving.get(key_role, ())]

    def _root_file(self, root: Root, signers: Sequence[CryptoSigner]) -> NewFile:
        return NewFile(f"repository/metadata/{root.version}.root.json", sign_metadata(root, signers))

    def _signed_file(self, name: str, signed: Targets | Snapshot, key_role: KeyRole) -> NewFile:
        self._advance(signed, days_of(name, self._lifetimes))
        signers = self._signers(key_role)
        data = sign_metadata(signed, signers)
        file = NewFile(f"repository/metadata/{signed.version}.{name}.json", data)
        if name != "snapshot":
            # Versions alone (TUF specification §4.4): hashes of 400 roles do not compress, and every poll that finds
            # something new fetches this file. A version of ours never has two contents.
            self._snapshot.meta[f"{name}.json"] = MetaFile(signed.version)
        return file

    def _advance(self, signed: Targets | Snapshot | Timestamp, days: int) -> None:
        signed.version += 1
        signed.expires = self._now + timedelta(days=days)

    @staticmethod
    def _meta(signed: Targets | Snapshot, file: NewFile) -> MetaFile:
        assert isinstance(file.source, bytes)  # noqa: S101 - metadata is made in memory
        return MetaFile.from_data(signed.version, file.source, ["sha256"])


def key_role_of(role: str) -> KeyRole:
    """Whose keys sign a TUF role."""
    if role in ("snapshot", "timestamp") or role.startswith("rollout-"):
        return KeyRole.ONLINE
    return KeyRole.RELEASE if role.startswith("release-") else KeyRole(role)


def days_of(role: str, lifetimes: Lifetimes) -> int:
    """Days from signing to expiry of a TUF role."""
    kind = role.split("-", 1)[0]
    return int(getattr(lifetimes, f"{kind}_days"))


def first_repository(settings: WorkshopFile, keyring: Keyring, root_bytes: bytes, now: datetime) -> list[NewFile]:
    """The files of a new repository: the given first root, and empty targets, snapshot and timestamp, version 1."""
    now = now.replace(microsecond=0)
    lifetimes = settings.lifetimes
    targets = Targets(1, expires=now + timedelta(days=lifetimes.targets_days))
    targets_bytes = sign_metadata(targets, keyring.signers(KeyRole.TARGETS))
    snapshot = Snapshot(1, expires=now + timedelta(days=lifetimes.snapshot_days))
    snapshot.meta["targets.json"] = MetaFile.from_data(1, targets_bytes, ["sha256"])
    snapshot_bytes = sign_metadata(snapshot, keyring.signers(KeyRole.ONLINE))
    timestamp = Timestamp(1, expires=now + timedelta(days=lifetimes.timestamp_days))
    timestamp.snapshot_meta = MetaFile.from_data(1, snapshot_bytes, ["sha256"])
    timestamp_bytes = sign_metadata(timestamp, keyring.signers(KeyRole.ONLINE))
    names = ("1.root", "1.targets", "1.snapshot", "timestamp")
    contents = (root_bytes, targets_bytes, snapshot_bytes, timestamp_bytes)
    return [
        NewFile(f"repository/metadata/{name}.json", data, replaces=name == "timestamp")
        for name, data in zip(names, contents, strict=True)
    ]
