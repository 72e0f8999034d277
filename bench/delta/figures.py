"""The kept figures: what was measured of which pair by which version of which engine; resumed, never measured twice."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accounting import KEPT, Cost, keep, machine, medians

RESULTS = KEPT / "delta/results.json"


class Figures:
    """The JSON on disk: ``pairs`` → pair → ``engines`` → engine → figures."""

    def __init__(self, path: Path = RESULTS) -> None:
        self.path = path
        empty: dict[str, Any] = {"bench": "delta", "pairs": {}, "unfetched": {}, "growth": {}}
        self.content = json.loads(path.read_text()) if path.exists() else empty

    def has(self, pair: str, engine: str, version: str, stand_in: str) -> bool:
        """Whether this version was measured on this pair already (on the exact one, or on the same stand-in)."""
        row = self.of(pair).get("engines", {}).get(engine, {})
        return row.get("version") == version and self.of(pair).get("stand_in", "") == stand_in and "failed" not in row

    def of(self, pair: str) -> dict[str, Any]:
        """What is known of a pair."""
        found: dict[str, Any] = self.content["pairs"].get(pair, {})
        return found

    @contextmanager
    def changing(self) -> Iterator[dict[str, Any]]:
        """What is on disk now, to be changed and kept: several runs may measure at a time, each its own engines."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.path.exists():
                self.content = json.loads(self.path.read_text())
            yield self.content
            keep(self.content, self.path)

    def write_pair(self, pair: str, facts: dict[str, Any]) -> None:
        """Facts of a pair, its engines' figures kept unless the files are others."""
        with self.changing() as content:
            known = self.of(pair)
            engines = known.get("engines", {}) if known.get("stand_in") == facts["stand_in"] else {}
            content["pairs"][pair] = {**facts, "engines": engines}
            content["unfetched"].pop(pair, None)
            content["machine"] = machine()

    def write_engine(self, pair: str, engine: str, figures: dict[str, Any]) -> None:
        """Figures of one engine on one pair, kept at once."""
        at = datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
        with self.changing() as content:
            content["pairs"][pair]["engines"][engine] = {**figures, "at": at}

    def write_unfetched(self, pair: str, facts: dict[str, Any]) -> None:
        """A pair that could not be had at all."""
        with self.changing() as content:
            content["unfetched"][pair] = facts


def figures_of(make: list[Cost], apply: list[Cost]) -> dict[str, Any]:
    """Medians of the rounds; the peaks are the largest."""
    shown: dict[str, Any] = {}
    for verb, costs in (("make", make), ("apply", apply)):
        rows = [asdict(cost) for cost in costs]
        peaks = {key: max(row[key] for row in rows) for key in ("peak_mebibytes", "anonymous_mebibytes")}
        shown[verb] = {**medians(costs), **{key: round(value, 2) for key, value in peaks.items()}}
    return shown
