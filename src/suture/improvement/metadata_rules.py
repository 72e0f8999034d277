"""Owners, set-id bits, capabilities, ACLs and labels: a layer has them as the baseline has them, or it is refused.

They are compared here and never shipped: on the device, a changed file takes them from the baseline's file at its
path, a new one from its predecessor by name, else it gets the root directory's owner and nothing special.
"""

from __future__ import annotations

from collections.abc import Mapping

from suture.core.errors import MetadataError
from suture.improvement.paths import shown
from suture.improvement.predecessor import match_predecessors
from suture.improvement.tree import Metadata

ROOT = ""
"""The key of the component's own root directory in a mapping of metadata."""


def expected_metadata(path: str, baseline: Mapping[str, Metadata], predecessor: str | None) -> Metadata:
    """What the device will give to `path`.

    Args:
        path: relative to the root, `ROOT` for the root itself.
        baseline: the baseline's metadata by path, with `ROOT`.
        predecessor: the baseline path that `match_predecessors` found, if any.
    """
    source = path if path in baseline else predecessor
    if source is not None:
        return baseline[source]
    root = baseline[ROOT]
    return Metadata(owner=root.owner, group=root.group, special_mode=0)


def check_metadata(old: Mapping[str, Metadata], new: Mapping[str, Metadata]) -> None:
    """The new tree carries nothing that a device could not give back from its baseline.

    Args:
        old: the baseline's metadata by path, with `ROOT`.
        new: the new tree's, likewise.

    Raises:
        MetadataError: naming the first entry that differs, and in what.
    """
    if ROOT not in old:
        raise MetadataError("cannot compare metadata: the baseline's root directory is missing from it")
    known = [path for path in old if path != ROOT]
    arrived = [path for path in new if path not in old]
    predecessors = match_predecessors(arrived, known, kept=[path for path in known if path in new])
    for path in sorted(new, key=str.encode):
        expected = expected_metadata(path, old, predecessors.get(path))
        difference = _difference(expected, new[path])
        if difference:
            where = shown(path) if path else "the root directory"
            raise MetadataError(
                f"cannot improve {where}: its {difference} differ from the baseline's",
                advice="give the new tree the owners, special bits and attributes that the baseline has",
            )


def _difference(expected: Metadata, actual: Metadata) -> str:
    if (expected.owner, expected.group) != (actual.owner, actual.group):
        return f"owners ({actual.owner}:{actual.group}, the baseline has {expected.owner}:{expected.group})"
    if expected.special_mode != actual.special_mode:
        return f"set-id or sticky bits ({actual.special_mode:04o}, the baseline has {expected.special_mode:04o})"
    if expected.attributes != actual.attributes:
        names = {name for name, _ in set(expected.attributes) ^ set(actual.attributes)}
        return f"capabilities, ACLs or labels ({', '.join(sorted(names))})"
    return ""
