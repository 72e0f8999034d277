"""Which files of a patch share one stream: several plans are made, each is weighed whole, the smallest ships. Pure.

Text shares words, and a small file's own frame costs more than it holds; executables are better alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from suture import delta
from suture.core.limits import KIB, MIB
from suture.delta import SOLID_NEW_BYTES, SOLID_OLD_BYTES, Buffer, Payload
from suture.improvement.container_parts import MAXIMUM_GROUPS
from suture.improvement.solid import prefix_of
from suture.improvement.tree import FileEntry

COPY: Final = "copy"
_ZSTANDARD: Final = frozenset({"zstd", "zstd-from"})
_TEXT_LOOKED_AT_BYTES: Final = 8 * KIB
_LARGEST_BINARY: Final = 4 * MIB
_SMALL_PAYLOADS: Final = (0, 2 * KIB, 32 * KIB)
"""Bytes: files that are no text join a plan's groups where their own payload has at most this."""
Rank: TypeAlias = tuple[int, bytes | int]
"""Sorts old paths as their numbers in the container will be."""
MEMBER_BYTES: Final = 5
"""About what a file with a payload of its own costs in the header more than one in a group."""


@dataclass(frozen=True, slots=True)
class Alone:
    """A file of the layer with its best payload of its own, and the old file that was tried for it."""

    entry: FileEntry
    source: FileEntry | None
    payload: Payload
    reads_old: bool
    is_text: bool

    @property
    def engine(self) -> str:
        """The engine's name."""
        return delta.engine_name(self.payload.engine)


@dataclass(frozen=True, slots=True)
class SolidGroup:
    """A made group. `members`: positions among the layer's files; `sources`: old files, in the order of their rank."""

    members: tuple[int, ...]
    sources: tuple[FileEntry, ...]
    frame: bytes


def looks_like_text(data: Buffer) -> bool:
    """No NUL among the first bytes, as git and grep tell it."""
    with delta.view_of(data) as view:
        return b"\0" not in bytes(view[:_TEXT_LOOKED_AT_BYTES])


def choose_groups(
    files: Sequence[Alone],
    lines: bytes,
    rank: Callable[[str], Rank],
    read_from: Callable[[FileEntry], Buffer],
    read_new: Callable[[FileEntry], Buffer],
    effort: int,
) -> tuple[SolidGroup, ...]:
    """The groups of the plan with the fewest bytes; none where every file is smaller alone.

    Args:
        files: of the layer, in its order.
        lines: `solid.layer_lines`.
        rank: of an old path; a prefix is in this order.
        read_from, read_new: checked bytes of an old and a new file.
        effort: Zstandard level.
    """
    best: tuple[SolidGroup, ...] = ()
    least = sum(len(file.payload.data) + MEMBER_BYTES for file in files)
    for plan in _plans(files):
        parts = tuple(_split(plan, files))[:MAXIMUM_GROUPS]
        groups = tuple(_make_group(part, files, lines, rank, read_from, read_new, effort) for part in parts)
        grouped = {number for group in groups for number in group.members}
        weight = sum(len(file.payload.data) + MEMBER_BYTES for n, file in enumerate(files) if n not in grouped)
        weight += sum(len(group.frame) + len(group.members) + len(group.sources) for group in groups)
        if weight < least:
            best, least = groups, weight
    return best


def _plans(files: Sequence[Alone]) -> list[tuple[int, ...]]:
    """Text alone, with and without what another engine took; then with ever larger deltas of small binaries."""
    fitting = [number for number, file in enumerate(files) if _fits(file)]
    zstandard = [number for number in fitting if files[number].engine in _ZSTANDARD]
    plans = [tuple(number for number in fitting if files[number].is_text)]
    for most in _SMALL_PAYLOADS:
        plans.append(tuple(n for n in zstandard if files[n].is_text or len(files[n].payload.data) <= most))
    return [plan for number, plan in enumerate(plans) if plan and plan not in plans[:number]]


def _fits(file: Alone) -> bool:
    source = 0 if file.source is None else file.source.size
    return (
        file.engine != COPY
        and file.entry.size <= (SOLID_NEW_BYTES if file.is_text else _LARGEST_BINARY)
        and source <= SOLID_OLD_BYTES
    )


def _split(plan: tuple[int, ...], files: Sequence[Alone]) -> Iterator[tuple[int, ...]]:
    """The plan in parts whose new and old bytes keep the bounds of a group; none without any new byte."""
    part: list[int] = []
    new = old = 0
    for number in plan:
        source = files[number].source
        size = 0 if source is None else source.size
        if part and (new + files[number].entry.size > SOLID_NEW_BYTES or old + size > SOLID_OLD_BYTES):
            yield tuple(part)
            part, new, old = [], 0, 0
        part.append(number)
        new += files[number].entry.size
        old += size
    if new:
        yield tuple(part)


def _make_group(
    part: tuple[int, ...],
    files: Sequence[Alone],
    lines: bytes,
    rank: Callable[[str], Rank],
    read_from: Callable[[FileEntry], Buffer],
    read_new: Callable[[FileEntry], Buffer],
    effort: int,
) -> SolidGroup:
    by_path = {source.path: source for number in part if (source := files[number].source) is not None}
    sources = tuple(by_path[path] for path in sorted(by_path, key=rank))
    new = bytearray()
    for number in part:
        with delta.view_of(read_new(files[number].entry)) as view:
            new += view
    prefix = prefix_of((read_from(source) for source in sources), lines)
    return SolidGroup(part, sources, delta.encode_solid(prefix, new, effort))
