"""What must be true of a tree and of a layer, and the tree that a layer makes of another. Pure.

Used by the publisher on what it scans, and by the device on what a signed manifest says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from suture.core.canonical import canonical_json
from suture.core.digests import Digest, digest_bytes
from suture.core.errors import TreeError
from suture.core.limits import MAXIMUM_TREE_ENTRIES
from suture.improvement.layer import Layer
from suture.improvement.paths import check_link, check_order, check_twins, parents_of, shown
from suture.improvement.tree import DirectoryEntry, Entry, LinkEntry, Tree

TREE_FORMAT = "suture-tree/1"


def path_key(path: str) -> bytes:
    """Sorting key of paths: their UTF-8 bytes."""
    return path.encode()


def sorted_tree(entries: Sequence[Entry]) -> Tree:
    """A tree of the entries in their order; call `check_tree` on what is not known to be good."""
    return Tree(tuple(sorted(entries, key=lambda entry: path_key(entry.path))))


def check_entries(entries: Sequence[Entry]) -> None:
    """Paths and links are allowed, sorted, unique, without twins, and nothing lies below a file or a link.

    Raises:
        TreeError: naming the entry.
    """
    if len(entries) > MAXIMUM_TREE_ENTRIES:
        raise TreeError(f"cannot use a tree of more than {MAXIMUM_TREE_ENTRIES:,} entries")
    paths = [entry.path for entry in entries]
    check_order(paths)
    check_twins(paths)
    leaves = {entry.path for entry in entries if not isinstance(entry, DirectoryEntry)}
    for entry in entries:
        if isinstance(entry, LinkEntry):
            check_link(entry.path, entry.target)
        _check_parents(entry.path, leaves)


def _check_parents(path: str, leaves: set[str]) -> None:
    for parent in parents_of(path):
        if parent in leaves:
            raise TreeError(f"cannot use {shown(path)}: {shown(parent)} above it is no directory")


def check_tree(tree: Tree) -> Tree:
    """Return the tree if it keeps every rule of a component.

    Raises:
        TreeError: naming the entry; also where a directory above an entry is missing.
    """
    check_entries(tree.entries)
    directories = {entry.path for entry in tree.entries if isinstance(entry, DirectoryEntry)}
    for entry in tree.entries:
        parent = entry.path.rpartition("/")[0]
        if parent and parent not in directories:
            raise TreeError(f"cannot use {shown(entry.path)}: the directory above it is missing")
    return tree


def check_layer(layer: Layer) -> Layer:
    """Return the layer if it keeps the rules that need no baseline.

    Raises:
        TreeError: naming the entry.
    """
    check_entries(layer.entries)
    check_order(layer.removed)
    if len(layer.removed) > MAXIMUM_TREE_ENTRIES:
        raise TreeError(f"cannot use a layer that removes more than {MAXIMUM_TREE_ENTRIES:,} entries")
    removed = set(layer.removed)
    for entry in layer.entries:
        if entry.path in removed:
            raise TreeError(f"cannot use {shown(entry.path)}: the layer both holds and removes it")
        for parent in parents_of(entry.path):
            if parent in removed:
                raise TreeError(f"cannot use {shown(entry.path)}: the layer removes {shown(parent)} above it")
    return layer


def overlay(base: Tree, layer: Layer) -> Tree:
    """The tree that a layer makes of the one it was built against (normally the bare baseline).

    Raises:
        TreeError: the layer does not fit the tree: it removes what is not there, or the result breaks a rule.
    """
    entries: dict[str, Entry] = base.by_path()
    for path in layer.removed:
        if path not in entries:
            raise TreeError(f"cannot remove {shown(path)}: the tree does not have it")
        del entries[path]
    entries.update((entry.path, entry) for entry in layer.entries)
    return check_tree(sorted_tree(tuple(entries.values())))


def tree_digest(tree: Tree) -> Digest:
    """Digest of the canonical JSON of ``{"format", "entries"}``: every path, mode, link and byte of the tree."""
    return digest_bytes(canonical_json({"format": TREE_FORMAT, "entries": msgspec.to_builtins(tree.entries)}))


def changed_paths(baseline: Mapping[str, Entry], layer: Layer) -> tuple[str, ...]:
    """Baseline paths that the layer changes or removes, in order."""
    paths = {entry.path for entry in layer.entries} | set(layer.removed)
    return tuple(sorted((path for path in paths if path in baseline), key=path_key))
