"""Which old file a new one came from, by name: the same path, else one that differs only in a hash or a version.

``Pillow.libs/libwebp-850e2bec.so.7.1.8`` comes from ``Pillow.libs/libwebp-9a3c1e5b.so.7.1.7``. Only a hint for the
patch's size, since the publisher ships the smallest that works; for owners and labels of new paths it is the rule.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

_HASH = re.compile(r"(?<![0-9A-Za-z])(?=[0-9a-f]*[0-9])[0-9a-f]{6,64}(?![0-9A-Za-z])")
"""Between separators, lower-case hex, with a digit: what auditwheel, webpack and Cargo put into names."""
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*")


def name_stem(path: str) -> str:
    """The path with every hash and every version replaced by ``#``: equal for a file and its later self."""
    return _VERSION.sub("#", _HASH.sub("#", path))


def match_predecessors(new: Iterable[str], old: Collection[str], *, kept: Collection[str] = ()) -> dict[str, str]:
    """Old paths by the new paths that came from them.

    Args:
        new: paths to find predecessors for.
        old: paths to choose from.
        kept: old paths that the new tree still has; chosen only where nothing else fits the name.

    Returns:
        Only the new paths that have one. The same answer for the same sets, whatever their order.
    """
    known = frozenset(old)
    still_there = frozenset(kept)
    by_stem: dict[str, list[str]] = {}
    for path in sorted(known, key=str.encode):
        by_stem.setdefault(name_stem(path), []).append(path)
    matches: dict[str, str] = {}
    for path in new:
        if path in known:
            matches[path] = path
            continue
        candidates = by_stem.get(name_stem(path))
        if candidates:
            matches[path] = min(candidates, key=lambda old_path: _preference(path, old_path, old_path in still_there))
    return matches


def _preference(new: str, old: str, is_kept: bool) -> tuple[bool, int, bytes]:
    """Smaller is better: gone from the new tree, then sharing the longest beginning, then by bytes."""
    shared = 0
    for left, right in zip(new, old, strict=False):
        if left != right:
            break
        shared += 1
    return is_kept, -shared, old.encode()
