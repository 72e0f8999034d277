"""A small real TUF repository in a directory, with all its keys at hand: for tests, demos and simulated devices.

Real metadata, real signatures (`tuf.api.metadata`, securesystemslib), real files; laid out as spec/repository.md says.
It can also do what a publisher must not: expire, roll back, mix and match, sign a level twice. Never for real products.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from securesystemslib.signer import CryptoSigner, Key  # type: ignore[attr-defined]  # re-exported without __all__
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

from suture.core.clock import format_time
from suture.core.digests import Digest, digest_bytes
from suture.trust.documents import Index, IndexedLevel, Pause, Recall, Rollout, Share
from suture.trust.freshness import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from suture.trust.paths import (
    index_path,
    manifest_path,
    release_prefix,
    release_role,
    rollout_path,
    rollout_role,
)

Document = Root | Timestamp | Snapshot | Targets


class SimulatedRepository:
    """One product's repository for one baseline release.

    Args:
        directory: gets ``metadata/`` and ``targets/``; made where missing.
        product, baseline_identity: as in `trust.paths`.
        now: what is "now" for expiries and issue times; the real time when left out.
    """

    def __init__(
        self,
        directory: Path,
        product: str = "darkroom",
        baseline_identity: str = "1.0-x86_64",
        *,
        now: datetime | None = None,
    ) -> None:
        self.directory = directory
        self.product = product
        self.baseline = baseline_identity
        self.now = (now or datetime.now(UTC)).replace(microsecond=0)
        self.release = release_role(baseline_identity)
        self.rollout_name = rollout_role(baseline_identity)
        (directory / "metadata").mkdir(parents=True, exist_ok=True)
        (directory / "targets").mkdir(exist_ok=True)
        self.signers: dict[str, list[CryptoSigner]] = {
            role: [CryptoSigner.generate_ed25519() for _ in range(2)] for role in (ROOT, TARGETS, self.release)
        }
        online = CryptoSigner.generate_ed25519()
        self.signers |= {role: [online] for role in (TIMESTAMP, SNAPSHOT, self.rollout_name)}
        self.lifetimes = _lifetimes(self.release, self.rollout_name)
        self.documents: dict[str, Document] = {
            ROOT: Root(consistent_snapshot=True),
            TIMESTAMP: Timestamp(),
            SNAPSHOT: Snapshot(meta={}),
            TARGETS: Targets(),
            self.release: Targets(),
            self.rollout_name: Targets(),
        }
        self.index = Index("suture-index/1", product, baseline_identity, format_time(self.now))
        self.rollout: Rollout | None = Rollout("suture-rollout/1", product, baseline_identity, format_time(self.now))
        self._delegate()
        self._write_role(ROOT)
        self._write_role(TARGETS)
        self.release_documents()

    @property
    def first_root_digest(self) -> Digest:
        """Digest of 1.root.json, as a product file pins it."""
        return digest_bytes((self.directory / "metadata" / "1.root.json").read_bytes())

    # --- what a publisher does -------------------------------------------------------------------------------------

    def publish(
        self, level: int, manifest: bytes, patches: Sequence[tuple[str, bytes]] = (), *, permille: int = 1000
    ) -> IndexedLevel:
        """Release a level: its manifest, its patches (target path and bytes), its place in index and rollout."""
        self.add_target(manifest_path(self.product, self.baseline, level), manifest)
        for path, data in patches:
            self.add_target(path, data)
        entry = IndexedLevel(level, digest_bytes(manifest), len(manifest))
        others = tuple(one for one in self.index.levels if one.level != level)
        levels = tuple(sorted((*others, entry), key=lambda one: one.level))
        self.index = msgspec.structs.replace(self.index, levels=levels)
        self.set_share(level, permille, write=False)
        self.release_documents()
        return entry

    def recall(self, level: int, reason: str = "it breaks thumbnails") -> None:
        """Tell devices to leave a level."""
        digest = next(one.digest for one in self.index.levels if one.level == level)
        word = Recall(level, digest, format_time(self.now), reason)
        recalls = tuple(sorted((*self.index.recalls, word), key=lambda one: one.level))
        self.index = msgspec.structs.replace(self.index, recalls=recalls)
        self.release_documents()

    def set_share(self, level: int, permille: int, *, write: bool = True) -> None:
        """Let so many thousandths of the world install a level."""
        digest = next(one.digest for one in self.index.levels if one.level == level)
        rollout = self.rollout or Rollout("suture-rollout/1", self.product, self.baseline, format_time(self.now))
        others = tuple(one for one in rollout.shares if one.level != level)
        shares = tuple(sorted((*others, Share(level, digest, permille)), key=lambda one: one.level))
        self.rollout = msgspec.structs.replace(rollout, shares=shares, issued=format_time(self.now))
        if write:
            self.write_rollout()

    def pause(self, until: datetime | None, reason: str = "looking into crashes") -> None:
        """Stop new installs until a time, or with None let them go on."""
        assert self.rollout is not None  # noqa: S101  # a test's own mistake
        word = None if until is None else Pause(format_time(self.now), format_time(until), reason)
        self.rollout = msgspec.structs.replace(self.rollout, pause=word, issued=format_time(self.now))
        self.write_rollout()

    def refresh(self) -> None:
        """Sign snapshot and timestamp anew with nothing else changed."""
        self._write_online()

    def rotate_root(self, *roles: str) -> None:
        """A new root version; the named top-level roles get new keys."""
        previous = self.signers[ROOT]
        for role in roles:
            self.signers[role] = [CryptoSigner.generate_ed25519() for _ in self.signers[role]]
        self._delegate()
        self.documents[ROOT].version += 1
        self._write_role(ROOT, also=previous if ROOT in roles else ())
        if TARGETS in roles:
            self.documents[TARGETS].version += 1
            self._write_role(TARGETS)
        self._write_online()

    # --- what lies underneath, also for attacks -------------------------------------------------------------------

    def release_documents(self) -> None:
        """Write index and rollout document as they are and sign all of it, whatever they say."""
        self.index = msgspec.structs.replace(self.index, issued=format_time(self.now))
        self.add_target(index_path(self.product, self.baseline), msgspec.json.encode(self.index))
        self._bump(self.release)
        self._write_role(self.release)
        self.write_rollout()

    def write_rollout(self, data: bytes | None = None) -> None:
        """Write the rollout document (or other bytes in its place, or nothing where `rollout` is None) and sign."""
        targets = self._targets(self.rollout_name)
        path = rollout_path(self.product, self.baseline)
        targets.targets.pop(path, None)
        if data is not None or self.rollout is not None:
            self.add_target(path, data or msgspec.json.encode(self.rollout), role=self.rollout_name)
        self._bump(self.rollout_name)
        self._write_role(self.rollout_name)
        self._write_online()

    def add_target(self, path: str, data: bytes, *, role: str | None = None) -> Path:
        """Write a target file under its digest and list it in a role; signs nothing."""
        target = TargetFile.from_data(path, data, ["sha256"])
        self._targets(role or self.release).targets[path] = target
        file = self.directory / "targets" / target.get_prefixed_paths()[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def target_file(self, path: str, *, role: str | None = None) -> Path:
        """Where a target's bytes lie."""
        return self.directory / "targets" / self._targets(role or self.release).targets[path].get_prefixed_paths()[0]

    def sign_again(self, role: str) -> None:
        """A new version of a role, with its present lifetime, and online metadata that lists it."""
        self._bump(role)
        if role not in (SNAPSHOT, TIMESTAMP):
            self._write_role(role)
        self._write_online()

    def expire(self, role: str, ago: timedelta = timedelta(hours=1)) -> None:
        """Sign a role so that it has expired already."""
        self.lifetimes[role] = -ago
        self.sign_again(role)

    def metadata_file(self, role: str) -> Path:
        """The newest file of a role."""
        name = f"{role}.json" if role == TIMESTAMP else f"{self.documents[role].version}.{role}.json"
        return self.directory / "metadata" / name

    def prefix(self) -> str:
        """`trust.paths.release_prefix` of this repository."""
        return release_prefix(self.product, self.baseline)

    def _targets(self, role: str) -> Targets:
        document = self.documents[role]
        assert isinstance(document, Targets)  # noqa: S101
        return document

    def _delegate(self) -> None:
        root, targets = self.documents[ROOT], self._targets(TARGETS)
        assert isinstance(root, Root)  # noqa: S101
        for role in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS):
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
            for signer in self.signers[role]:
                root.add_key(signer.public_key, role)
            root.roles[role].threshold = len(self.signers[role])
        patterns = {
            self.release: [f"{release_prefix(self.product, self.baseline)}/*"],
            self.rollout_name: [rollout_path(self.product, self.baseline)],
        }
        keys: dict[str, Key] = {one.public_key.keyid: one.public_key for role in patterns for one in self.signers[role]}
        roles = {
            role: DelegatedRole(
                role, [one.public_key.keyid for one in self.signers[role]], len(self.signers[role]), True, paths=paths
            )
            for role, paths in patterns.items()
        }
        targets.delegations = Delegations(keys, roles)

    def _bump(self, role: str) -> None:
        if (self.directory / "metadata" / f"{self.documents[role].version}.{role}.json").exists():
            self.documents[role].version += 1

    def _write_online(self) -> None:
        snapshot, timestamp = self.documents[SNAPSHOT], self.documents[TIMESTAMP]
        assert isinstance(snapshot, Snapshot)  # noqa: S101
        assert isinstance(timestamp, Timestamp)  # noqa: S101
        self._bump(SNAPSHOT)
        for role in (TARGETS, self.release, self.rollout_name):
            file = self.metadata_file(role)
            if file.exists():
                snapshot.meta[f"{role}.json"] = _meta(self.documents[role].version, file)
        self._write_role(SNAPSHOT)
        if (self.directory / "metadata" / "timestamp.json").exists():
            timestamp.version += 1
        timestamp.snapshot_meta = _meta(snapshot.version, self.metadata_file(SNAPSHOT))
        self._write_role(TIMESTAMP)

    def _write_role(self, role: str, also: Sequence[CryptoSigner] = ()) -> None:
        document = self.documents[role]
        document.expires = self.now + self.lifetimes[role]
        metadata: Metadata[Any] = Metadata(document)
        for signer in (*self.signers[role], *also):
            metadata.sign(signer, append=True)
        data = metadata.to_bytes()
        self.metadata_file(role).write_bytes(data)


def _meta(version: int, file: Path) -> MetaFile:
    data = file.read_bytes()
    return MetaFile.from_data(version, data, ["sha256"])


def _lifetimes(release: str, rollout: str) -> dict[str, timedelta]:
    """As in spec/repository.md §3, but the snapshot outlives the timestamp, so that tests can tell them apart."""
    return {
        ROOT: timedelta(days=365),
        TARGETS: timedelta(days=365),
        release: timedelta(days=365),
        TIMESTAMP: timedelta(days=7),
        SNAPSHOT: timedelta(days=14),
        rollout: timedelta(days=7),
    }
