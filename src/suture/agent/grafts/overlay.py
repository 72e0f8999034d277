"""The `overlay` graft: the layer as a sealed, read-only image, laid over the untouched component by the kernel.

Linux, root. Programs keep the product's own paths; no pointer is needed. An image is mounted where nobody can see it,
every file in it is digested against what was signed, and only then may it be shown. The baseline is never written.
Grafts end with the running system: after a start, the journal's level is grafted again before services use it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from suture.adapters.erofs import make_image, mount_image, seal
from suture.adapters.files import host_errors
from suture.agent.doors import BETWEEN
from suture.agent.grafts.beneath import directory_beneath, names_of, open_directory
from suture.agent.grafts.digesting import verify_opened, verify_pins
from suture.agent.grafts.overlay_hidden import HiddenTree, HiddenTrees, Ways
from suture.agent.grafts.overlay_image import ImageTree, verify_rights
from suture.agent.grafts.overlay_points import Planned, Points, points_of
from suture.agent.grafts.store import ImageStore, image_in
from suture.core.errors import DigestMismatchError, InputError, NotAllowedError, RefusedError, StorageError
from suture.core.level import BASELINE_LEVEL, check_level
from suture.improvement.layer import Layer
from suture.improvement.manifest import Pin
from suture.improvement.tree import FileEntry
from suture.wire.product import Product, ProductComponent

_PERMISSION_BITS = 0o777


class OverlayGraft:
    """Behind `suture.agent.doors.Graft`. Its caller holds the state directory's lock.

    Args:
        store: ``<state>/store``. hidden: ``<state>/grafts``, root's own.
        ways: for tests, which take ways away that the kernel offers.
    """

    atomic = True

    def __init__(self, store: Path, hidden: Path, ways: Ways | None = None) -> None:
        self._ways = ways or Ways()
        self._store = ImageStore(store)
        self._hidden = HiddenTrees(hidden, self._ways)

    def tree(self, product: Product, baseline_identity: str, level: int) -> Path:
        """Where root can open the files of `level`, whatever is grafted: a hidden tree, made where there is none."""
        if check_level(level) == BASELINE_LEVEL:
            return self._hidden.baseline(product)
        return self._made(product, baseline_identity, level).path

    def trees(self, product: Product, baseline_identity: str) -> tuple[tuple[int, Path], ...]:
        """Every tree that a process may have files of since the machine started."""
        made = [(one.level, one.path) for one in self._hidden.trees(product, baseline_identity)]
        if not os.path.isdir(product.root):
            return tuple(made)  # the product is gone; who still runs a level of it is looked for all the same
        return ((BASELINE_LEVEL, self._hidden.baseline(product)), *made)

    def levels(self, product: Product, baseline_identity: str) -> tuple[int, ...]:
        """The levels staged in the store, ascending, without 0."""
        return self._store.levels(product.product, baseline_identity)

    def current(self, product: Product, baseline_identity: str) -> int:
        """The level that programs see now, by the mount table; `BETWEEN` where its components do not agree."""
        table = Points(product.product, baseline_identity)
        shown = {point: table.level_at(point) for point in points_of(product)}
        level = max(shown.values())
        if min(shown.values()) < 0:
            return BETWEEN
        if level == BASELINE_LEVEL:
            return level
        try:
            sealed = self._store.sealed(product.product, baseline_identity, level)
        except (StorageError, DigestMismatchError):
            return level
        expected = set(_changed_points(product, sealed.files))
        return level if all(shown[point] == (level if point in expected else 0) for point in shown) else BETWEEN

    # --- making a level ----------------------------------------------------------------------------------------------

    def verify_pins(self, product: Product, pins: Mapping[str, Sequence[Pin]]) -> None:
        """Every pinned file of the bare baseline has its digest. Raises BaselineMismatchError."""
        for component, its_pins in pins.items():
            root = self._hidden.baseline(product)
            verify_pins(root, _component_of(product, component).path, its_pins)

    def stage(
        self,
        product: Product,
        baseline_identity: str,
        level: int,
        layers: Mapping[str, Layer],
        new_file: Callable[[str, FileEntry], Path],
        issued: datetime,
    ) -> Path:
        """Make `level` ready: images in the store, mounted and digested, seen by nobody yet.

        Idempotent; a staged level that does not verify is made again.

        Raises:
            MetadataError: rights that cannot be carried over. NotAllowedError: a file that the product does not list.
            DigestMismatchError: what came out is not what was signed, or what runs was tampered with.
            HostError: (or a kind of it) the host; nothing is left.
        """
        if check_level(level) == BASELINE_LEVEL:
            raise InputError("cannot stage the baseline: it is there")
        for name, layer in layers.items():
            _check_files(_component_of(product, name), layer)
        if level in self.levels(product, baseline_identity):
            try:
                self.verify(product, baseline_identity, level, layers)
                return self.tree(product, baseline_identity, level)
            except DigestMismatchError:
                if self._is_shown(product, baseline_identity, level):
                    raise
                self.discard(product, baseline_identity, level)
        base, seconds = self.tree(product, baseline_identity, BASELINE_LEVEL), int(issued.timestamp())

        def make(directory: Path) -> dict[str, tuple[str, ...]]:
            for name, layer in layers.items():
                component = _component_of(product, name)
                self._make_image(component, layer, new_file, seconds, base, directory)
            return {name: _files_of(product, name, layer) for name, layer in layers.items()}

        self._store.add(product.product, baseline_identity, level, make)
        try:
            self.verify(product, baseline_identity, level, layers)
        except BaseException:
            self._hidden.drop(product, baseline_identity, level)
            self._store.remove(product.product, baseline_identity, level)
            raise
        return self.tree(product, baseline_identity, level)

    def _make_image(
        self,
        component: ProductComponent,
        layer: Layer,
        new_file: Callable[[str, FileEntry], Path],
        seconds: int,
        base: Path,
        directory: Path,
    ) -> None:
        work, image = directory / "work", image_in(directory, component.name)
        with host_errors(f"build the image of {component.name}"):
            work.mkdir(mode=0o700)
            with _opened(base, component.path) as baseline, _opened(work) as destination:
                ImageTree(layer, lambda entry: new_file(component.name, entry)).fill(baseline, destination)
            make_image(work, image, seconds=seconds)
            shutil.rmtree(work)
            seal(image)
            mounted = mount_image(image, file_backed=self._ways.file_backed)
            try:
                # Whiteouts are devices here, so what is gone is looked for once the image lies over the baseline.
                verify_opened(mounted, component.name, Layer(layer.entries), mode_bits=_PERMISSION_BITS)
                with _opened(base, component.path) as baseline:
                    verify_rights(baseline, mounted, layer)
            finally:
                os.close(mounted)

    def verify(self, product: Product, baseline_identity: str, level: int, layers: Mapping[str, Layer]) -> None:
        """The images are as sealed, and what they show over the baseline is what was signed. Nothing is shown yet.

        Raises:
            DigestMismatchError: names what differs. MetadataError: rights differ. StorageError: not staged.
        """
        images = self._store.verified_images(product.product, baseline_identity, level)
        if set(images) != set(layers):
            raise DigestMismatchError(f"cannot use the staged level {level}: it has images of other components")
        base = self.tree(product, baseline_identity, BASELINE_LEVEL)

        def check(component: ProductComponent, made: int) -> None:
            layer = layers[component.name]
            verify_opened(made, component.path, layer, mode_bits=_PERMISSION_BITS)
            with _opened(base, component.path) as baseline:
                verify_rights(baseline, made, layer)

        self._hidden.make(product, baseline_identity, level, images, check)

    def _made(self, product: Product, baseline_identity: str, level: int) -> HiddenTree:
        """The hidden tree of a level, from images that are as they were sealed, which was after they were verified."""
        newest = self._hidden.newest(product, baseline_identity, level)
        if newest is not None:
            return newest
        images = self._store.verified_images(product.product, baseline_identity, level)
        return self._hidden.make(product, baseline_identity, level, images, lambda _component, _made: None)

    # --- showing it --------------------------------------------------------------------------------------------------

    def swap(self, product: Product, baseline_identity: str, level: int) -> float:
        """Make `level` the one that programs see, component by component in the product file's order.

        Returns:
            Milliseconds from the first change to the last; idempotent.

        Raises:
            StorageError, DigestMismatchError: the level is not staged well. RefusedError: a stranger's mount is there.
        """
        sources: dict[Path, Path] = {}
        if check_level(level) != BASELINE_LEVEL:
            tree = self._made(product, baseline_identity, level).path
            sealed = self._store.sealed(product.product, baseline_identity, level)
            root = Path(os.path.realpath(product.root))
            sources = {point: tree / point.relative_to(root) for point in _changed_points(product, sealed.files)}
        plan = [Planned(point, sources.get(point)) for point in points_of(product)]
        table = Points(product.product, baseline_identity)
        began = time.perf_counter()
        table.show(plan, beneath=self._ways.beneath)
        return (time.perf_counter() - began) * 1000

    def _is_shown(self, product: Product, baseline_identity: str, level: int) -> bool:
        table = Points(product.product, baseline_identity)
        return any(table.level_at(point) == level for point in points_of(product))

    def discard(self, product: Product, baseline_identity: str, level: int) -> None:
        """Remove a staged level that is not shown. Idempotent.

        Raises:
            RefusedError: programs see that level now.
        """
        if level == BASELINE_LEVEL or self._is_shown(product, baseline_identity, level):
            raise RefusedError(f"cannot discard level {level} of {product.product}: programs see it now")
        self._hidden.drop(product, baseline_identity, level)
        self._store.remove(product.product, baseline_identity, level)

    def sweep(self) -> None:
        """Remove what a crash left half-made, in the store and among the hidden mounts."""
        self._store.sweep()

        def is_staged(product: str, identity: str, level: int) -> bool:
            return level in self._store.levels(product, identity)

        self._hidden.sweep(is_staged)


def _component_of(product: Product, name: str) -> ProductComponent:
    found = next((component for component in product.components if component.name == name), None)
    if found is None:
        raise InputError(f"cannot change the component {name!r}: the product file does not list it")
    names_of(found.path)
    return found


def _files_of(product: Product, name: str, layer: Layer) -> tuple[str, ...]:
    return tuple(entry.path for entry in layer.entries) if _component_of(product, name).files else ()


def _check_files(component: ProductComponent, layer: Layer) -> None:
    """A component of single files is grafted file by file: each must be there, and none can appear or go."""
    if not component.files:
        return
    strange = [entry.path for entry in layer.entries if entry.path not in component.files]
    other = [entry.path for entry in layer.entries if not isinstance(entry, FileEntry)]
    for path in (*strange, *other, *layer.removed):
        raise NotAllowedError(f"cannot change {path!r} of {component.name}: only its listed files may change, as files")


def _changed_points(product: Product, changed: Mapping[str, Sequence[str]]) -> Iterator[Path]:
    root = Path(os.path.realpath(product.root))
    for component in product.components:
        if component.name in changed:
            files, place = changed[component.name], root / component.path
            yield from (place / file for file in files if file in component.files) if component.files else (place,)


@contextlib.contextmanager
def _opened(root: Path, below: str | None = None) -> Iterator[int]:
    descriptor = open_directory(str(root))
    try:
        with directory_beneath(descriptor, names_of(below) if below is not None else []) as found:
            yield found
    finally:
        os.close(descriptor)
