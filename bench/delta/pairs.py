"""The table of exact pairs (pairs.toml) as types."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("pairs.toml")
SMALL_BYTES = 5_000_000
"""Quick mode measures the pairs whose new file is no larger."""


@dataclass(frozen=True, slots=True)
class Side:
    """One release: its artifact's digest at the registry, and the file (or, without `member`, the tree) inside."""

    version: str
    artifact_sha256: str
    member: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two releases of one package; the attributes are those of pairs.toml."""

    name: str
    title: str
    kind: str
    format: str
    registry: str
    package: str
    find: str
    old: Side
    new: Side
    platform: str = ""
    experiment_bytes: int = 0
    hdiffpatch_bytes: int = 0
    in_mean: bool = False

    @property
    def is_tree(self) -> bool:
        """Whether the whole artifact is compared."""
        return not self.find


def read_pairs() -> dict[str, Pair]:
    """All pairs by name, in the table's order."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["pair"]
    pairs = [Pair(**{**row, "old": Side(**row["old"]), "new": Side(**row["new"])}) for row in rows]
    return {pair.name: pair for pair in pairs}
