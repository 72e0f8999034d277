"""Import a component from two directory trees: the baseline as shipped and the tree with the fix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from suture.adapters.trees import ScannedTree, read_member, scan_tree
from suture.delta import Buffer
from suture.improvement.metadata_rules import check_metadata


@dataclass(frozen=True, slots=True)
class ComponentSource:
    """A component's two trees on disk."""

    name: str
    old: Path
    new: Path


@dataclass(frozen=True, slots=True)
class ImportedComponent:
    """A component's two scanned trees, whose metadata a layer can carry."""

    name: str
    old: ScannedTree
    new: ScannedTree

    def read_old(self, path: str) -> Buffer:
        """A file of the baseline, mapped."""
        return read_member(self.old.root, path)

    def read_new(self, path: str) -> Buffer:
        """A file of the new tree, mapped."""
        return read_member(self.new.root, path)


def import_component(source: ComponentSource, progress: Callable[[str], object]) -> ImportedComponent:
    """Scan both trees, without ``__pycache__``.

    Args:
        source: which.
        progress: called with what is being read.

    Raises:
        TreeError, MetadataError, StorageError: as the scan and the comparison find.
    """
    old = scan_tree(source.old, skip_bytecode=True, progress=lambda path, _: progress(f"{source.name} (old) {path}"))
    new = scan_tree(source.new, skip_bytecode=True, progress=lambda path, _: progress(f"{source.name} (new) {path}"))
    check_metadata(old.metadata, new.metadata)
    return ImportedComponent(source.name, old, new)
