"""What must be true of a manifest beyond its shape: read it once at the door, and believe it afterwards. Pure.

The rules are numbered as in spec/improvement.md §2.2; they run in that order, so that an agent that is too old says
so instead of calling a newer manifest bad. Signatures are not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from suture.core.canonical import canonical_json
from suture.core.clock import parse_time
from suture.core.errors import AgentTooOldError, InputError, ManifestError, TreeError, WrongTargetError
from suture.core.identifiers import check_name, check_version
from suture.core.limits import GIB, MAXIMUM_MANIFEST_BYTES, MAXIMUM_TREE_ENTRIES
from suture.improvement.layer import layer_digest
from suture.improvement.manifest import MANIFEST_FORMAT, ComponentChange, Manifest, Pin
from suture.improvement.paths import check_order, check_twins, parents_of, shown
from suture.improvement.tree import FileEntry, Tree
from suture.improvement.tree_rules import changed_paths, check_layer
from suture.trust.paths import advisory_path, patch_path

MAXIMUM_LAYER_FILES_BYTES: Final = 64 * GIB
"""All files of one level together: a device plans its disk space from this sum."""
_LATER_FORMAT = re.compile(r"suture-manifest/[0-9]{1,4}")
_RELEASE = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})*")


_Decoded = TypeVar("_Decoded")


class _Head(msgspec.Struct, frozen=True):
    """What every version of the format has, read before anything else."""

    format: str
    minimum_agent: str


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest's canonical JSON: these bytes are signed, and their digest is the level's.

    Raises:
        ManifestError: larger than `MAXIMUM_MANIFEST_BYTES`.
    """
    data = canonical_json(msgspec.to_builtins(manifest))
    if len(data) > MAXIMUM_MANIFEST_BYTES:
        raise ManifestError(f"cannot write the manifest: it is larger than {MAXIMUM_MANIFEST_BYTES:,} bytes")
    return data


def parse_manifest(data: bytes, *, agent_version: str, product: str, baseline_identity: str, level: int) -> Manifest:
    """Read a manifest from its place.

    Args:
        data: the target's bytes, whose digest TUF has checked.
        agent_version: our own version, such as ``0.1.0``.
        product, baseline_identity, level: what the target's path says.

    Raises:
        ManifestError: malformed, over its bounds, or breaking a rule.
        AgentTooOldError: it asks for a later agent, or has a later format.
        WrongTargetError: it is for another product, release, architecture or level.
    """
    if len(data) > MAXIMUM_MANIFEST_BYTES:
        raise ManifestError(f"cannot read the manifest: it is larger than {MAXIMUM_MANIFEST_BYTES:,} bytes")
    _check_head(_decode(data, _Head), agent_version)
    manifest = _decode(data, Manifest)
    _check_place(manifest, product, baseline_identity, level)
    try:
        check_manifest(manifest)
    except (InputError, TreeError) as error:
        raise ManifestError(f"cannot use the manifest: {error.message}") from error
    return manifest


def check_manifest(manifest: Manifest) -> None:
    """The rules that need nothing but the manifest; a publisher runs them before signing.

    Raises:
        ManifestError, InputError, TreeError: naming what breaks a rule.
    """
    check_name(manifest.product, "a product")
    check_version(manifest.baseline.version)
    _check_purpose(manifest)
    _check_times(manifest)
    _check_distinct((change.name for change in manifest.components), "component")
    if not manifest.components:
        raise ManifestError("cannot use the manifest: it changes no component")
    for change in manifest.components:
        _check_component(manifest, change)
    _check_sizes(manifest)


def check_pins(change: ComponentChange, baseline: Tree) -> None:
    """Every baseline file that the layer changes or removes is pinned, and every pin tells the baseline's bytes.

    Raises:
        ManifestError: naming the first path that is not.
    """
    files = {entry.path: entry for entry in baseline.entries if isinstance(entry, FileEntry)}
    pinned = {pin.path for pin in change.pins}
    for path in changed_paths(files, change.layer):
        if path not in pinned:
            raise ManifestError(f"cannot use the manifest: the changed baseline file {shown(path)} is not pinned")
    for pin in change.pins:
        entry = files.get(pin.path)
        if entry is None or (entry.size, entry.digest) != (pin.size, pin.digest):
            raise ManifestError(f"cannot use the manifest: the pin of {shown(pin.path)} is not the baseline's file")


