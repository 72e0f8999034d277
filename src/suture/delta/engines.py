"""The registry of engines: each one's number on the wire, its name, and whether it reads the old file.

A number, once released, decodes for ever (spec/delta.md §2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from suture.core.errors import PatchError
from suture.delta import executable, identical, zstandard
from suture.delta.buffers import Output

Encoder = Callable[[memoryview, memoryview, int], bytes | None]
"""(old, new, effort) to a payload, or None where the engine has nothing to offer for this pair."""
Decoder = Callable[[memoryview, memoryview, Output, int], None]
"""(old, payload, output, new size in bytes): gives at most the new size; raises `PatchError` on any bad payload."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to make and apply a payload.

    Attributes:
        number: the engine's byte in the patch header.
        name: what people see.
        reads_old: whether it needs the old bytes; one that does not is given none.
        encode, apply: see `Encoder`, `Decoder`.
    """

    number: int
    name: str
    reads_old: bool
    encode: Encoder
    apply: Decoder


ENGINES: Final[tuple[Engine, ...]] = (
    Engine(1, "copy", True, identical.encode, identical.apply),
    Engine(2, "zstd", False, zstandard.encode_whole, zstandard.apply_whole),
    Engine(3, "zstd-from", True, zstandard.encode_from, zstandard.apply_from),
    Engine(4, "executable", True, executable.encode, executable.apply),
)
"""In the order of their numbers; of two payloads of one size the lower number wins, so builds are deterministic."""

_BY_NUMBER: Final = {engine.number: engine for engine in ENGINES}


def engine_of(number: int) -> Engine:
    """The engine of a header's byte.

    Raises:
        PatchError: a number that this version does not know.
    """
    engine = _BY_NUMBER.get(number)
    if engine is None:
        raise PatchError(f"cannot apply a patch made by engine {number}: this version knows {sorted(_BY_NUMBER)}")
    return engine
