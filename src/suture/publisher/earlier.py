"""Earlier levels of a baseline: which there are, and their files again, from the signed patches and the baseline.

Nothing is kept for this beside what the repository holds anyway: an earlier level's files are its patch from the bare
baseline, applied again and checked again.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from suture.adapters.files import host_errors
from suture.adapters.trees import read_member
from suture.core.digests import Digest, hex_of
from suture.core.errors import NotKnownError, RepositoryError
from suture.core.limits import MAXIMUM_INDEX_BYTES, MAXIMUM_MANIFEST_BYTES, MAXIMUM_PATCH_BYTES
from suture.core.version import VERSION
from suture.delta import Buffer
from suture.improvement.apply import apply_patch
from suture.improvement.manifest import ComponentChange, Manifest
from suture.improvement.manifest_rules import parse_manifest
from suture.improvement.tree import FileEntry
from suture.publisher.published import Published
from suture.publisher.staged import staged_levels
from suture.publisher.workshop import Workshop
from suture.trust.documents import Index
from suture.trust.paths import index_path, manifest_path, release_role
from suture.trust.verdicts import empty_index, parse_index


@dataclass(frozen=True, slots=True)
class History:
    """One baseline's levels. `released` digests by level; `last_issued` of the highest released level's manifest."""

    product: str
    identity: str
    published: Published
    released: dict[int, str]
    recalled: frozenset[int]
    staged: tuple[int, ...]
    last_issued: str | None = None

    def last_good(self) -> int:
        """The highest released level that is not recalled, 0 where there is none."""
        return max((level for level in self.released if level not in self.recalled), default=0)


@dataclass(frozen=True, slots=True)
class EarlierLevel:
    """A level that was released before, the repository that holds it, and where temporary files may lie."""

    number: int
    manifest: Manifest
    published: Published
    scratch: Path

    def components(self) -> tuple[str, ...]:
        """The components that it changes."""
        return tuple(change.name for change in self.manifest.components)

    def change(self, component: str) -> ComponentChange | None:
        """What it does to a component."""
        return next((change for change in self.manifest.components if change.name == component), None)

    @contextlib.contextmanager
    def files(
        self, change: ComponentChange, read_baseline: Callable[[str], Buffer]
    ) -> Iterator[Callable[[str], Buffer]]:
        """A reader of the component's files as this level has them.

        Raises:
            PatchError, DigestMismatchError: the baseline given is not the one that this level was made for.
        """
        patch = next(patch for patch in change.patches if patch.from_level == 0)
        role = release_role(self.manifest.baseline.identity)
        data = self.published.read_target(role, patch.target, maximum_bytes=MAXIMUM_PATCH_BYTES)
        if data is None:
            raise RepositoryError(f"cannot find the released {patch.target} in the repository")
        changed = {entry.path: hex_of_entry(entry) for entry in change.layer.files()}
        with tempfile.TemporaryDirectory(prefix=".files-", dir=self.scratch) as name, _closing() as sinks:
            directory = Path(name)

            def open_sink(entry: FileEntry) -> BinaryIO:
                sinks.append((directory / hex_of_entry(entry)).open("wb"))
                return sinks[-1]

            with host_errors(f"write level {self.number}'s files again"):
                apply_patch(change.layer, data, read_old=read_baseline, open_sink=open_sink)

            def read(path: str) -> Buffer:
                return read_member(directory, changed[path]) if path in changed else read_baseline(path)

            yield read


def hex_of_entry(entry: FileEntry) -> str:
    """The name of a file's bytes: its digest's hex digits."""
    return hex_of(Digest(entry.digest))


@contextlib.contextmanager
def _closing() -> Iterator[list[BinaryIO]]:
    files: list[BinaryIO] = []
    try:
        yield files
    finally:
        for file in files:
            file.close()


def read_index(published: Published, product: str, identity: str) -> Index:
    """The published index of a baseline; an empty one where nothing was released.

    Raises:
        RepositoryError: it is not what the release role signed.
    """
    path = index_path(product, identity)
    data = published.read_target(release_role(identity), path, maximum_bytes=MAXIMUM_INDEX_BYTES)
    return parse_index(data, product, identity) if data is not None else empty_index(product, identity)


def read_history(workshop: Workshop, published: Published, product: str, identity: str) -> History:
    """What was released, recalled and staged for a baseline."""
    index = read_index(published, product, identity)
    released = {entry.level: entry.digest for entry in index.levels}
    recalled = frozenset(recall.level for recall in index.recalls)
    last_issued = read_manifest(published, product, identity, max(released)).issued if released else None
    return History(product, identity, published, released, recalled, staged_levels(workshop, identity), last_issued)


def read_earlier(workshop: Workshop, history: History, level: int) -> EarlierLevel:
    """An earlier, released level.

    Raises:
        NotKnownError: it was never released. RepositoryError: what is published is not what was released.
    """
    if level not in history.released:
        known = ", ".join(map(str, sorted(history.released))) or "none"
        raise NotKnownError(f"cannot patch from level {level}: it was never released (released: {known})")
    manifest = read_manifest(history.published, history.product, history.identity, level)
    return EarlierLevel(level, manifest, history.published, workshop.staging)


def read_manifest(published: Published, product: str, identity: str, level: int) -> Manifest:
    """A released level's manifest.

    Raises:
        RepositoryError: it is not what the release role signed.
    """
    path = manifest_path(product, identity, level)
    data = published.read_target(release_role(identity), path, maximum_bytes=MAXIMUM_MANIFEST_BYTES)
    if data is None:
        raise RepositoryError(f"cannot find the released {path} in the repository", advice="restore its backup")
    return parse_manifest(data, agent_version=VERSION, product=product, baseline_identity=identity, level=level)
