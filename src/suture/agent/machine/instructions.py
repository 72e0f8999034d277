"""What the executor must do next, and what the journal must keep of it."""

from __future__ import annotations

from dataclasses import dataclass

from suture.agent.machine.state import Operation, ProductState


@dataclass(frozen=True, slots=True)
class DoStep:
    """Do the operation's current step; answer with StepDone or StepFailed. Every step is idempotent."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class Scan:
    """Look for users of other trees; answer with Scanned."""


@dataclass(frozen=True, slots=True)
class Prune:
    """Drop staged levels that are neither active nor `keep`."""

    keep: tuple[int, ...]


Instruction = DoStep | Scan | Prune


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the history, kept in the same transaction as the state."""

    level: int
    event: str
    state: str
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A transition's result: the new state, what to do, what to write down. Commit it before doing anything."""

    state: ProductState
    instructions: tuple[Instruction, ...] = ()
    notes: tuple[Note, ...] = ()
