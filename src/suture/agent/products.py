"""The shelf of products that this device knows: `suture product add | list | remove`.

One canonical file a product in the state directory. It is the device's own word on what a vendor's manifests may
touch; nothing from the network ever changes it. Changes are made under the device's lock.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from suture.adapters.files import exclusive_lock, host_errors, read_file, sync_directory, write_file
from suture.agent.grafts.overlay_points import is_grafted
from suture.agent.places import Places, prepare, refuse_swappable_parents
from suture.agent.product_rules import check_neighbours, check_product, decode_product
from suture.core.canonical import canonical_json
from suture.core.errors import InputError, NotKnownError, RefusedError, StorageError, SutureError
from suture.core.limits import MAXIMUM_PRODUCT_FILE_BYTES
from suture.wire.product import Product

PATIENCE_SECONDS = 60.0
"""How long `product add` and `remove` wait for a transition of another product."""


class ProductShelf:
    """The known products below one state directory."""

    def __init__(self, places: Places) -> None:
        """Args:
        places: where the device keeps its state; made on the first `add`.
        """
        self._places = places

    def add(self, path: Path) -> Product:
        """Learn a product from a file that its vendor handed out, or take over a newer file of a known one.

        Args:
            path: the vendor's file.

        Returns:
            The product as stored.

        Raises:
            InputError: the file breaks a rule; names the field. Nothing changed.
            RefusedError: another first root than the one known, or another layout while an improvement is in place.
            BusyError: another command holds the lock; do not call this while holding it.
        """
        product = _read_handed_out(path)
        check_product(product, state=self._places.state, is_root=os.geteuid() == 0)
        prepare(self._places)
        with exclusive_lock(self._places.lock, doing=f"add {product.product}", wait_seconds=PATIENCE_SECONDS):
            known = self.list()
            check_neighbours(product, [other for other in known if other.product != product.product])
            for old in known:
                if old.product == product.product:
                    self._check_update(old, product)
            if product.graft == "switch":
                self._place_pointer(product)
            document = canonical_json(msgspec.to_builtins(product))
            write_file(self._places.product_file(product.product), document, mode=0o644)
        return product

    def list(self) -> tuple[Product, ...]:
        """Every known product, by name.

        Raises:
            StorageError: a stored file is broken; names it.
        """
        return tuple(self._read_stored(name) for name in self._names())

    def get(self, name: str) -> Product:
        """One known product.

        Raises:
            NotKnownError: no such product here.
            StorageError: its stored file is broken.
        """
        if name not in self._names():
            raise NotKnownError(
                f"cannot find a product {name[:64]!r} on this device",
                advice="run `suture product list`, or add it with `suture product add FILE`",
            )
        return self._read_stored(name)

    def remove(self, name: str) -> Product:
        """Forget a product: its file and its trust. The baseline and the pointer stay as they are.

        The store is left to the agent's sweep: a process may still run from it.

        Raises:
            NotKnownError: no such product here.
            RefusedError: an improvement is in place.
            BusyError: another command holds the lock.
        """
        product = self.get(name)
        prepare(self._places)
        with exclusive_lock(self._places.lock, doing=f"remove {name}", wait_seconds=PATIENCE_SECONDS):
            if self.improvement_in_place(product):
                raise RefusedError(
                    f"cannot remove the product {name}: an improvement of it is in place",
                    advice=f"run `suture remove {name}` first, then this again",
                )
            # Trust goes first: after a crash in between, a product without trust starts from its pinned first root,
            # while trust without a product would be taken over by whoever is added under that name.
            self._remove_trust(name)
            with host_errors(f"remove the product {name}"):
                self._places.product_file(name).unlink(missing_ok=True)
            sync_directory(self._places.products)
        return product

    def improvement_in_place(self, product: Product) -> bool:
        """Programs see something other than the baseline."""
        if product.graft == "overlay":
            return is_grafted(product)
        pointer = Path(product.pointer) if product.pointer is not None else None
        if pointer is None or not os.path.lexists(pointer):
            return False
        return os.path.realpath(pointer) != os.path.realpath(product.root)

    def _names(self) -> tuple[str, ...]:
        with host_errors(f"list {self._places.products}"):
            if not self._places.products.is_dir():
                return ()
            found = sorted(path.name for path in self._places.products.iterdir())
        return tuple(_names_of(found))

    def _read_stored(self, name: str) -> Product:
        path = self._places.product_file(name)
        try:
            product = decode_product(read_file(path, maximum_bytes=MAXIMUM_PRODUCT_FILE_BYTES), str(path))
        except InputError as error:
            raise StorageError(
                f"cannot read the stored product {name}: {error.message}",
                advice=f"add the vendor's file again with `suture product add FILE`, after moving {path} away",
            ) from error
        if product.product != name:
            raise StorageError(f"cannot read {path}: it is about {product.product}", advice=f"move {path} away")
        return product

    def _check_update(self, old: Product, new: Product) -> None:
        if old.first_root != new.first_root:
            raise RefusedError(
                f"cannot update {new.product}: its file pins another first root than the one this device trusts",
                advice=f"if the vendor confirms the new one, run `suture product remove {new.product}` first",
            )
        if self.improvement_in_place(old) and _layout(old) != _layout(new):
            raise RefusedError(
                f"cannot update {new.product}: its file moves the root, pointer or components of a level in place",
                advice=f"run `suture remove {new.product}` first, then this again",
            )

    def _place_pointer(self, product: Product) -> None:
        pointer = Path(product.pointer or "")  # check_product refused a missing one
        refuse_swappable_parents(pointer)
        if not pointer.parent.is_dir():
            raise InputError(f"cannot add {product.product}: pointer: {pointer.parent} is no directory")
        if os.path.lexists(pointer):
            self._check_pointer(product, pointer)
            return
        with host_errors(f"make the pointer {pointer}"):
            try:
                pointer.symlink_to(product.root)  # whole or not at all, and never over something that is there
            except FileExistsError:
                self._check_pointer(product, pointer)
        sync_directory(pointer.parent)

    def _check_pointer(self, product: Product, pointer: Path) -> None:
        target = Path(os.path.realpath(pointer))
        ours = Path(os.path.realpath(self._places.store / product.product))
        if not pointer.is_symlink() or (target != Path(os.path.realpath(product.root)) and ours not in target.parents):
            raise InputError(
                f"cannot add {product.product}: pointer: {pointer} exists and is no link to {product.root}",
                advice=f"move it away, or make it a symbolic link to {product.root}",
            )

    def _remove_trust(self, name: str) -> None:
        trust = self._places.trust(name)
        if trust.is_symlink():
            raise StorageError(f"cannot remove {trust}: it is a symbolic link", advice="remove the link by hand")
        with host_errors(f"remove {trust}"):
            if trust.exists():
                shutil.rmtree(trust)


def _read_handed_out(path: Path) -> Product:
    if not path.exists():
        raise InputError(f"cannot read the product file {path}: there is no such file")
    try:
        document = read_file(path.resolve(), maximum_bytes=MAXIMUM_PRODUCT_FILE_BYTES)
    except SutureError as error:
        raise InputError(f"cannot read the product file {path}: {error.message}") from error
    return decode_product(document, str(path))


def _names_of(files: list[str]) -> Iterator[str]:
    for file in files:
        if file.endswith(".json") and not file.startswith("."):
            yield file.removesuffix(".json")


def _layout(product: Product) -> tuple[object, ...]:
    return (product.graft, product.root, product.pointer, product.components)
