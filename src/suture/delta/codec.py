"""The patch format ``SUTD`` and the choice among engines (spec/delta.md §1, §4).

Every size that bounds work is the caller's signed `new_size`; the header's own numbers are only compared with it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from suture.core.errors import InputError, PatchError
from suture.core.limits import MAXIMUM_FILE_BYTES, MIB
from suture.delta import executable
from suture.delta.buffers import Buffer, Output, view_of
from suture.delta.engines import ENGINES, Engine, engine_of
from suture.delta.executable import Share

MAGIC: Final = b"SUTD"
FORMAT_VERSION: Final = 1
_HEADER: Final = struct.Struct("<4sBBHQQ")
"""Magic, format version, engine, reserved (0), old size, new size; little-endian."""
DEFAULT_EFFORT: Final = 19
"""Zstandard's compression level; publishers pay once, every device gains. 1 … 22."""
_EFFORTS: Final = range(1, 23)
_TRIAL_FROM_BYTES: Final = 4 * MIB
"""New files larger than this are first tried at a low level: level 19 takes minutes for what cannot win."""
_TRIAL_EFFORT: Final = 1
_TRIAL_HOPELESS: Final = 4
"""A trial this many times larger than the best so far is not tried again: level 19 gains a half at most, not more."""


@dataclass(frozen=True, slots=True)
class PatchInfo:
    """What a delta says of itself. Sizes in bytes; `old_size` is 0 where the engine reads no old file."""

    format_version: int
    engine: str
    reads_old: bool
    old_size: int
    new_size: int
    payload_size: int


def engine_names() -> tuple[str, ...]:
    """The engines that this version knows."""
    return tuple(engine.name for engine in ENGINES)


def encode(old: Buffer, new: Buffer, *, effort: int = DEFAULT_EFFORT) -> bytes:
    """The smallest patch from old to new: every engine tries, each candidate is applied and compared.

    Args:
        old: the old file's bytes, or ``b""`` where there is none.
        new: the new file's bytes.
        effort: Zstandard level, 1 … 22.

    Returns:
        A patch that `apply` turns into exactly `new`. The same bytes for the same arguments and zstd library.

    Raises:
        InputError: an effort out of range, or a file over `MAXIMUM_FILE_BYTES`.
    """
    if effort not in _EFFORTS:
        raise InputError(f"cannot compress with level {effort}: levels go from 1 to 22")
    with view_of(old) as old_view, view_of(new) as new_view:
        if max(len(old_view), len(new_view)) > MAXIMUM_FILE_BYTES:
            raise InputError(f"cannot make a patch: a file is larger than {MAXIMUM_FILE_BYTES:,} bytes")
        best: bytes | None = None
        for engine in _order(len(new_view)):
            if best is not None and _is_hopeless(engine, old_view, new_view, effort, len(best)):
                continue
            candidate = _candidate(engine, old_view, new_view, effort)
            if candidate is not None and (best is None or _rank(candidate) < _rank(best)):
                best = candidate
            if engine.name == "copy" and best is not None:
                break  # nothing is smaller than an empty payload
    if best is None:
        raise PatchError("cannot make a patch: no engine gave back the right bytes")
    return best


def apply(old: Buffer, patch: Buffer, out: Output, *, new_size: int) -> None:
    """Give the new bytes to `out`, a chunk at a time, never more than `new_size` of them.

    Args:
        old: the old file's bytes; not looked at by an engine that needs none.
        patch: what `encode` gave, or anything at all.
        out: takes the chunks in order. What it raises passes through. What it took before a `PatchError` is worthless.
        new_size: the new file's size in bytes, from a signed value.

    Raises:
        PatchError: the patch is malformed, made for another old or new size, or gives another number of bytes.
    """
    with view_of(patch) as patch_view, view_of(old) as old_view:
        info, engine = _read_header(patch_view)
        if info.new_size != new_size:
            raise PatchError(f"cannot apply the patch: it is for a file of {info.new_size:,} bytes, not {new_size:,}")
        if engine.reads_old and info.old_size != len(old_view):
            raise PatchError(
                f"cannot apply the patch: it reads a file of {info.old_size:,} bytes, not {len(old_view):,}"
            )
        with patch_view[_HEADER.size :] as payload, old_view[: info.old_size] as readable:
            engine.apply(readable, payload, out, new_size)


def inspect(patch: Buffer) -> PatchInfo:
    """What a patch says of itself, unverified.

    Raises:
        PatchError: no patch, or one of a later version.
    """
    with view_of(patch) as view:
        return _read_header(view)[0]


@dataclass(frozen=True, slots=True)
class Payload:
    """A delta without its header, for containers that keep engine and sizes themselves.

    Attributes:
        engine: the engine's number (spec/delta.md §2).
        data: the payload, which is the rest of the delta.
    """

    engine: int
    data: bytes


