"""The picture of the time line: the publisher, the device, the service and its clients, one below the other.

Draws from what was recorded; measures nothing and decides nothing.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib.figure import Figure

BIN_SECONDS = 1.0
CHARACTER_SHARE = 0.0066
"""A character's width as a share of the picture's."""
INK = "#1f2933"
FAINT = "#9aa5b1"
WRONG = "#c4314b"
GOOD = "#2f7d4f"
COLOURS = {"old": "#d98e2b", "new": "#2f7d8c", "bad": "#c4314b", "wait": "#b9c4cf"}
"""Orange for the flawed version, teal for the fixed one: told apart by the colour-blind, and in grey."""
_PAPER: Any = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: seconds since the start, and what."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that lasted, from `start` to `end` seconds since the start. `kind`: a key of `COLOURS`."""

    start: float
    end: float
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A request's end in seconds since the start, the version that answered (``old`` or ``new``), and whether well."""

    at: float
    kind: str
    ok: bool


@dataclass(frozen=True, slots=True)
class TimeLine:
    """Everything in the picture. `seconds` is its length, `labels` say what ``old`` and ``new`` are."""

    title: str
    subtitle: str
    seconds: float
    publisher: Sequence[Mark]
    device: Sequence[Bar]
    device_marks: Sequence[Mark]
    service: Sequence[Bar]
    refusals: Sequence[Mark]
    """Hand-overs that failed: the new worker was not ready, and the old one went on."""
    answers: Sequence[Answer]
    swaps: Sequence[float]
    labels: dict[str, str]


