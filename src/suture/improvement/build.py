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
from suture.improvement.container import write_container
from suture.improvement.container_parts import StandAlone
from suture.improvement.drafting import Choice, Numbers, draft
from suture.improvement.grouping import Alone, choose_groups, looks_like_text
from suture.improvement.layer import Layer
from suture.improvement.manifest import Pin
from suture.improvement.paths import shown
from suture.improvement.solid import layer_lines
from suture.improvement.sources import choose_sources
from suture.improvement.tree import Entry, FileEntry, Tree
from suture.improvement.tree_rules import changed_paths, check_layer, check_tree, path_key

Progress = Callable[[str, int, int], object]
"""Called before each file with its path, its number from 1, and how many there are."""


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
    readers = _Readers(read_from, read_new)
    sources = choose_sources(layer, from_tree, read_from, read_new)
    files = layer.files()
    alone: list[Alone] = []
    for number, entry in enumerate(files, 1):
        if progress is not None:
            progress(entry.path, number, len(files))
        alone.append(_encode_alone(entry, sources.get(entry.path), readers, effort))
    numbers = Numbers(layer)
    groups = choose_groups(alone, layer_lines(layer), numbers.rank, readers.old, readers.new, effort)
    drafted = draft(alone, groups, numbers)
    data = write_container(drafted.members, drafted.groups, numbers.names(), stand_alone)
    return BuiltPatch(data, _pins(layer, from_tree, baseline or from_tree, drafted.reads), drafted.choices)


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


@dataclass(frozen=True, slots=True)
class _Readers:
    """The caller's readers, with a look whether the bytes are those of the scan."""

    read_from: Callable[[str], Buffer]
    read_new: Callable[[str], Buffer]

    def old(self, entry: FileEntry) -> Buffer:
        return _checked(entry, self.read_from(entry.path))

    def new(self, entry: FileEntry) -> Buffer:
        return _checked(entry, self.read_new(entry.path))


def _encode_alone(entry: FileEntry, source: FileEntry | None, readers: _Readers, effort: int) -> Alone:
    """One file's delta; it reads its source only where that pays."""
    new = readers.new(entry)
    patch = delta.encode(b"" if source is None else readers.old(source), new, effort=effort)
    reads_old = source is not None and delta.inspect(patch).reads_old
    return Alone(entry, source, delta.payload_of(patch), reads_old, looks_like_text(new))


def _checked(entry: FileEntry, data: Buffer) -> Buffer:
    """The bytes are those of the scan: a tree that changes while it is built must not be signed."""
    with delta.view_of(data) as view:
        if len(view) != entry.size or digest_bytes(view) != entry.digest:
            raise DigestMismatchError(
                f"cannot build from {shown(entry.path)}: it changed since it was scanned",
                advice="build again when nothing writes to the trees",
            )
    return data


def _pins(layer: Layer, from_tree: Tree, baseline: Tree, reads: Iterable[str]) -> tuple[Pin, ...]:
    """Baseline files that the layer changes or removes, or that the patch reads unchanged from the baseline."""
    before: dict[str, Entry] = baseline.by_path()
    current = from_tree.by_path()
    paths = set(changed_paths(before, layer))
    paths.update(path for path in reads if current.get(path) == before.get(path))
    pins = []
    for path in sorted(paths, key=path_key):
        entry = before[path]
        if isinstance(entry, FileEntry):
            pins.append(Pin(path, entry.size, entry.digest))
    return tuple(pins)
