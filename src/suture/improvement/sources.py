"""The from-level file that each new file is compared with: the same bytes anywhere, else by name, else by likeness.

Only hints for the patch's size: what is read is named in the patch and pinned, whatever led to it.
"""

from __future__ import annotations

from collections.abc import Callable

from suture.delta import Buffer
from suture.improvement.layer import Layer
from suture.improvement.predecessor import match_predecessors
from suture.improvement.similarity import match_similar
from suture.improvement.tree import FileEntry, Tree


def choose_sources(
    layer: Layer, from_tree: Tree, read_from: Callable[[str], Buffer], read_new: Callable[[str], Buffer]
) -> dict[str, FileEntry]:
    """Old files by the paths of the layer's files; not all have one. The same answer for the same arguments."""
    files = layer.files()
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
    strangers = [entry for entry in files if entry.path not in sources and entry.size]
    renamed_first = [old_files[path] for path in layer.removed if path in old_files]
    candidates = [*renamed_first, *(old_files[path] for path in kept)]
    return sources | match_similar(strangers, candidates, read_new, read_from)
