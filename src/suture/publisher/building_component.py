"""Building one component: its layer, its patches from the baseline and from earlier levels, each proven."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from suture.core.digests import digest_bytes
from suture.improvement.build import BuiltPatch, build_layer, build_patch, merge_pins
from suture.improvement.layer import Layer, layer_digest
from suture.improvement.manifest import ComponentChange, PatchReference
from suture.improvement.manifest_rules import check_pins
from suture.improvement.tree_rules import overlay
from suture.publisher.earlier import EarlierLevel
from suture.publisher.importers.trees import ImportedComponent
from suture.publisher.proving import prove_patch
from suture.publisher.staged import FileSizes, PatchSizes
from suture.trust.paths import patch_path

Progress = Callable[[str, int, int], object]
"""Called with what is being done, its number and how many there are (0 where that is not known)."""


@dataclass(frozen=True, slots=True)
class BuiltComponent:
    """One component's share of the manifest (None where nothing changes), its files, and their sizes."""

    change: ComponentChange | None
    files: dict[str, bytes]
    sizes: tuple[PatchSizes, ...]


def build_component(
    product: str,
    identity: str,
    level: int,
    component: ImportedComponent,
    earlier: Sequence[EarlierLevel],
    progress: Progress,
) -> BuiltComponent:
    """Build one component.

    Args:
        product, identity, level: whose place the patches get.
        component: its two trees.
        earlier: levels to patch from besides the baseline.
        progress: see `Progress`.

    Raises:
        TreeError, PatchError, DigestMismatchError, ManifestError: nothing was written.
    """
    layer = build_layer(component.old.tree, component.new.tree)
    if layer == Layer():
        return BuiltComponent(None, {}, ())
    built = {0: _patch_from_baseline(component, layer, progress)}
    for before in earlier:
        if before.change(component.name) is not None:
            built[before.number] = _patch_from_earlier(component, layer, before, progress)
    references, files = [], {}
    for from_level, patch in sorted(built.items()):
        target = patch_path(product, identity, level, component.name, from_level)
        files[target.rpartition("/")[2]] = patch.data
        references.append(PatchReference(from_level, target, digest_bytes(patch.data), len(patch.data)))
    pins = merge_pins(patch.pins for patch in built.values())
    change = ComponentChange(component.name, layer_digest(layer), layer, pins, tuple(references))
    check_pins(change, component.old.tree)
    return BuiltComponent(change, files, tuple(_sizes_of(component.name, number, one) for number, one in built.items()))


def _patch_from_baseline(component: ImportedComponent, layer: Layer, progress: Progress) -> BuiltPatch:
    patch = build_patch(
        layer, component.old.tree, component.read_old, component.read_new, progress=_named(component, 0, progress)
    )
    progress(f"proving {component.name} from the baseline", 0, 0)
    prove_patch(layer, patch.data, component.read_old)
    return patch


def _patch_from_earlier(
    component: ImportedComponent, layer: Layer, before: EarlierLevel, progress: Progress
) -> BuiltPatch:
    """From an earlier level, whose files are had by applying its own patch to the baseline again."""
    change = before.change(component.name)
    assert change is not None  # noqa: S101 - the caller asked
    check_pins(change, component.old.tree)
    with before.files(change, component.read_old) as read_from:
        patch = build_patch(
            layer,
            overlay(component.old.tree, change.layer),
            read_from,
            component.read_new,
            baseline=component.old.tree,
            progress=_named(component, before.number, progress),
        )
        progress(f"proving {component.name} from level {before.number}", 0, 0)
        prove_patch(layer, patch.data, read_from)
    return patch


def _named(component: ImportedComponent, from_level: int, progress: Progress) -> Progress:
    return lambda path, number, total: progress(f"{component.name} from level {from_level}: {path}", number, total)


def _sizes_of(component: str, from_level: int, patch: BuiltPatch) -> PatchSizes:
    files = tuple(
        FileSizes(choice.path, choice.engine, choice.reads, choice.new_size, choice.delta_size)
        for choice in patch.choices
    )
    return PatchSizes(component, from_level, len(patch.data), files)
