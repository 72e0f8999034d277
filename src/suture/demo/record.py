"""The demo's record: its steps as they happen, on the screen and for ``result.json``.

A step that fails says so in one clear sentence; nothing after it runs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
from rich.console import Console
from rich.table import Table

from suture.core.errors import ServiceError


class Step(msgspec.Struct, frozen=True):
    """One step. `start`: seconds since the demo began; `outcome`: ``ok`` or what went wrong; `facts`: what it found."""

    name: str
    start: float
    seconds: float
    outcome: str
    facts: tuple[str, ...] = ()


class Result(msgspec.Struct, frozen=True):
    """``build/demo/result.json``. Sizes in bytes; every figure is of this run."""

    product: str
    baseline: str
    cves: tuple[str, ...]
    full_bytes: int
    """The new wheel's files in one stream under the best of xz and zstd."""
    patch_bytes: int
    """What the repository serves as the patch of (a)."""
    poll_to_effective_seconds: float
    """From the request that found (a), by the repository's log, to the status file that calls it effective."""
    swap_milliseconds: float
    restart_milliseconds: float
    requests_total: int
    requests_failed: int
    baseline_intact: bool
    bad_level_rolled_back: bool
    recalled: bool
    removed_offline: bool
    reopened_cves: tuple[str, ...]
    steps: tuple[Step, ...]
    package: str
    versions: tuple[str, str]
    """The package's release before and after."""
    wheel_digests: tuple[str, str]
    wheels_pinned: bool
    new_wheel_bytes: int
    full_compression: str
    advisory: str
    """The id of the CSAF document of (a)."""
    downloaded_bytes: int
    publish_to_effective_seconds: float
    """From the moment the release command returned to effective, measured from outside."""
    in_flight_at_swaps: tuple[int, ...]
    """Requests that had begun and not ended at each change of the pointer."""
    connection_attempts_while_removing: int
    connections_counted_by: tuple[str, ...]
    rollback_reason: str
    seconds: float
    python: str
    machine: str


@dataclass(slots=True)
class Record:
    """Runs steps and remembers them."""

    console: Console
    began: float = field(default_factory=time.monotonic)
    steps: list[Step] = field(default_factory=list)
    _facts: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step, shown while it runs; what it raises is noted and goes on up."""
        start = time.monotonic()
        self._facts = []
        outcome = "failed"
        try:
            with self._shown(name):
                yield
            outcome = "ok"
        except BaseException as error:
            outcome = f"failed: {error}" if str(error) else f"failed: {type(error).__name__}"
            raise
        finally:
            seconds = time.monotonic() - start
            self.steps.append(Step(name, round(start - self.began, 3), round(seconds, 3), outcome, tuple(self._facts)))
            mark = "[green]✓[/]" if outcome == "ok" else "[red]✗[/]"
            self.console.print(f"{mark} {start - self.began:6.1f} s  [bold]{name}[/] [dim]{seconds:.1f} s[/]")
            for fact in self._facts:
                self.console.print(f"             {fact}", highlight=False, markup=False)

    @contextlib.contextmanager
    def _shown(self, name: str) -> Iterator[None]:
        if self.console.is_terminal:
            with self.console.status(f"{name} …"):
                yield
        else:
            self.console.print(f"  {time.monotonic() - self.began:6.1f} s  {name} …", highlight=False)
            yield

    def fact(self, text: str) -> None:
        """Something found in this step, for people."""
        self._facts.append(text)

    def table(self) -> Table:
        """What happened and when."""
        table = Table(title="What happened", title_justify="left", header_style="bold")
        for heading, justify in (("start", "right"), ("took", "right"), ("step", "left"), ("found", "left")):
            table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]  # a literal in rich's words
        for step in self.steps:
            found = "\n".join(step.facts) if step.outcome == "ok" else step.outcome
            table.add_row(f"{step.start:.1f} s", f"{step.seconds:.1f} s", step.name, found)
        return table


def claim(holds: bool, text: str) -> None:
    """Stop the demo where a claim does not hold.

    Args:
        holds: the claim as it was found.
        text: what should have been, completing "the demo expected that …".

    Raises:
        ServiceError: it does not.
    """
    if not holds:
        raise ServiceError(f"cannot show what the demo claims: it expected that {text}")
