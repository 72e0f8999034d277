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

from suture.adapters.files import host_errors, read_file
from suture.adapters.trees import read_member
from suture.core.digests import Digest, digest_bytes, hex_of
from suture.core.errors import DigestMismatchError, NotKnownError, RepositoryError
from suture.core.limits import MAXIMUM_INDEX_BYTES, MAXIMUM_PATCH_BYTES
from suture.delta import Buffer
from suture.improvement.apply import apply_patch
from suture.improvement.manifest import ComponentChange, Manifest
from suture.improvement.tree import FileEntry
from suture.publisher.published import Published
from suture.publisher.staged import read_staged, staged_levels
from suture.publisher.workshop import Workshop
from suture.trust.documents import Index
from suture.trust.paths import index_path, release_role
from suture.trust.verdicts import empty_index, parse_index


@dataclass(frozen=True, slots=True)
class History:
    """One baseline's levels. `released` digests by level; `last_issued` of the highest released level's manifest."""

    identity: str
    released: dict[int, str]
    recalled: frozenset[int]
    staged: tuple[int, ...]
    last_issued: str | None = None

    def last_good(self) -> int:
        """The highest released level that is not recalled, 0 where there is none."""
        return max((level for level in self.released if level not in self.recalled), default=0)


@dataclass(frozen=True, slots=True)
class EarlierLevel:
    """A level that was built before, its manifest, and where its patches lie."""

    number: int
    manifest: Manifest
    directory: Path

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
        data = read_file(self.directory / patch.target.rpartition("/")[2], maximum_bytes=MAXIMUM_PATCH_BYTES)
        if digest_bytes(data) != patch.digest:
            raise DigestMismatchError(f"cannot use the staged patch of level {self.number}: its bytes changed")
        changed = {entry.path: hex_of_entry(entry) for entry in change.layer.files()}
        with tempfile.TemporaryDirectory(prefix=".files-", dir=self.directory.parent) as name, _closing() as sinks:
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
    last_issued = None
    if released:
        last = read_earlier_manifest(workshop, product, identity, max(released), released[max(released)])
        last_issued = last.manifest.issued
    recalled = frozenset(recall.level for recall in index.recalls)
    return History(identity, released, recalled, staged_levels(workshop, identity), last_issued)


def read_earlier(workshop: Workshop, product: str, history: History, level: int) -> EarlierLevel:
    """An earlier, released level.

    Raises:
        NotKnownError: it was never released. RepositoryError: what is kept of it is not what was released.
    """
    if level not in history.released:
        known = ", ".join(map(str, sorted(history.released))) or "none"
        raise NotKnownError(f"cannot patch from level {level}: it was never released (released: {known})")
    return read_earlier_manifest(workshop, product, history.identity, level, history.released[level])


def read_earlier_manifest(workshop: Workshop, product: str, identity: str, level: int, digest: str) -> EarlierLevel:
    """A released level as staging keeps it, compared with the digest that the index has."""
    staged = read_staged(workshop, product, identity, level)
    if staged.digest != digest:
        raise RepositoryError(
            f"cannot use level {level} in staging: it is not what was released",
            advice="restore staging/ from its backup",
        )
    return EarlierLevel(level, staged.manifest, staged.directory)
