"""The proof that a level is in effect: nobody uses files of any other tree than the active one's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from suture.agent.device import Device
from suture.agent.doors import ScanResult, User
from suture.agent.machine.events import Scanned
from suture.agent.machine.state import Holder, ProductState
from suture.agent.product_rules import grafted_paths
from suture.agent.reboot import REBOOT_REQUIRED, is_reboot_pending
from suture.improvement.layer import Layer
from suture.wire.product import Product

_SHOWN_HOLDERS = 50


def layers_of(device: Device, state: ProductState, level: int) -> dict[str, Layer]:
    """The layers of a level by component; none for the baseline or where its manifest is not held."""
    record = state.record(level)
    if record is None:
        return {}
    manifest = device.manifests.get(state.product, state.baseline, level, record.digest)
    return {} if manifest is None else {change.name: change.layer for change in manifest.components}


def find_users(
    device: Device, product: Product, state: ProductState, *, active: int, prove: bool = False
) -> ScanResult:
    """Processes that use files which differ between any other tree and the tree of `active`; with `prove` also those
    that map files of the active one whose bytes are not the manifest's."""
    swapped_at = state.watch.swapped_at if state.watch is not None else 0.0
    others = [(level, tree) for level, tree in device.graft.trees(product, state.baseline) if level != active]
    if not others:
        # The baseline is active and the store is empty: a tree is dropped only after nobody used it any more.
        return ScanResult((), ())
    changed: list[Path] = []
    active_layers = layers_of(device, state, active)
    for level, tree in others:
        changed.extend(changed_files(product, tree, layers_of(device, state, level), active_layers))
    parts = [tree / component.path for _, tree in others for component in product.components]
    old = device.scanner.old_files(parts, changed, swapped_at)
    if product.graft == "overlay":
        old = replace(old, pointers=grafted_paths(product))
    if prove:
        old = replace(old, active=tuple(_signed_files(device, product, state, active)))
    return device.scanner.scan(old)


def _signed_files(device: Device, product: Product, state: ProductState, level: int) -> Iterator[tuple[Path, str]]:
    """The level's changed files where processes find them, with the manifest's digests."""
    tree = device.graft.tree(product, state.baseline, level)
    for name, layer in layers_of(device, state, level).items():
        part = next(component.path for component in product.components if component.name == name)
        for entry in layer.files():
            for home in dict.fromkeys((tree, Path(product.root)) if product.graft == "overlay" else (tree,)):
                yield Path(os.path.realpath(home / part)) / entry.path, entry.digest


def changed_files(product: Product, tree: Path, one: dict[str, Layer], other: dict[str, Layer]) -> list[Path]:
    """Regular files below `tree` that either layer touches: what may differ from the active tree."""
    found: list[Path] = []
    for component in product.components:
        paths: set[str] = set()
        for layer in (one.get(component.name), other.get(component.name)):
            if layer is not None:
                paths.update(entry.path for entry in layer.entries)
                paths.update(layer.removed)
        root = tree / component.path
        found.extend(path for name in sorted(paths) if (path := root / name).is_file() and not path.is_symlink())
    return found


def look(device: Device, product: Product, state: ProductState) -> tuple[Scanned, ScanResult]:
    """Scan, and say it as the machine's event."""
    result = find_users(device, product, state, active=state.active, prove=True)
    unknown = len(result.unknown)
    if unknown and not device.is_root and not others_could_use(Path(product.root)):
        unknown = 0
    holders = [_holder(user) for user in result.users[:_SHOWN_HOLDERS]]
    if is_reboot_pending(device.journal, product.product, state.active):
        holders.append(Holder(pid=1, name="this machine", how=REBOOT_REQUIRED))
    event = Scanned(
        now=device.now(),
        holders=tuple(holders),
        unknown=unknown,
        unknown_blocks=device.is_root,
    )
    return event, result


def _holder(user: User) -> Holder:
    return Holder(pid=user.pid, name=user.name, how=user.how, belongs_to=user.belongs_to)


def others_could_use(path: Path) -> bool:
    """Whether another user could reach the component at all: every directory down to it lets others through."""
    for directory in (path, *path.parents):
        try:
            if not os.stat(directory).st_mode & (stat.S_IXOTH | stat.S_IXGRP):
                return False
        except OSError:
            return True
    return True
