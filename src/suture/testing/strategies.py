"""Hypothesis strategies for what Suture is made of: levels, bytes with an old self, file contents of a tree.

Shipped, so that others can test graft backends and engines with the same inputs. Needs Hypothesis (the extra `test`).
"""

from __future__ import annotations

from hypothesis import strategies as st

from suture.core.digests import digest_bytes
from suture.core.level import MAXIMUM_LEVEL
from suture.improvement.paths import parents_of
from suture.improvement.tree import DirectoryEntry, Entry, FileEntry, LinkEntry, Tree
from suture.improvement.tree_rules import sorted_tree

_NAMES = st.sampled_from(
    ["a", "b", "lib", "run", "lib-9a3c1e5b.so.1.2", "lib-850e2bec.so.1.3", "data.1", "data.2", "ünïcode", "with space"]
)
_MODES = st.sampled_from(["0644", "0755", "0600", "0444"])


def levels() -> st.SearchStrategy[int]:
    """Levels, with those up to (zz) tried often."""
    return st.one_of(st.integers(0, 26 * 27), st.integers(0, MAXIMUM_LEVEL))


def contents(maximum_bytes: int = 4096) -> st.SearchStrategy[bytes]:
    """File contents: noise, runs, and text-like repetitions; at most `maximum_bytes`."""
    runs = st.builds(
        lambda unit, times: (unit * times)[:maximum_bytes], st.binary(min_size=1, max_size=40), st.integers(0, 400)
    )
    return st.one_of(st.binary(max_size=min(maximum_bytes, 300)), runs)


@st.composite
def old_and_new(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """An old file and a new one that shares much, little or nothing with it."""
    old = draw(contents())
    if draw(st.booleans()):
        return old, draw(contents())
    start = draw(st.integers(0, len(old)))
    end = draw(st.integers(start, len(old)))
    return old, old[:start] + draw(st.binary(max_size=64)) + old[end:]


@st.composite
def file_sets(draw: st.DrawFn) -> dict[str, bytes]:
    """Contents by path, no path below another one."""
    paths = draw(st.lists(st.lists(_NAMES, min_size=1, max_size=3).map("/".join), max_size=8, unique=True))
    kept: dict[str, bytes] = {}
    for path in paths:
        if not any(parent in kept for parent in parents_of(path)) and not any(
            other.startswith(f"{path}/") for other in kept
        ):
            kept[path] = draw(contents(600))
    return kept


@st.composite
def trees(draw: st.DrawFn) -> tuple[Tree, dict[str, bytes]]:
    """A tree that keeps every rule, with the contents of its files by path."""
    files = draw(file_sets())
    has_link = draw(st.booleans())
    entries: dict[str, Entry] = {}
    for path, data in files.items():
        entries[path] = FileEntry(path, draw(_MODES), len(data), digest_bytes(data))
        entries.update((parent, DirectoryEntry(parent, "0755")) for parent in parents_of(path))
    if files and has_link:
        entries["link"] = LinkEntry("link", draw(st.sampled_from(sorted(files))))
    return sorted_tree(tuple(entries.values())), files
