"""Which products' pointers led to an old tree: a process started through one before the swap read old files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from suture.adapters.files import read_file
from suture.core.errors import SutureError
from suture.core.limits import MAXIMUM_PRODUCT_FILE_BYTES
from suture.wire.product import Product

_MAXIMUM_PRODUCTS = 1000


def pointers_to(state_directory: Path, roots: Sequence[Path]) -> tuple[Path, ...]:
    """The pointers of known products whose root or store an old root lies in (or is)."""
    try:
        names = sorted(os.listdir(state_directory / "products"))[:_MAXIMUM_PRODUCTS]
    except OSError:
        return ()
    found: list[Path] = []
    for name in names:
        if not name.endswith(".json") or name.startswith("."):
            continue
        with contextlib.suppress(SutureError, msgspec.DecodeError):
            data = read_file(state_directory / "products" / name, maximum_bytes=MAXIMUM_PRODUCT_FILE_BYTES)
            product = msgspec.json.decode(data, type=Product)
            homes = (
                Path(os.path.realpath(product.root)),
                Path(os.path.realpath(state_directory / "store" / product.product)),
            )
            if product.pointer is not None and any(root.is_relative_to(home) for root in roots for home in homes):
                found.append(Path(product.pointer))
    return tuple(found)