def payload_of(patch: Buffer) -> Payload:
    """Take a delta's header off.

    Raises:
        PatchError: no patch, or one of a later version.
    """
    with view_of(patch) as view:
        return Payload(_read_header(view)[1].number, bytes(view[_HEADER.size :]))


def apply_payload(engine: int, old: Buffer, payload: Buffer, out: Output, *, new_size: int) -> None:
    """As `apply`, of a delta whose header was taken off: `old` and `new_size` come from signed values.

    Raises:
        PatchError: an unknown engine, a malformed payload, or it gives another number of bytes.
    """
    chosen = engine_of(engine)
    with view_of(payload) as payload_view, view_of(old if chosen.reads_old else b"") as old_view:
        chosen.apply(old_view, payload_view, out, new_size)


def engine_name(engine: int) -> str:
    """What people see of an engine's number; its digits where this version does not know it."""
    return next((known.name for known in ENGINES if known.number == engine), str(engine))


def explain(old: Buffer, patch: Buffer) -> tuple[Share, ...]:
    """Where the bytes of a patch of the executable-aware engine go; nothing for another engine's.

    Args:
        old: the old file's bytes, as for `apply`: without them a patch says nothing.
        patch: what `encode` gave.

    Raises:
        PatchError: as `apply`.
    """
    with view_of(patch) as patch_view, view_of(old) as old_view:
        info, engine = _read_header(patch_view)
        if engine.name != "executable":
            return ()
        if info.old_size != len(old_view):
            raise PatchError(
                f"cannot explain the patch: it reads a file of {info.old_size:,} bytes, not {len(old_view):,}"
            )
        with patch_view[_HEADER.size :] as payload:
            return executable.explain(old_view, payload, info.new_size)


def _order(new_size: int) -> tuple[Engine, ...]:
    """By number; for large files what is quick and mostly wins comes first, so that the rest can be judged by it."""
    if new_size <= _TRIAL_FROM_BYTES:
        return ENGINES
    return tuple(sorted(ENGINES, key=lambda engine: (engine.name not in ("copy", "executable"), engine.number)))


def _rank(patch: bytes) -> tuple[int, int]:
    """Smaller first; of equal sizes the lower engine number."""
    return len(patch), patch[5]


def _is_hopeless(engine: Engine, old: memoryview, new: memoryview, effort: int, best: int) -> bool:
    """Whether a cheap trial says that the engine's real work is in vain."""
    if len(new) <= _TRIAL_FROM_BYTES or not engine.name.startswith("zstd") or effort <= _TRIAL_EFFORT:
        return False
    if not engine.reads_old and best * _TRIAL_HOPELESS * 8 < len(new):
        return True  # without the old file not even an eighth is in reach for what is executable or compressed
    trial = engine.encode(old, new, _TRIAL_EFFORT)
    return trial is None or len(trial) > best * _TRIAL_HOPELESS


def _candidate(engine: Engine, old: memoryview, new: memoryview, effort: int) -> bytes | None:
    """The engine's whole patch, if it has one and it gives back exactly `new`."""
    payload = engine.encode(old, new, effort)
    if payload is None:
        return None
    old_size = len(old) if engine.reads_old else 0
    patch = _HEADER.pack(MAGIC, FORMAT_VERSION, engine.number, 0, old_size, len(new)) + payload
    comparison = _Comparison(new)
    try:
        apply(old, patch, comparison.take, new_size=len(new))
    except PatchError:
        return None  # an engine that cannot undo its own work has no say
    return patch if comparison.equal else None


class _Comparison:
    """An output that only compares."""

    __slots__ = ("_expected", "_position", "equal")

    def __init__(self, expected: memoryview) -> None:
        self._expected = expected
        self._position = 0
        self.equal = True

    def take(self, chunk: bytes) -> None:
        end = self._position + len(chunk)
        self.equal = self.equal and self._expected[self._position : end] == chunk
        self._position = end


def _read_header(patch: memoryview) -> tuple[PatchInfo, Engine]:
    if len(patch) < _HEADER.size or bytes(patch[:4]) != MAGIC:
        raise PatchError("cannot read the patch: it is no Suture delta")
    _, version, number, reserved, old_size, new_size = _HEADER.unpack_from(patch)
    if version != FORMAT_VERSION or reserved:
        raise PatchError(f"cannot read the patch: its format version {version} is not {FORMAT_VERSION}")
    engine = engine_of(number)
    if max(old_size, new_size) > MAXIMUM_FILE_BYTES:
        raise PatchError(f"cannot read the patch: it names a file larger than {MAXIMUM_FILE_BYTES:,} bytes")
    if not engine.reads_old and old_size:
        raise PatchError("cannot read the patch: an engine that reads no old file names the size of one")
    info = PatchInfo(version, engine.name, engine.reads_old, old_size, new_size, len(patch) - _HEADER.size)
    return info, engine
