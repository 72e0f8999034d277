"""Hidden trees: every level's mounts, kept where root alone can see them, from which grafts are cloned.

A graft is a clone of a hidden mount, so the kernel names its files in the same way there as where programs see them:
that is how the users of a level are found after it has been swapped away. The baseline has a hidden tree too, since a
graft covers it. All of it lies in one small, private tmpfs and is gone after a restart of the machine.

    <state>/grafts/PRODUCT/BASELINE/LEVEL.N/tree/COMPONENT-PATH   N: how often a level's mounts had to be made anew
    <state>/grafts/PRODUCT/baseline/0.0/tree/COMPONENT-PATH       the bare baseline
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from suture.adapters.erofs import CANNOT, mount_image
from suture.adapters.files import host_errors
from suture.adapters.mounts import (
    READ_ONLY,
    attach,
    attributes_of,
    clone_of,
    detach,
    new_overlay,
    new_overlay_of_paths,
)
from suture.agent.grafts.beneath import directory_beneath, names_of
from suture.agent.grafts.overlay_place import (
    TREE,
    attach_at,
    made_place,
    mounted_in,
    opened,
    remove_place,
    sweep_places,
)
from suture.wire.product import Product, ProductComponent

_BARE = "baseline"
_NAME = re.compile(r"(\d{1,6})\.(\d{1,6})")

Check = Callable[[ProductComponent, int], None]
"""Judges a component's mount by its descriptor before it is attached anywhere."""


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways that the kernel may offer; tests take one away to see the next. Kernels are asked, never their version.

    Attributes:
        file_backed: mount an image from its file, else through a loop device.
        by_descriptor: give an overlay its layers by descriptor, else by path.
        beneath: slip the new graft under the old one, else stack it on top.
    """

    file_backed: bool = True
    by_descriptor: bool = True
    beneath: bool = True


@dataclass(frozen=True, slots=True)
class HiddenTree:
    """One hidden tree. `path` holds the components at their own relative paths."""

    level: int
    number: int
    path: Path


class HiddenTrees:
    """Args:
    directory: ``<state>/grafts``.
    ways: see `Ways`.
    """

    def __init__(self, directory: Path, ways: Ways) -> None:
        self._directory = directory
        self._ways = ways

    def trees(self, product: Product, baseline_identity: str) -> tuple[HiddenTree, ...]:
        """Those that exist, by level and age, without the baseline's."""
        found: list[HiddenTree] = []
        place = self._place(product, baseline_identity)
        mounted = mounted_in(place)
        for name in sorted(os.listdir(place)) if place.is_dir() else ():
            match, parts = _NAME.fullmatch(name), [place / name / TREE / one.path for one in product.components]
            # One that somebody unmounted shows an empty directory: it counts as none.
            if match is not None and all(str(part) in mounted for part in parts if part.exists()):
                found.append(HiddenTree(int(match.group(1)), int(match.group(2)), place / name / TREE))
        return tuple(sorted(found, key=lambda one: (one.level, one.number)))

    def newest(self, product: Product, baseline_identity: str, level: int) -> HiddenTree | None:
        """The tree that grafts of a level are cloned from, if there is one."""
        return next((one for one in reversed(self.trees(product, baseline_identity)) if one.level == level), None)

    def _place(self, product: Product, baseline_identity: str) -> Path:
        return self._directory / product.product / baseline_identity

    # --- the baseline beneath ----------------------------------------------------------------------------------------

    def baseline(self, product: Product) -> Path:
        """The bare baseline's tree, whatever is grafted over it: clones of the directories that hold the components.

        A clone of the parent, without the mounts below it, shows the component as it lies on disk, even after
        somebody replaced its directory.

        Raises:
            StorageError: (or a kind of it) the mounts cannot be made.
        """
        root = Path(os.path.realpath(product.root))
        place = self._directory / product.product / _BARE / "0.0"
        if self._is_fresh(place / TREE, root, product):
            return place / TREE
        remove_place(place)
        with (
            made_place(self._directory, place) as temporary,
            host_errors(f"look beneath the grafts of {product.product}"),
        ):
            for parent in _parents_of(product):
                clone = clone_of(root / parent, read_only=True)
                (temporary / TREE / parent).mkdir(parents=True, exist_ok=True)
                attach_at(clone, temporary / TREE / parent)
        return place / TREE

    def _is_fresh(self, tree: Path, root: Path, product: Product) -> bool:
        try:
            return all(os.path.samestat(os.stat(tree / one), os.stat(root / one)) for one in _parents_of(product))
        except FileNotFoundError:
            return False

    # --- a level -----------------------------------------------------------------------------------------------------

    def make(
        self, product: Product, baseline_identity: str, level: int, images: Mapping[str, Path], check: Check
    ) -> HiddenTree:
        """The tree of a level: the newest where its baseline is still the same, else one made from the images.

        Args:
            images: by component; those without one are not in the tree.
            check: raises for a component's mount that is not as signed; it is then attached nowhere.

        Raises:
            StorageError: (or a kind of it) the mounts cannot be made. Whatever `check` raises.
        """
        base = self.baseline(product)
        state = _state_of(base, product, images)
        newest = self.newest(product, baseline_identity, level)
        if newest is not None and (newest.path.parent / "baseline").read_text() == state:
            for component in _with_image(product, images):
                with opened(newest.path / component.path) as made:
                    check(component, made)
            return newest
        number = newest.number + 1 if newest is not None else 0
        place = self._place(product, baseline_identity) / f"{level}.{number}"
        remove_place(place)
        with made_place(self._directory, place) as temporary:
            (temporary / "baseline").write_text(state)
            for component in _with_image(product, images):
                name = f"suture:{product.product}/{baseline_identity}/{level}"
                self._add(name, component, images[component.name], base, temporary, check)
        return HiddenTree(level, number, place / TREE)

    def _add(
        self, name: str, component: ProductComponent, image: Path, base: Path, temporary: Path, check: Check
    ) -> None:
        with host_errors(f"graft {component.name}"):
            overlay = self._overlay(name, component, image, base, temporary)
            try:
                check(component, overlay)
                target = temporary / TREE / component.path
                target.mkdir(parents=True)
            except BaseException:
                os.close(overlay)
                raise
            attach_at(overlay, target)

    def _overlay(self, name: str, component: ProductComponent, image: Path, base: Path, temporary: Path) -> int:
        """The layer over the component; from an image file, or through a loop device where overlays nest too deep."""
        ways = [True, False] if self._ways.file_backed else [False]
        for file_backed in ways:
            layer = mount_image(image, file_backed=file_backed)
            try:
                with opened(base / component.path) as beneath:
                    attributes = attributes_of(beneath) | READ_ONLY
                    return self._overlay_of(name, component, layer, beneath, base, temporary, attributes)
            except OSError as error:
                if error.errno not in CANNOT or not file_backed:
                    raise
            finally:
                os.close(layer)
        raise AssertionError("the last way returns or raises")

    def _overlay_of(
        self, name: str, component: ProductComponent, layer: int, beneath: int, base: Path, temporary: Path, bits: int
    ) -> int:
        if self._ways.by_descriptor:
            try:
                return new_overlay(name, [layer, beneath], bits)
            except OSError as error:
                if error.errno not in CANNOT:
                    raise
        place = temporary / "image" / component.name
        place.mkdir(parents=True, exist_ok=True)
        with opened(place) as target:
            attach(layer, target)
        try:
            return new_overlay_of_paths(name, [place, base / component.path], bits)
        except OSError:
            with opened(place) as target:
                detach(target)
            raise

    # --- leaving -----------------------------------------------------------------------------------------------------

    def drop(self, product: Product, baseline_identity: str, level: int) -> None:
        """Take a level's trees away. Idempotent."""
        place = self._place(product, baseline_identity)
        with host_errors(f"drop the mounts of level {level}"):
            if not place.parent.is_dir():
                return
            for name in os.listdir(place) if place.is_dir() else ():
                if name.partition(".")[0] == str(level):
                    remove_place(place / name)
            if place.is_dir() and not os.listdir(place):
                place.rmdir()
            if [one.name for one in place.parent.iterdir()] == [_BARE]:
                remove_place(place.parent / _BARE / "0.0")
                sweep_places(place.parent / _BARE)
                (place.parent / _BARE).rmdir()
                place.parent.rmdir()

    def sweep(self, is_staged: Callable[[str, str, int], bool]) -> None:
        """Take away what a crash left half-made, and the trees of levels that are no longer in the store.

        Args:
            is_staged: for product, baseline and level.
        """
        if not self._directory.is_dir():
            return
        with host_errors("sweep the grafts' mounts"):
            for release in sorted(self._directory.glob("*/*")):
                sweep_places(release)
                for place in sorted(release.iterdir()):
                    level = int(place.name.partition(".")[0])
                    if level and not is_staged(release.parent.name, release.name, level):
                        remove_place(place)


def _parents_of(product: Product) -> list[str]:
    """The directories that hold the components, relative to the root, outermost first; for single files their own."""
    found = {
        component.path if component.files else os.path.dirname(component.path) or "."
        for component in product.components
    }
    return sorted(found, key=lambda one: (one.count("/") if one != "." else -1, one))


def _with_image(product: Product, images: Mapping[str, Path]) -> Sequence[ProductComponent]:
    return [component for component in product.components if component.name in images]


def _state_of(base: Path, product: Product, images: Mapping[str, Path]) -> str:
    """A digest of the component directories' identities and times: an overlay may not outlive a change beneath it."""
    state: list[str] = []
    for component in _with_image(product, images):
        state.append(repr((component.name, os.stat(images[component.name]).st_ino)))
        if component.files:
            continue  # a shared directory changes all the time, and only its grafted files are looked at
        with opened(base) as root, directory_beneath(root, names_of(component.path)) as top:
            for path, _, _, descriptor in os.fwalk(".", dir_fd=top):
                found = os.fstat(descriptor)
                state.append(repr((path, found.st_dev, found.st_ino, found.st_mtime_ns)))
    return hashlib.sha256("\n".join(sorted(state)).encode()).hexdigest()
