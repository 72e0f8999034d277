"""A verified copy of what a site's devices need, by product and release: for a LAN's web server or a stick.

    DIRECTORY/PRODUCT/metadata/   as the vendor's, versioned, of these releases only
    DIRECTORY/PRODUCT/targets/
    DIRECTORY/.verified/PRODUCT/  what the mirror itself has verified, so that it never goes back

A device trusts this copy no more than the vendor's host, so nothing here is signed or vouched for. It is updated while
clients poll: targets first, then metadata, ``timestamp.json`` last, each file whole; what the copy before named stays
for a day (spec/repository.md §1). Never installs, and needs no device.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from suture.adapters.fetch import Deadline, Fetcher
from suture.adapters.files import PUBLIC_DIRECTORY, exclusive_lock, host_errors, make_directory, write_file
from suture.adapters.tuf_addresses import first_good
from suture.adapters.tuf_first_root import fetch_first_root
from suture.adapters.tuf_metadata import HISTORY, MetadataDirectory, files_of, role_file
from suture.adapters.tuf_reading import SignedTarget
from suture.adapters.tuf_refresh import Refresh, Source, read_from
from suture.adapters.tuf_targets import download_target, has_target
from suture.adapters.tuf_workflow import run_workflow
from suture.core.clock import Clock
from suture.core.digests import Digest
from suture.core.errors import InputError, NotKnownError, RepositoryError, TrustError
from suture.core.limits import DOWNLOAD_DEADLINE_SECONDS, METADATA_DEADLINE_SECONDS
from suture.trust.freshness import SNAPSHOT, TARGETS, TIMESTAMP
from suture.trust.paths import (
    check_target_path,
    index_path,
    release_prefix,
    release_role,
    rollout_path,
    rollout_role,
)
from suture.wire.product import Product

KEPT_SECONDS = 86_400
"""How long files of the copy before stay: clients that began with it may still ask for them."""
_ROLE = re.compile(r"release-([0-9A-Za-z][0-9A-Za-z.+_~-]{0,180})")


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What one run did. `downloaded_bytes` are those of targets; `removed` counts files that no copy needs."""

    product: str
    releases: tuple[str, ...]
    base_url: str
    targets: int
    downloaded: int
    downloaded_bytes: int
    removed: int
    directory: Path


@dataclass(frozen=True, slots=True)
class _Copy:
    """What a run found: file names and bytes of metadata, and targets, all verified."""

    releases: tuple[str, ...]
    metadata: dict[str, bytes | None]
    targets: tuple[SignedTarget, ...]


def mirror_product(
    directory: Path, product: Product, releases: Sequence[str], fetcher: Fetcher, clock: Clock
) -> Mirrored:
    """Bring one product's copy up to date.

    Args:
        directory: of the mirror; made where missing.
        product: from its product file; its repositories are asked, its first root is pinned.
        releases: baseline identities; none: all that the publisher knows.
        fetcher: the door to the web.
        clock: bounds transfers.

    Raises:
        NetworkError, TrustError, RepositoryError, DigestMismatchError: the copy is as it was.
        NotKnownError: the publisher knows no such release.
        StorageError: (or a kind of it) the disk said no.
        BusyError: another process updates the same copy.
    """
    return _Mirror(directory, product, releases, fetcher, clock).run()