def draw(line: TimeLine, directory: Path) -> tuple[Path, Path]:
    """Write ``timeline.svg`` and ``timeline.png``.

    Args:
        line: what happened.
        directory: where the two go.

    Returns:
        Their paths.
    """
    style: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "svg.hashsalt": "suture",
        "svg.fonttype": "none",
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(14, 7.8), facecolor="white")
        axes = figure.subplots(4, 1, sharex=True, gridspec_kw={"height_ratios": [0.8, 1.75, 0.85, 1.9], "hspace": 0.16})
        figure.subplots_adjust(left=0.095, right=0.985, top=0.875, bottom=0.08)
        figure.text(0.012, 0.953, line.title, fontsize=15, fontweight="bold")
        figure.text(0.012, 0.914, line.subtitle, fontsize=10.5, color="#52606d")
        _draw_marks(axes[0], line.publisher, line.seconds, "Publisher", rows=2)
        _draw_device(axes[1], line)
        _draw_service(axes[2], line)
        _draw_load(axes[3], line)
        for axis in axes:
            axis.set_xlim(0, line.seconds)
            for swap in line.swaps:
                axis.axvline(swap, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
        svg, png = directory / "timeline.svg", directory / "timeline.png"
        figure.savefig(svg, metadata={"Date": None})
        figure.savefig(png, dpi=110)
    return svg, png


def spans_of(marks: Sequence[Mark], seconds: float) -> list[tuple[float, float]]:
    """From where to where each mark and its text reach: to the right, or to the left where it would leave the picture.

    Args:
        marks: what is to be written.
        seconds: the picture's length.
    """
    spans = []
    for mark in marks:
        width = (len(_words(mark)) + 2) * CHARACTER_SHARE * seconds
        right = mark.at + width <= seconds
        spans.append((mark.at, mark.at + width) if right else (mark.at - width, mark.at))
    return spans


def rows_for(spans: Sequence[tuple[float, float]], rows: int) -> list[int]:
    """A row for each span so that no two in a row overlap; where that cannot be, the row with the fewest.

    Args:
        spans: beginnings and ends.
        rows: how many rows there are.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(rows)]
    chosen = []
    for start, end in spans:
        free = (row for row in range(rows) if all(end < other[0] or other[1] < start for other in taken[row]))
        row = next(free, min(range(rows), key=lambda row: len(taken[row])))
        taken[row].append((start, end))
        chosen.append(row)
    return chosen


def _words(mark: Mark) -> str:
    return f"{mark.at:.1f} s  {mark.text}"


def _plain_lane(axis: Any, name: str) -> None:
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="x", length=0)
    axis.text(-0.008, 0.5, name, transform=axis.transAxes, ha="right", va="center", fontsize=11, fontweight="bold")


def _draw_marks(axis: Any, marks: Sequence[Mark], seconds: float, name: str, *, rows: int, top: float = 1.0) -> None:
    _plain_lane(axis, name)
    spans = spans_of(marks, seconds)
    for mark, span, row in zip(marks, spans, rows_for(spans, rows), strict=True):
        height = top * (row + 0.75) / (rows + 0.3)
        axis.plot([mark.at, mark.at], [0, height], color=INK, linewidth=0.9)
        axis.plot([mark.at], [height], marker="o", markersize=4, color=INK, clip_on=False)
        left = span[0] < mark.at
        axis.text(
            mark.at + (-1 if left else 1) * 0.005 * seconds,
            height,
            _words(mark),
            ha="right" if left else "left",
            va="center",
            fontsize=9.5,
            bbox=_PAPER,
        )


def _draw_bars(axis: Any, bars: Sequence[Bar], low: float, high: float, seconds: float) -> None:
    for bar in bars:
        length = max(bar.end - bar.start, 0.0015 * seconds)
        axis.barh(
            (low + high) / 2,
            length,
            left=bar.start,
            height=high - low,
            color=COLOURS[bar.kind],
            edgecolor="white",
            linewidth=0.8,
        )
        words = next((words for words in (bar.text, bar.text.split(" · ")[0]) if _fits(words, length, seconds)), "")
        dark = bar.kind == "wait"
        axis.text(
            bar.start + length / 2,
            (low + high) / 2,
            words,
            ha="center",
            va="center",
            fontsize=9.5,
            color=INK if dark else "white",
            fontweight="bold",
        )


def _fits(words: str, length: float, seconds: float) -> bool:
    return len(words) * 1.08 * CHARACTER_SHARE * seconds < length


def _draw_device(axis: Any, line: TimeLine) -> None:
    _draw_marks(axis, line.device_marks, line.seconds, "Device", rows=4, top=0.9)
    axis.set_ylim(-0.42, 0.92)
    axis.text(-0.008, 0.3, "grey: on its way", transform=axis.transAxes, ha="right", va="center", fontsize=8.5)
    _draw_bars(axis, line.device, -0.4, -0.04, line.seconds)


def _draw_service(axis: Any, line: TimeLine) -> None:
    _plain_lane(axis, "Service")
    _draw_bars(axis, line.service, 0.06, 0.58, line.seconds)
    for mark in line.refusals:
        axis.plot([mark.at], [0.8], marker="X", markersize=8, color=WRONG, markeredgecolor="white", clip_on=False)
        words = {"va": "center", "fontsize": 9.5, "color": WRONG}
        axis.text(mark.at + 0.008 * line.seconds, 0.8, _words(mark), bbox=_PAPER, **words)


def _draw_load(axis: Any, line: TimeLine) -> None:
    count = int(line.seconds / BIN_SECONDS) + 1
    edges = [number * BIN_SECONDS for number in range(count + 1)]
    bins: dict[str, list[int]] = {kind: [0] * count for kind in ("old", "new", "wrong")}
    for answer in line.answers:
        place = bisect.bisect_right(edges, answer.at) - 1
        if 0 <= place < count:
            bins[answer.kind if answer.ok else "wrong"][place] += 1
    bottom = [0] * count
    total, failed = len(line.answers), sum(1 for answer in line.answers if not answer.ok)
    labels = {
        "old": f"answered by {line.labels['old']}",
        "new": f"answered by {line.labels['new']}",
        "wrong": f"failed: {failed:,} of {total:,}",
    }
    for kind, colour in (("old", COLOURS["old"]), ("new", COLOURS["new"]), ("wrong", WRONG)):
        axis.bar(
            [edge + BIN_SECONDS / 2 for edge in edges[:count]],
            bins[kind],
            width=BIN_SECONDS * 0.9,
            bottom=bottom,
            color=colour,
            label=labels[kind],
        )
        bottom = [below + above for below, above in zip(bottom, bins[kind], strict=True)]
    axis.set_ylim(0, max([*bottom, 1]) * 1.42)
    axis.set_xlabel("seconds since the service's first request")
    axis.set_ylabel("")
    axis.text(
        -0.03, 0.5, "Requests\na second", transform=axis.transAxes, ha="right", va="center", fontsize=11,
        fontweight="bold",
    )  # fmt: skip
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    legend = axis.legend(loc="upper right", ncols=3, frameon=True, edgecolor="none", framealpha=1, fontsize=10)
    for text in legend.get_texts():
        if text.get_text().startswith("failed"):
            text.set_color(GOOD if failed == 0 else WRONG)
            text.set_fontweight("bold")