def _decode(data: bytes, kind: type[_Decoded]) -> _Decoded:
    """Unknown fields are ignored; foreign errors become ours."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ManifestError(f"cannot read the manifest: {error}") from error


def _check_head(head: _Head, agent_version: str) -> None:
    """Rule 1: the format is ours, and we are new enough for it."""
    if head.format != MANIFEST_FORMAT:
        if _LATER_FORMAT.fullmatch(head.format):
            raise AgentTooOldError(f"cannot read the manifest: its format is {head.format}, later than this agent")
        raise ManifestError(f"cannot read the manifest: its format is {head.format[:40]!r}, not {MANIFEST_FORMAT}")
    if _release_of(head.minimum_agent) > _release_of(agent_version):
        raise AgentTooOldError(
            f"cannot use the manifest: it needs agent {head.minimum_agent[:40]}, this is {agent_version}"
        )


def _release_of(version: str) -> tuple[int, ...]:
    """The leading dotted numbers of a version, without trailing zeros: ``0.10.0.dev3`` is (0, 10)."""
    match = _RELEASE.match(version)
    if match is None:
        raise ManifestError(f"cannot read {version[:40]!r} as an agent's version")
    numbers = [int(part) for part in match.group().split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _check_place(manifest: Manifest, product: str, baseline_identity: str, level: int) -> None:
    """Rule 2: it lies where it belongs."""
    said = (manifest.product, manifest.baseline.identity, manifest.level)
    if said != (product, baseline_identity, level):
        raise WrongTargetError(
            f"cannot use the manifest: it is for {said[0]} {said[1]} level {said[2]}, "
            f"not for {product} {baseline_identity} level {level}"
        )


def _check_purpose(manifest: Manifest) -> None:
    """Rule 3: it fixes something that has a name. A security improvement carries no features."""
    if not manifest.fixes and manifest.advisory is None:
        raise ManifestError("cannot use the manifest: it names neither a CVE nor an advisory")
    _check_distinct((f"{fix.cve} {fix.component}" for fix in manifest.fixes), "fix")
    if manifest.advisory is not None:
        expected = advisory_path(manifest.product, manifest.baseline.identity, manifest.level)
        if manifest.advisory.target != expected:
            raise ManifestError(f"cannot use the manifest: its advisory is not at {expected}")


def _check_times(manifest: Manifest) -> None:
    """Rule 4: real times, in their order."""
    issued, full_by = parse_time(manifest.issued), parse_time(manifest.full_by)
    if issued > full_by:
        raise ManifestError("cannot use the manifest: full_by lies before issued")
    if manifest.coverage_ends is not None:
        parse_time(manifest.coverage_ends)


def _check_component(manifest: Manifest, change: ComponentChange) -> None:
    """Rules 5 to 7: layer, pins and patches of one component."""
    check_name(change.name, "a component")
    check_layer(change.layer)
    if layer_digest(change.layer) != change.layer_digest:
        raise ManifestError(f"cannot use the manifest: the layer digest of {change.name} is not its layer's")
    _check_pin_paths(change)
    _check_patches(manifest, change)


def _check_pin_paths(change: ComponentChange) -> None:
    """Rule 6: pins are paths of one baseline tree, and agree with what the layer does there."""
    paths = [pin.path for pin in change.pins]
    if len(paths) > MAXIMUM_TREE_ENTRIES:
        raise ManifestError(f"cannot use the manifest: more than {MAXIMUM_TREE_ENTRIES:,} pins")
    check_order(paths)
    check_twins(paths)
    pinned: dict[str, Pin] = {pin.path: pin for pin in change.pins}
    for path in (*paths, *change.layer.removed, *(entry.path for entry in change.layer.entries)):
        for parent in parents_of(path):
            # A baseline file has nothing below it, unless the layer itself puts a directory there.
            if parent in pinned and (path in pinned or not _replaces(change, parent)):
                raise ManifestError(f"cannot use the manifest: the pinned file {shown(parent)} has {shown(path)} below")
    for entry in change.layer.files():
        pin = pinned.get(entry.path)
        if pin is not None and pin.digest == entry.digest and pin.size != entry.size:
            raise ManifestError(f"cannot use the manifest: {shown(entry.path)} has one digest and two sizes")


def _replaces(change: ComponentChange, path: str) -> bool:
    return any(entry.path == path for entry in change.layer.entries)


def _check_patches(manifest: Manifest, change: ComponentChange) -> None:
    """Rule 7: one patch for each from-level, at its place; one from the bare baseline, so none needs a chain."""
    _check_distinct((str(patch.from_level) for patch in change.patches), f"patch of {change.name} from level")
    for patch in change.patches:
        if patch.from_level >= manifest.level:
            raise ManifestError(f"cannot use the manifest: a patch of {change.name} starts at level {patch.from_level}")
        identity = manifest.baseline.identity
        expected = patch_path(manifest.product, identity, manifest.level, change.name, patch.from_level)
        if patch.target != expected:
            raise ManifestError(f"cannot use the manifest: a patch of {change.name} is not at {expected}")
    if not any(patch.from_level == 0 for patch in change.patches):
        raise ManifestError(f"cannot use the manifest: {change.name} has no patch from the bare baseline")


def _check_sizes(manifest: Manifest) -> None:
    """Rule 8: the sum of all files is bounded."""
    total = sum(entry.size for change in manifest.components for entry in change.layer.files())
    if total > MAXIMUM_LAYER_FILES_BYTES:
        raise ManifestError(f"cannot use the manifest: its files have more than {MAXIMUM_LAYER_FILES_BYTES:,} bytes")


def _check_distinct(names: Iterable[str], kind: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ManifestError(f"cannot use the manifest: {kind} {name} is there twice")
        seen.add(name)
