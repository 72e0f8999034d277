"""The `switch` graft: versioned trees beside the baseline, and one symbolic link a product that chooses among them.

POSIX and no privileges: rename(2) replaces the pointer in one step, so at every moment it names a whole tree (1,000
swaps under a loop of opens: no failed open, bench/swap_under_opens.py). The baseline is never written. A tree is made
under a temporary name and appears, complete and on disk, by one rename; what a crash leaves is swept.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from suture.adapters.files import PUBLIC_DIRECTORY, host_errors, make_directory
from suture.adapters.reflink import sync_filesystem
from suture.agent.grafts.beneath import directory_beneath, names_of, open_directory, remove_tree
from suture.agent.grafts.carry import Carrier
from suture.agent.grafts.digesting import open_tree, verify_component, verify_pins
from suture.agent.grafts.sweeping import sweep_store
from suture.core.errors import DigestMismatchError, InputError, RefusedError, StorageError
from suture.core.identifiers import check_architecture, check_name, check_version
from suture.core.level import BASELINE_LEVEL, check_level
from suture.improvement.layer import Layer
from suture.improvement.manifest import Pin
from suture.improvement.tree import FileEntry
from suture.wire.product import Product

_TREE = "tree"
_LEVEL_NAME = re.compile(r"[1-9]\d{0,5}")
_POINTER_ADVICE = "move the product's files to its root and let the pointer be a symbolic link to it"


class SwitchGraft:
    """Behind `suture.agent.doors.Graft`. Its caller holds the state directory's lock.

    Args:
        store: ``<state>/store``, on a file system with room for the products' components.
    """

    atomic = True

    def __init__(self, store: Path) -> None:
        self._store = store

    def tree(self, product: Product, baseline_identity: str, level: int) -> Path:
        """Where `level` lies: the product's root for 0."""
        if check_level(level) == BASELINE_LEVEL:
            return Path(product.root)
        return self._release(product, baseline_identity) / str(level) / _TREE

    def trees(self, product: Product, baseline_identity: str) -> tuple[tuple[int, Path], ...]:
        """Every tree that processes may have files of: the baseline's and the staged levels'."""
        return tuple(
            (one, self.tree(product, baseline_identity, one)) for one in (0, *self.levels(product, baseline_identity))
        )

    def _release(self, product: Product, baseline_identity: str) -> Path:
        version, _, architecture = baseline_identity.rpartition("-")
        check_version(version)
        check_architecture(architecture)
        return self._store / check_name(product.product, "a product") / baseline_identity

    def levels(self, product: Product, baseline_identity: str) -> tuple[int, ...]:
        """The levels staged in the store, ascending, without 0."""
        try:
            names = os.listdir(self._release(product, baseline_identity))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StorageError(f"cannot list the store: {error.strerror}") from error
        return tuple(sorted(int(name) for name in names if _LEVEL_NAME.fullmatch(name)))

    def current(self, product: Product, baseline_identity: str) -> int:
        """The level that programs see now.

        Raises:
            StorageError: the pointer is missing, no link, or names something that Suture did not make.
        """
        target = self._pointed(product)
        if target is None:
            raise StorageError(f"cannot find the pointer {product.pointer}", advice="run `suture product add` again")
        if os.path.realpath(target) == os.path.realpath(product.root):
            return BASELINE_LEVEL
        release = os.path.realpath(self._release(product, baseline_identity))
        level, _, rest = os.path.relpath(os.path.normpath(target), release).partition("/")
        if rest != _TREE:  # the store itself may have been reached by another name
            level, _, rest = os.path.relpath(os.path.realpath(target), release).partition("/")
        if rest == _TREE and _LEVEL_NAME.fullmatch(level):
            return check_level(int(level))
        raise StorageError(
            f"cannot tell the level of {product.product}: its pointer {product.pointer} names {target}",
            advice=f"somebody else changed the pointer: make it a symbolic link to {product.root}, then check again",
        )

    def _pointed(self, product: Product) -> str | None:
        pointer = _pointer_of(product)
        try:
            return os.path.join(pointer.parent, os.readlink(pointer))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(
                f"cannot read the pointer {pointer}: it is no symbolic link", advice=_POINTER_ADVICE
            ) from error

    # --- making a level -------------------------------------------------------------------------------------------

    def verify_pins(self, product: Product, pins: Mapping[str, Sequence[Pin]]) -> None:
        """Every pinned baseline file has its digest, by component name. Raises BaselineMismatchError."""
        paths = _component_paths(product)
        for component, its_pins in pins.items():
            verify_pins(Path(product.root), _path_of(paths, component), its_pins)

    def stage(
        self,
        product: Product,
        baseline_identity: str,
        level: int,
        layers: Mapping[str, Layer],
        new_file: Callable[[str, FileEntry], Path],
        issued: datetime,
    ) -> Path:
        """Make `level` ready beside the baseline. Idempotent; a staged level that does not verify is made again.

        Args:
            layers: by component; a component without one is carried over as it is.
            new_file: the path of a layer file's verified bytes, by component and entry.
            issued: the manifest's time, which replaced files get.

        Returns:
            The tree: on disk, digested again, seen by nobody yet.

        Raises:
            MetadataError, TreeError: the baseline holds what a copy cannot. DiskFullError, StorageError: the host.
            DigestMismatchError: what came out is not what was signed, or what runs was tampered with.
        """
        if check_level(level) == BASELINE_LEVEL:
            raise InputError("cannot stage the baseline: it is there")
        tree, paths = self.tree(product, baseline_identity, level), _component_paths(product)
        for component in layers:
            _path_of(paths, component)
        if os.path.lexists(tree.parent):
            try:
                self.verify(product, baseline_identity, level, layers)
                return tree
            except DigestMismatchError:
                if self._pointed(product) == str(tree):
                    raise
                self.discard(product, baseline_identity, level)
        with self._opened_release(product, baseline_identity) as release:
            self._make(product, level, layers, new_file, int(issued.timestamp()), release)
        return tree

    def _make(
        self,
        product: Product,
        level: int,
        layers: Mapping[str, Layer],
        new_file: Callable[[str, FileEntry], Path],
        issued: int,
        release: int,
    ) -> None:
        """Under a temporary name, then by one rename; whatever goes wrong leaves nothing."""
        temporary = f".{level}.{secrets.token_hex(6)}.new"
        with host_errors(f"stage level {level} of {product.product}"):
            try:
                self._fill(product, layers, new_file, issued, release, temporary)
                os.rename(temporary, str(level), src_dir_fd=release, dst_dir_fd=release)
                os.fsync(release)
            except BaseException:
                with contextlib.suppress(OSError):
                    remove_tree(temporary, beneath=release)
                raise

    def _fill(
        self,
        product: Product,
        layers: Mapping[str, Layer],
        new_file: Callable[[str, FileEntry], Path],
        issued: int,
        release: int,
        temporary: str,
    ) -> None:
        with directory_beneath(release, [temporary, _TREE], make=True) as tree:
            for component, path in _component_paths(product).items():
                layer = layers.get(component, Layer())
                carrier = Carrier(layer, lambda entry, of=component: new_file(of, entry), issued=issued)  # type: ignore[misc]
                with _opened_baseline(product) as root, directory_beneath(root, names_of(path)) as baseline:
                    with directory_beneath(tree, names_of(path), make=True) as destination:
                        carrier.carry(baseline, destination)
                verify_component(tree, path, layer)
            os.fchmod(tree, PUBLIC_DIRECTORY)
            sync_filesystem(tree)

    @contextlib.contextmanager
    def _opened_release(self, product: Product, baseline_identity: str) -> Iterator[int]:
        path = self._release(product, baseline_identity)
        make_directory(self._store, mode=PUBLIC_DIRECTORY)
        with host_errors(f"open the store {self._store}"):
            store = open_directory(str(self._store))
            try:
                with directory_beneath(store, list(path.relative_to(self._store).parts), make=True) as release:
                    os.fsync(store)
                    yield release
            finally:
                os.close(store)

    def verify(self, product: Product, baseline_identity: str, level: int, layers: Mapping[str, Layer]) -> None:
        """Digest the staged level's changed files again. Raises DigestMismatchError; StorageError: not staged."""
        paths = _component_paths(product)
        tree = open_tree(self.tree(product, baseline_identity, level))
        try:
            for component, layer in layers.items():
                verify_component(tree, _path_of(paths, component), layer)
        finally:
            os.close(tree)

    def swap(self, product: Product, baseline_identity: str, level: int) -> float:
        """Make `level` the one that programs see, by one rename, and put it on disk.

        Returns:
            Milliseconds, the fsync included; idempotent.

        Raises:
            StorageError: the level is not staged, or something that is no link is in the pointer's place.
        """
        began = time.perf_counter()
        pointer, tree = _pointer_of(product), self.tree(product, baseline_identity, level)
        if not tree.is_dir():
            raise StorageError(f"cannot swap to level {level} of {product.product}: {tree} is no directory")
        target = self._pointed(product)
        with host_errors(f"swap the pointer {pointer}"):
            parent = os.open(pointer.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                temporary = f".{pointer.name}.suture-new"
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=parent)  # of a swap that was killed
                if target != str(tree):
                    os.symlink(tree, temporary, dir_fd=parent)
                    os.rename(temporary, pointer.name, src_dir_fd=parent, dst_dir_fd=parent)
                os.fsync(parent)
            finally:
                os.close(parent)
        return (time.perf_counter() - began) * 1000

    def discard(self, product: Product, baseline_identity: str, level: int) -> None:
        """Remove a staged level; RefusedError for the current one. Idempotent, never half: it is renamed away first."""
        tree = self.tree(product, baseline_identity, level)
        if level == BASELINE_LEVEL or os.path.realpath(_pointer_of(product)) == os.path.realpath(tree):
            raise RefusedError(f"cannot discard level {level} of {product.product}: programs see it now")
        if not os.path.lexists(tree.parent):
            return
        with self._opened_release(product, baseline_identity) as release:
            with host_errors(f"discard level {level} of {product.product}"):
                leaving = f".{level}.{secrets.token_hex(6)}.old"
                os.rename(str(level), leaving, src_dir_fd=release, dst_dir_fd=release)
                os.fsync(release)
                remove_tree(leaving, beneath=release)

    def sweep(self, products: Sequence[Product] = ()) -> None:
        """Remove what a crash left half-made in the store, and beside the pointers of `products`."""
        with host_errors("sweep the store"):
            for product in products:
                if product.pointer is not None:
                    Path(product.pointer).with_name(f".{Path(product.pointer).name}.suture-new").unlink(missing_ok=True)
            if not os.path.lexists(self._store):
                return
            sweep_store(self._store)


def _pointer_of(product: Product) -> Path:
    if product.pointer is None:
        raise InputError(f"cannot graft {product.product}: its product file names no pointer")
    return Path(product.pointer)


@contextlib.contextmanager
def _opened_baseline(product: Product) -> Iterator[int]:
    root = os.open(product.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield root
    finally:
        os.close(root)


def _component_paths(product: Product) -> dict[str, str]:
    """Where the components lie below the root, by name; each checked to stay there."""
    return {component.name: "/".join(names_of(component.path)) for component in product.components}


def _path_of(paths: Mapping[str, str], component: str) -> str:
    if component not in paths:
        raise InputError(f"cannot change the component {component!r}: the product file does not list it")
    return paths[component]
