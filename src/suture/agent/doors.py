"""The agent's doors: one protocol per outside thing, and what comes back through it.

The machine decides, the executor walks through these doors; tests and demos may put shipped fakes behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from suture.improvement.layer import Layer
from suture.improvement.manifest import HealthCheck, Manifest, Pin, Restart
from suture.improvement.tree import FileEntry
from suture.wire.product import Product


@dataclass(frozen=True, slots=True)
class RestartOutcome:
    """What a restart of one unit or service came to."""

    name: str
    ok: bool
    reason: str
    milliseconds: float
    health: bool = False
    """The failure is the new code's own (it did not become ready), not the restarter's."""


@dataclass(frozen=True, slots=True)
class HealthOutcome:
    """What one health check came to."""

    check: str
    ok: bool
    reason: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class User:
    """A process that still uses the old files. `started`: seconds since the epoch; `how`: a word such as ``mapped``."""

    pid: int
    started: float
    name: str
    how: str
    belongs_to: str | None = None
    """The systemd unit or supervised service that it belongs to."""


@dataclass(frozen=True, slots=True)
class ScanResult:
    """Who uses the old files. `unknown` are processes that could not be read."""

    users: tuple[User, ...]
    unknown: tuple[int, ...]
    milliseconds: float = 0.0


@dataclass(frozen=True, slots=True)
class OldFiles:
    """What to look for: keys of old files as /proc/PID/maps shows them, and the roots they lie under."""

    keys: frozenset[tuple[str, int]]
    roots: tuple[Path, ...]
    swapped_at: float
    """Seconds since the epoch."""
    active: tuple[tuple[Path, str], ...] = ()
    """Files of the level in place and their digests: whoever maps one must map exactly these bytes."""
    pointers: tuple[Path, ...] = ()
    """Paths that showed the old files until then: who began before and was told of one may have read them."""


BETWEEN = -1
"""What `Graft.current` says where a crash left a product's components at different levels."""


class Graft(Protocol):
    """A graft backend (spec: DESIGN §5). `level` 0 is the bare baseline."""

    atomic: bool

    def verify_pins(self, product: Product, pins: Mapping[str, Sequence[Pin]]) -> None:
        """Every pinned baseline file has its digest, by component name. Raises BaselineMismatchError."""
        ...

    def stage(
        self,
        product: Product,
        baseline_identity: str,
        level: int,
        layers: Mapping[str, Layer],
        new_file: Callable[[str, FileEntry], Path],
        issued: datetime,
    ) -> Path:
        """Make `level` ready beside the baseline; `new_file(component, entry)` is the path of its verified bytes."""
        ...

    def verify(self, product: Product, baseline_identity: str, level: int, layers: Mapping[str, Layer]) -> None:
        """Digest the staged level's changed files again. Raises DigestMismatchError."""
        ...

    def swap(self, product: Product, baseline_identity: str, level: int) -> float:
        """Make `level` the one that programs see; milliseconds it took. Idempotent."""
        ...

    def current(self, product: Product, baseline_identity: str) -> int:
        """The level that programs see now, or `BETWEEN`."""
        ...

    def tree(self, product: Product, baseline_identity: str, level: int) -> Path:
        """Where the files of `level` (0: the baseline's) can be opened, components at their own relative paths."""
        ...

    def trees(self, product: Product, baseline_identity: str) -> tuple[tuple[int, Path], ...]:
        """Every tree that processes may have files of, with its level; a level may have several."""
        ...

    def levels(self, product: Product, baseline_identity: str) -> tuple[int, ...]:
        """The levels staged in the store, ascending, without 0."""
        ...

    def discard(self, product: Product, baseline_identity: str, level: int) -> None:
        """Remove a staged level that is not current. Idempotent."""
        ...

    def sweep(self) -> None:
        """Remove what a crash left half-made."""
        ...


class Restarter(Protocol):
    """One real end that restarts things: systemd units, or services under `suture supervise`."""

    def restart(self, name: str, *, deadline_seconds: float, ran_before: bool = False) -> RestartOutcome:
        """Restart `name` so that it runs what is grafted now; one that failed and `ran_before` is started again."""
        ...

    def reload(self, name: str, *, deadline_seconds: float) -> RestartOutcome:
        """Ask `name` to take what is grafted now without an interruption; whether it did, a scan must prove."""
        ...

    def is_running(self, name: str) -> bool:
        """Whether it runs now. Raises NotKnownError, RestartError."""
        ...


class Scanner(Protocol):
    """Who still uses old files (OS mechanisms: map keys, open files, start times)."""

    def old_files(self, trees: Sequence[Path], changed: Sequence[Path], swapped_at: float) -> OldFiles:
        """Keys of `changed` (files that differ, absolute paths), taken before or after the swap."""
        ...

    def scan(self, old: OldFiles) -> ScanResult:
        """Look at every process, to a fixed point."""
        ...


class Health(Protocol):
    """Runs declared checks as the product file allows."""

    def check(self, product: Product, restart: Restart, checks: Sequence[HealthCheck]) -> tuple[HealthOutcome, ...]:
        """Run every check, in order, stopping at the first failure."""
        ...


class PatchApplier(Protocol):
    """Applies a component's patch in a child without privileges and verifies what came out."""

    def apply(self, manifest: Manifest, component: str, patch: Path, old: Path, destination: Path) -> None:
        """Write the layer's files below `destination` by their hex digests; `old` is the component at `from_level`."""
        ...
