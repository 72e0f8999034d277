"""From two trees to a layer, and from a layer and bytes to its patch: deterministic to the byte. Pure.

Reading files is the caller's: `read_from` and `read_new` give buffers (mapped files, usually).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from suture import delta
from suture.core.digests import digest_bytes
from suture.core.errors import DigestMismatchError, TreeError
from suture.delta import DEFAULT_EFFORT, Buffer
from suture.improvement.container import StandAlone, write_container
from suture.improvement.layer import Layer
from suture.improvement.manifest import Pin
from suture.improvement.paths import shown
from suture.improvement.predecessor import match_predecessors
from suture.improvement.tree import Entry, FileEntry, Tree
from suture.improvement.tree_rules import changed_paths, check_layer, check_tree, path_key

Progress = Callable[[str, int, int], object]
"""Called before each file with its path, its number from 1, and how many there are."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How one file of the layer goes over the wire. Sizes in bytes.

    Attributes:
        path: the new file.
        reads: the from-level file that its delta reads, None where it reads none.
        engine: the engine that won.
        new_size, delta_size: of the file and of its delta.
    """

    path: str
    reads: str | None
    engine: str
    new_size: int
    delta_size: int


@dataclass(frozen=True, slots=True)
class BuiltPatch:
    """A patch container, the baseline files that it and its layer depend on, and what was chosen for each file."""

    data: bytes
    pins: tuple[Pin, ...]
    choices: tuple[Choice, ...]


def build_layer(old: Tree, new: Tree) -> Layer:
    """What turns the old tree (the bare baseline) into the new one; `overlay` is its inverse.

    Raises:
        TreeError: either tree breaks a rule.
    """
    before = check_tree(old).by_path()
    after = check_tree(new).by_path()
    entries = tuple(entry for entry in new.entries if before.get(entry.path) != entry)
    removed = tuple(entry.path for entry in old.entries if entry.path not in after)
    return check_layer(Layer(entries, removed))


def build_patch(
    layer: Layer,
    from_tree: Tree,
    read_from: Callable[[str], Buffer],
    read_new: Callable[[str], Buffer],
    *,
    baseline: Tree | None = None,
    progress: Progress | None = None,
    effort: int = DEFAULT_EFFORT,
    stand_alone: StandAlone | None = None,
) -> BuiltPatch:
    """Encode the layer's files against a from-level.

    Args:
        layer: against the bare baseline.
        from_tree: the component at the from-level (the baseline, or the baseline with an earlier layer over it).
        read_from: bytes of a from-level file by path.
        read_new: bytes of a new file by path.
        baseline: the bare baseline; left out where `from_tree` is it.
        progress, effort: see `Progress` and `suture.delta.encode`.
        stand_alone: for patches that no manifest goes with.

    Raises:
        DigestMismatchError: a read file is not the one that the trees name (it changed since the scan).
        PatchError: over the bounds of the format.
    """
    files = layer.files()
    sources = _sources(files, from_tree, layer)
    deltas: list[bytes] = []
    choices: list[Choice] = []
    for number, entry in enumerate(files, 1):
        if progress is not None:
            progress(entry.path, number, len(files))
        encoded, choice = _encode_file(entry, sources.get(entry.path), read_from, read_new, effort)
        deltas.append(encoded)
        choices.append(choice)
    reads = [choice.reads for choice in choices]
    data = write_container(reads, deltas, stand_alone)
    return BuiltPatch(data, _pins(layer, from_tree, baseline or from_tree, reads), tuple(choices))


def merge_pins(groups: Iterable[Iterable[Pin]]) -> tuple[Pin, ...]:
    """One list of pins for all patches of a component.

    Raises:
        TreeError: two groups pin one path with different bytes.
    """
    merged: dict[str, Pin] = {}
    for pin in (pin for group in groups for pin in group):
        if merged.setdefault(pin.path, pin) != pin:
            raise TreeError(f"cannot pin {shown(pin.path)}: two patches were made from different bytes of it")
    return tuple(merged[path] for path in sorted(merged, key=path_key))


def _sources(files: tuple[FileEntry, ...], from_tree: Tree, layer: Layer) -> dict[str, FileEntry]:
    """The from-level file that each new file is compared with: the same bytes anywhere, else by name."""
    old_files = {entry.path: entry for entry in from_tree.entries if isinstance(entry, FileEntry)}
    by_digest: dict[str, FileEntry] = {}
    for entry in old_files.values():
        by_digest.setdefault(entry.digest, entry)
    gone = set(layer.removed)
    kept = [path for path in old_files if path not in gone]
    by_name = match_predecessors((entry.path for entry in files), old_files, kept=kept)
    sources: dict[str, FileEntry] = {}
    for entry in files:
        named = old_files.get(by_name.get(entry.path, ""))
        same = by_digest.get(entry.digest)
        source = named if named is not None and (same is None or named.digest == entry.digest) else same
        if source is not None:
            sources[entry.path] = source
    return sources


def _encode_file(
    entry: FileEntry,
    source: FileEntry | None,
    read_from: Callable[[str], Buffer],
    read_new: Callable[[str], Buffer],
    effort: int,
) -> tuple[bytes, Choice]:
    """One file's delta; it reads its source only where that pays."""
    new = read_new(entry.path)
    _check_read(entry, new)
    old: Buffer = b""
    if source is not None:
        old = read_from(source.path)
        _check_read(source, old)
    patch = delta.encode(old, new, effort=effort)
    info = delta.inspect(patch)
    reads = source.path if source is not None and info.reads_old else None
    return patch, Choice(entry.path, reads, info.engine, entry.size, len(patch))


def _check_read(entry: FileEntry, data: Buffer) -> None:
    """The bytes are those of the scan: a tree that changes while it is built must not be signed."""
    with delta.view_of(data) as view:
        if len(view) != entry.size or digest_bytes(view) != entry.digest:
            raise DigestMismatchError(
                f"cannot build from {shown(entry.path)}: it changed since it was scanned",
                advice="build again when nothing writes to the trees",
            )


def _pins(layer: Layer, from_tree: Tree, baseline: Tree, reads: Iterable[str | None]) -> tuple[Pin, ...]:
    """Baseline files that the layer changes or removes, or that the patch reads unchanged from the baseline."""
    before: dict[str, Entry] = baseline.by_path()
    current = from_tree.by_path()
    paths = set(changed_paths(before, layer))
    paths.update(path for path in reads if path is not None and current.get(path) == before.get(path))
    pins = []
    for path in sorted(paths, key=path_key):
        entry = before[path]
        if isinstance(entry, FileEntry):
            pins.append(Pin(path, entry.size, entry.digest))
    return tuple(pins)
