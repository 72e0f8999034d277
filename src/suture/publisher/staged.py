"""Staging: built improvements that nobody has signed yet, a directory a level, in place whole or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from suture.adapters.files import host_errors, read_file, sync_directory, write_file
from suture.core.digests import Digest, digest_bytes
from suture.core.errors import DigestMismatchError, InputError, NotKnownError
from suture.core.identifiers import check_architecture, check_version
from suture.core.limits import MAXIMUM_ADVISORY_BYTES, MAXIMUM_MANIFEST_BYTES, MIB
from suture.core.version import VERSION
from suture.improvement.manifest import Baseline, Manifest
from suture.improvement.manifest_rules import parse_manifest
from suture.publisher.workshop import Workshop

MANIFEST_NAME = "manifest.json"
ADVISORY_NAME = "advisory.csaf.json"
SIZES_NAME = "sizes.json"
_LEVEL_NAME = re.compile(r"[1-9][0-9]{0,5}\Z")
_ARCHITECTURES = frozenset(
    {"any", "x86_64", "i386", "i686", "aarch64", "armv6l", "armv7l", "armv8l"}
    | {"riscv64", "ppc64le", "ppc64", "s390x", "loongarch64", "mips64"}
)
"""``uname -m``'s words that we tell apart from the last part of a version (``1.0-2``)."""


class FileSizes(msgspec.Struct, frozen=True):
    """How one file goes over the wire. Sizes in bytes."""

    path: str
    engine: str
    reads: str | None
    new_bytes: int
    patch_bytes: int


class PatchSizes(msgspec.Struct, frozen=True):
    """One patch of one component."""

    component: str
    from_level: int
    patch_bytes: int
    files: tuple[FileSizes, ...]


class Sizes(msgspec.Struct, frozen=True):
    """What a level costs to download. `full_bytes`: all files of the new trees, zstd -19; None where not measured."""

    new_bytes: int
    full_bytes: int | None
    patches: tuple[PatchSizes, ...]

    def patch_bytes(self, from_level: int = 0) -> int:
        """All components' patches from one level."""
        return sum(patch.patch_bytes for patch in self.patches if patch.from_level == from_level)


@dataclass(frozen=True, slots=True)
class Staged:
    """A staged level, its manifest read and checked."""

    directory: Path
    manifest: Manifest
    manifest_bytes: bytes
    sizes: Sizes

    @property
    def digest(self) -> Digest:
        """The level's digest."""
        return digest_bytes(self.manifest_bytes)

    def files(self) -> dict[str, Path]:
        """Target paths of the advisory and the patches, and where their bytes lie."""
        advisory = self.manifest.advisory
        files = {advisory.target: self.directory / ADVISORY_NAME} if advisory else {}
        for change in self.manifest.components:
            for patch in change.patches:
                files[patch.target] = self.directory / patch.target.rpartition("/")[2]
        return files


def parse_baseline(text: str, default_architecture: str) -> Baseline:
    """``VERSION`` or ``VERSION-ARCHITECTURE``; a version may hold dashes, so only known architectures are split off.

    Raises:
        InputError: no such version or architecture.
    """
    version, _, architecture = text.rpartition("-")
    if not version or architecture not in _ARCHITECTURES:
        version, architecture = text, default_architecture
    return Baseline(check_version(version), check_architecture(architecture))


def staged_baselines(workshop: Workshop) -> tuple[str, ...]:
    """Identities of the baselines with something staged, sorted."""
    if not workshop.staging.is_dir():
        return ()
    return tuple(sorted(path.name for path in workshop.staging.iterdir() if path.is_dir() and path.name[0] != "."))


def sweep_staging(workshop: Workshop) -> None:
    """Remove what a killed build left half-made; nothing that is in place has a name that begins with a dot."""
    with host_errors(f"sweep {workshop.staging}"):
        for left in (*workshop.staging.glob(".*"), *workshop.staging.glob("*/.*")):
            shutil.rmtree(left)


def staged_levels(workshop: Workshop, identity: str) -> tuple[int, ...]:
    """The levels in staging for one baseline, ascending; released ones stay there."""
    directory = workshop.staging / identity
    if not directory.is_dir():
        return ()
    return tuple(sorted(int(path.name) for path in directory.iterdir() if _LEVEL_NAME.match(path.name)))


def read_staged(workshop: Workshop, product: str, identity: str, level: int) -> Staged:
    """A staged level.

    Raises:
        NotKnownError: nothing of that level is staged.
        ManifestError, InputError: what is there is malformed.
    """
    directory = workshop.staging / identity / str(level)
    if not directory.is_dir():
        known = ", ".join(map(str, staged_levels(workshop, identity))) or "none"
        raise NotKnownError(
            f"cannot find level {level} of {product} {identity} in staging (there: {known})",
            advice="build it with `suture publisher build`",
        )
    data = read_file(directory / MANIFEST_NAME, maximum_bytes=MAXIMUM_MANIFEST_BYTES)
    manifest = parse_manifest(data, agent_version=VERSION, product=product, baseline_identity=identity, level=level)
    try:
        sizes = msgspec.json.decode(read_file(directory / SIZES_NAME, maximum_bytes=64 * MIB), type=Sizes)
    except msgspec.DecodeError as error:
        raise InputError(f"cannot read {directory / SIZES_NAME}: {error}") from error
    return Staged(directory, manifest, data, sizes)


def stage(workshop: Workshop, identity: str, level: int, files: Mapping[str, bytes], *, replace: bool) -> bool:
    """Put a built level into staging.

    Args:
        workshop: locked by the caller.
        identity: the baseline's.
        level: its number.
        files: contents by file name, the manifest among them.
        replace: an unreleased level of that number may be replaced.

    Returns:
        False where exactly these bytes were staged already.

    Raises:
        DigestMismatchError: the level is staged with other bytes and `replace` is False.
        StorageError: (or a kind of it) nothing changed.
    """
    base = workshop.staging / identity
    final, draft = base / str(level), base / f".{level}.new"
    if final.is_dir():
        if _holds(final, files):
            return False
        if not replace:
            raise DigestMismatchError(
                f"cannot stage level {level}: it is staged already with other bytes",
                advice="build the next level, or add --replace to throw the unreleased one away",
            )
    with host_errors(f"stage level {level}"):
        try:
            _write_level(draft, files)
            if final.is_dir():
                shutil.rmtree(final)
            draft.rename(final)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            if not any(base.iterdir()):
                base.rmdir()
            raise
    sync_directory(base)
    return True


def _write_level(draft: Path, files: Mapping[str, bytes]) -> None:
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    for name, data in files.items():
        write_file(draft / name, data)


def _holds(directory: Path, files: Mapping[str, bytes]) -> bool:
    if {path.name for path in directory.iterdir()} != set(files):
        return False
    return all(
        read_file(directory / name, maximum_bytes=len(data) + MAXIMUM_ADVISORY_BYTES) == data
        for name, data in files.items()
    )
