"""The store of images: one directory a level, which appears whole by one rename and leaves by one.

``STORE/PRODUCT/BASELINE/LEVEL/COMPONENT.erofs`` and ``sealed.json`` beside them, with each image's digest. The digests
are this device's own and never leave it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from suture.adapters.files import PUBLIC_DIRECTORY, host_errors, make_directory, read_file, write_file
from suture.adapters.reflink import sync_filesystem
from suture.agent.grafts.beneath import directory_beneath, open_directory, open_file, remove_tree
from suture.agent.grafts.sweeping import sweep_store
from suture.core.canonical import canonical_json
from suture.core.digests import digest_chunks
from suture.core.errors import DigestMismatchError, StorageError
from suture.core.identifiers import check_architecture, check_name, check_version
from suture.core.level import check_level
from suture.improvement.tree import DigestText

_SEALED = "sealed.json"
_FORMAT = "suture-sealed/1"
_MAXIMUM_SEALED_BYTES = 1 << 16
_LEVEL_NAME = re.compile(r"[1-9]\d{0,5}")


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a level's directory holds: the digest of each component's image, as it was when it had been verified."""

    format: str
    images: dict[str, DigestText]
    files: dict[str, tuple[str, ...]]
    """For components that are single files: which of them the level changes."""


class ImageStore:
    """Args:
    store: ``<state>/store``, on a file system with room for the layers.
    """

    def __init__(self, store: Path) -> None:
        self.root = store

    def release(self, product: str, baseline_identity: str) -> Path:
        """Where the levels of one release lie."""
        version, _, architecture = baseline_identity.rpartition("-")
        check_version(version)
        check_architecture(architecture)
        return self.root / check_name(product, "a product") / baseline_identity

    def levels(self, product: str, baseline_identity: str) -> tuple[int, ...]:
        """The staged levels, ascending."""
        try:
            names = os.listdir(self.release(product, baseline_identity))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StorageError(f"cannot list the store: {error.strerror}") from error
        return tuple(sorted(int(name) for name in names if _LEVEL_NAME.fullmatch(name)))

    def directory(self, product: str, baseline_identity: str, level: int) -> Path:
        """Where one level's images lie."""
        return self.release(product, baseline_identity) / str(check_level(level))

    def sealed(self, product: str, baseline_identity: str, level: int) -> Sealed:
        """What was sealed.

        Raises:
            StorageError: the level is not staged. DigestMismatchError: the record was tampered with.
        """
        path = self.directory(product, baseline_identity, level)
        if not path.is_dir():
            raise StorageError(f"cannot use level {level} of {product}: {path} is no directory")
        try:
            data = read_file(path / _SEALED, maximum_bytes=_MAXIMUM_SEALED_BYTES)
            found = msgspec.json.decode(data, type=Sealed)
        except (StorageError, msgspec.DecodeError) as error:
            raise DigestMismatchError(f"cannot use the staged level {level} of {product}: {error}") from error
        for name in found.images:
            check_name(name, "a component")
        return found

    def verified_images(self, product: str, baseline_identity: str, level: int) -> dict[str, Path]:
        """The images of a level, each with the digest that it was sealed with.

        Raises:
            StorageError: not staged. DigestMismatchError: an image is missing or has other bytes.
        """
        sealed, images = self.sealed(product, baseline_identity, level), {}
        for component, digest in sealed.images.items():
            path = image_in(self.directory(product, baseline_identity, level), component)
            if _digest_of(path) != digest:
                raise DigestMismatchError(f"cannot use the staged {path.name} of level {level}: it was changed")
            images[component] = path
        return images

    def add(
        self,
        product: str,
        baseline_identity: str,
        level: int,
        make: Callable[[Path], Mapping[str, tuple[str, ...]]],
    ) -> None:
        """Add a level: `make` fills a directory with images and says which components (and files) they change.

        Raises:
            SutureError: of `make`, or of the host; nothing is left then.
        """
        temporary = f".{level}.{secrets.token_hex(6)}.new"
        with self._opened_release(product, baseline_identity) as release, host_errors(f"stage level {level}"):
            try:
                os.mkdir(temporary, 0o700, dir_fd=release)
                directory = self.release(product, baseline_identity) / temporary
                changed = make(directory)
                images = {name: _digest_of(image_in(directory, name)) for name in changed}
                record = Sealed(_FORMAT, images, dict(changed))
                write_file(directory / _SEALED, canonical_json(msgspec.to_builtins(record)), mode=0o600)
                sync_filesystem(release)
                os.rename(temporary, str(level), src_dir_fd=release, dst_dir_fd=release)
                os.fsync(release)
            except BaseException:
                with contextlib.suppress(OSError):
                    remove_tree(temporary, beneath=release)
                raise

    def remove(self, product: str, baseline_identity: str, level: int) -> None:
        """Remove a level, never half: it is renamed away first. Idempotent."""
        if not os.path.lexists(self.directory(product, baseline_identity, level)):
            return
        with self._opened_release(product, baseline_identity) as release, host_errors(f"discard level {level}"):
            leaving = f".{level}.{secrets.token_hex(6)}.old"
            os.rename(str(level), leaving, src_dir_fd=release, dst_dir_fd=release)
            os.fsync(release)
            remove_tree(leaving, beneath=release)

    def sweep(self) -> None:
        """Remove what a crash left half-made."""
        if os.path.lexists(self.root):
            with host_errors("sweep the store"):
                sweep_store(self.root)

    @contextlib.contextmanager
    def _opened_release(self, product: str, baseline_identity: str) -> Iterator[int]:
        path = self.release(product, baseline_identity)
        make_directory(self.root, mode=PUBLIC_DIRECTORY)
        with host_errors(f"open the store {self.root}"):
            store = open_directory(str(self.root))
            try:
                with directory_beneath(store, list(path.relative_to(self.root).parts), make=True) as release:
                    os.fsync(store)
                    yield release
            finally:
                os.close(store)


def image_in(directory: Path, component: str) -> Path:
    """The image of one component."""
    return directory / f"{component}.erofs"


def _digest_of(image: Path) -> str:
    try:
        with directory_beneath_path(image.parent) as parent:
            descriptor = open_file(image.name, beneath=parent)
    except OSError as error:
        raise DigestMismatchError(f"cannot use the staged {image.name}: {error.strerror}") from error
    try:
        return digest_chunks(iter(lambda: os.read(descriptor, 1 << 20), b""))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def directory_beneath_path(path: Path) -> Iterator[int]:
    """A directory's descriptor by its path, whose last component is no link."""
    descriptor = open_directory(str(path))
    try:
        yield descriptor
    finally:
        os.close(descriptor)
