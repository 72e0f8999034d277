"""Is there room for one more level? Asked before anything is written: the store's quota, then the disk itself."""

from __future__ import annotations

import os
from pathlib import Path

from suture.adapters.files import host_errors
from suture.core.errors import DiskFullError
from suture.core.limits import MIB
from suture.improvement.manifest import Manifest
from suture.wire.product import Product

SPARE_BYTES = 1 * MIB
"""Left for the journal, whose commits are what brings a device back."""


def used_bytes(root: Path) -> int:
    """What everything below `root` takes on disk; 0 where it is not there."""
    total = 0
    for directory, _, names in os.walk(root):
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def needed_bytes(product: Product, manifest: Manifest) -> int:
    """What staging takes at most: copies of the product's components, and the layers' new files twice."""
    copies = sum(used_bytes(Path(product.root) / component.path) for component in product.components)
    return copies + 2 * sum(entry.size for change in manifest.components for entry in change.layer.files())


def verify_room(store: Path, product: Product, manifest: Manifest, quota_mib: int) -> None:
    """Refuse to begin what cannot be finished.

    Raises:
        DiskFullError: the store's quota would be passed, or the disk has too little room.
    """
    needed = needed_bytes(product, manifest)
    used = used_bytes(store)
    if used + needed > quota_mib * MIB:
        raise DiskFullError(
            f"cannot stage level {manifest.level} of {product.product}: the store takes {used // MIB} MiB, it needs "
            f"{needed // MIB + 1} MiB more, and its quota is {quota_mib} MiB",
            advice="raise it with `suture settings set store-quota 16GiB`, or remove a product",
        )
    with host_errors(f"look for room in {store}"):
        status = os.statvfs(store)
    free = status.f_bavail * status.f_frsize
    if free < needed + SPARE_BYTES:
        raise DiskFullError(
            f"cannot stage level {manifest.level} of {product.product}: it needs {needed // MIB + 1} MiB and the disk "
            f"has {free // MIB} MiB left"
        )
