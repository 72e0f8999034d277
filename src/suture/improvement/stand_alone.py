"""Patches without a manifest, as ``suture delta`` makes them: the layer and the digest of the whole result go inside.

They are trusted like the files they come with, that is, not at all: nothing here is signed. But a wrong old tree, or
one changed byte, never gives a wrong new one: the result's digest covers what the layer leaves alone, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from suture.core.errors import BaselineMismatchError, PatchError, TreeError
from suture.delta import DEFAULT_EFFORT, Buffer
from suture.improvement.build import BuiltPatch, Progress, build_layer, build_patch
from suture.improvement.container import read_container
from suture.improvement.container_parts import StandAlone
from suture.improvement.tree import FileEntry, Tree
from suture.improvement.tree_rules import overlay, tree_digest

FILE_PATH: Final = "content"
"""A single file is a tree of one file of this name."""


def file_tree(mode: str, size: int, digest: str) -> Tree:
    """The tree that stands for a single file."""
    return Tree((FileEntry(FILE_PATH, mode, size, digest),))


def build_stand_alone(
    kind: Literal["file", "tree"],
    old: Tree,
    new: Tree,
    read_old: Callable[[str], Buffer],
    read_new: Callable[[str], Buffer],
    *,
    progress: Progress | None = None,
    effort: int = DEFAULT_EFFORT,
) -> BuiltPatch:
    """Build layer and patch in one; errors as `build_layer` and `build_patch`."""
    layer = build_layer(old, new)
    stand_alone = StandAlone(kind, layer, tree_digest(new))
    return build_patch(layer, old, read_old, read_new, progress=progress, effort=effort, stand_alone=stand_alone)


def read_stand_alone(patch: Buffer) -> StandAlone:
    """What a stand-alone patch says of itself.

    Raises:
        PatchError: malformed, or a published patch, whose layer is in its manifest.
    """
    stand_alone = read_container(patch).stand_alone
    if stand_alone is None:
        raise PatchError(
            "cannot apply the patch: it is a published one, whose layer is in its manifest",
            advice="`suture install` applies published patches",
        )
    return stand_alone


def expected_result(old: Tree, stand_alone: StandAlone) -> Tree:
    """The whole new tree.

    Raises:
        BaselineMismatchError: the patch was not made from this old tree.
    """
    try:
        new = overlay(old, stand_alone.layer)
    except TreeError as error:
        raise _mismatch() from error
    if tree_digest(new) != stand_alone.result:
        raise _mismatch()
    if stand_alone.kind == "file":
        only_file(new)
    return new


def only_file(tree: Tree) -> FileEntry:
    """The single file that a tree stands for.

    Raises:
        PatchError: it is another tree.
    """
    entry = tree.entries[0] if len(tree.entries) == 1 else None
    if not isinstance(entry, FileEntry) or entry.path != FILE_PATH:
        raise PatchError("cannot apply the patch: it says that it is for a file, and holds a tree")
    return entry


def _mismatch() -> BaselineMismatchError:
    return BaselineMismatchError(
        "cannot apply the patch: it was made from other old files, or it is damaged",
        advice="apply it to exactly what it was made from, modes included, or get the patch again",
    )