class _Mirror:
    def __init__(
        self, directory: Path, product: Product, releases: Sequence[str], fetcher: Fetcher, clock: Clock
    ) -> None:
        self._home = directory / ".verified" / product.product
        self._verified = MetadataDirectory(self._home, self._home / "metadata")
        self._place = directory / product.product
        self._product = product
        self._releases = tuple(releases)
        self._fetcher = fetcher
        self._clock = clock
        self._downloaded: list[SignedTarget] = []

    def run(self) -> Mirrored:
        make_directory(self._verified.metadata / HISTORY)
        for part in ("metadata", "targets"):
            make_directory(self._place / part, mode=PUBLIC_DIRECTORY)
        bases = [address.rstrip("/") for address in self._product.repositories]
        deadline = Deadline(self._clock, METADATA_DEADLINE_SECONDS)
        with exclusive_lock(self._home / "lock", doing=f"mirror {self._product.product}"):
            self._verified.clear_refreshes()
            return first_good(bases, deadline, self._from_one)

    def _from_one(self, base: str, deadline: Deadline) -> Mirrored:
        def judge(refresh: Refresh) -> _Copy:
            found = self._find(refresh)
            for target in found.targets:
                self._fetch(target, base)
            return found

        first_root = fetch_first_root(self._fetcher, base, Digest(self._product.first_root), deadline)
        _, found = run_workflow(
            self._verified,
            first_root,
            Source(f"{base}/metadata/", read_from(self._fetcher, deadline)),
            judge=judge,
            keep=lambda _, working, __: self._verified.adopt_files(working, files_of(working)),
            keep_progress=lambda *_: None,
            max_delegations=2 + 2 * max(1, len(self._releases)),
        )
        self._publish(found)
        removed = self._sweep(found)
        return Mirrored(
            self._product.product,
            found.releases,
            base,
            len(found.targets),
            len(self._downloaded),
            sum(target.length for target in self._downloaded),
            removed,
            self._place,
        )

    # --- what the vendor has ---------------------------------------------------------------------------------------

    def _find(self, refresh: Refresh) -> _Copy:
        product = self._product.product
        known = [match.group(1) for name in refresh.delegated() if (match := _ROLE.fullmatch(name))]
        releases = self._releases or tuple(known)
        metadata: dict[str, bytes | None] = {}
        targets: list[SignedTarget] = []
        for release in releases:
            if release not in known:
                raise NotKnownError(f"cannot mirror {product} {release}: the publisher knows no such release")
            refresh.find(index_path(product, release))
            targets += self._targets(refresh, release_role(release), f"{release_prefix(product, release)}/")
            try:
                refresh.find(rollout_path(product, release))
                targets += self._targets(refresh, rollout_role(release), rollout_path(product, release))
            except (TrustError, RepositoryError):
                pass  # devices take a rollout role that is expired or unusable for what it is; its bytes go along
            for role in (release_role(release), rollout_role(release)):
                metadata[refresh.versioned(role)] = refresh.held_bytes(role)
        for source in files_of(refresh.root.parent):
            metadata[source.name] = source.read_bytes()
        for role in (TARGETS, SNAPSHOT):
            metadata[refresh.versioned(role)] = refresh.held_bytes(role)
        metadata[role_file(TIMESTAMP)] = refresh.held_bytes(TIMESTAMP)
        return _Copy(releases, metadata, tuple(targets))

    def _targets(self, refresh: Refresh, role: str, prefix: str) -> list[SignedTarget]:
        found = []
        for target in refresh.listed(role):
            try:
                check_target_path(target.path)
            except InputError:
                continue  # no device asks for such a path, and it must not become a file's name
            if target.path.startswith(prefix):
                found.append(target)
        return found

    # --- the copy --------------------------------------------------------------------------------------------------

    def _file(self, target: SignedTarget) -> Path:
        directory, _, name = target.path.rpartition("/")
        return self._place / "targets" / directory / f"{target.digest.partition(':')[2]}.{name}"

    def _fetch(self, target: SignedTarget, base: str) -> None:
        file = self._file(target)
        if has_target(file, target.digest, target.length):
            return
        make_directory(file.parent, mode=PUBLIC_DIRECTORY)
        download_target(
            self._fetcher,
            [f"{base}/targets/{target.url_path}"],
            digest=target.digest,
            size=target.length,
            destination=file,
            deadline=Deadline(self._clock, DOWNLOAD_DEADLINE_SECONDS),
        )
        with host_errors(f"make {file} readable"):
            file.chmod(0o644)
        self._downloaded.append(target)

    def _publish(self, found: _Copy) -> None:
        place = self._place / "metadata"
        for name, data in found.metadata.items():  # timestamp.json is the last
            file = place / name
            if data is not None and not (file.is_file() and file.read_bytes() == data):
                write_file(file, data, mode=0o644)

    def _sweep(self, found: _Copy) -> int:
        """Remove files that neither this copy nor one of the last day named."""
        kept = {self._place / "metadata" / name for name in found.metadata} | {self._file(one) for one in found.targets}
        oldest, removed = time.time() - KEPT_SECONDS, 0
        with host_errors(f"clear {self._place}"):
            for part in ("metadata", "targets"):
                for file in sorted((self._place / part).rglob("*")):
                    if not file.is_file() or file in kept:
                        continue
                    if file.stat().st_mtime < oldest:
                        file.unlink()
                        removed += 1
            for file in kept:  # what this copy needs counts as young until a later one does not
                if file.is_file():
                    file.touch()
        return removed
