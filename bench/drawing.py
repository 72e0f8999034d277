"""Hand-written SVG: bars and lines from the benches' figures. Draws what it is given; measures and decides nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 860
INK, FAINT, GRID = "#1f2933", "#66727f", "#d5dbe1"
OURS, THEIRS, FLOOR = "#2f7d8c", "#d98e2b", "#b9c4cf"
"""Teal for Suture, orange for peers, grey for floors: told apart by the colour-blind, and in grey."""
FONT = "font-family='system-ui,Helvetica,Arial,sans-serif'"
SERIES = ("#2f7d8c", "#d98e2b", "#7a5195", "#9aa5b1", "#c4314b", "#4b7f52")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar. `kind`: ``ours``, ``peer`` or ``floor``; `text` is what stands at its end."""

    label: str
    value: float
    text: str
    kind: str = "peer"


@dataclass(frozen=True, slots=True)
class Panel:
    """A group of bars with one scale."""

    title: str
    bars: Sequence[Bar]
    logarithmic: bool = False


def draw_bars(title: str, panels: Sequence[Panel], *, label_width: int = 290) -> str:
    """An SVG of panels of horizontal bars, one below the other."""
    parts, y = [text(16, 28, title, size=17, weight="600")], 52
    for panel in panels:
        parts.append(text(16, y + 4, panel.title, size=13, colour=FAINT))
        y += 14
        room = WIDTH - label_width - 130
        most = max(bar.value for bar in panel.bars) or 1
        positive = [bar.value for bar in panel.bars if bar.value > 0]
        least = 10 ** math.floor(math.log10(min(positive))) if panel.logarithmic and positive else 0
        for bar in panel.bars:
            share = bar.value / most
            if panel.logarithmic:
                share = math.log10(max(bar.value, least) / least) / max(0.01, math.log10(most / least))
            colour = {"ours": OURS, "peer": THEIRS, "floor": FLOOR}[bar.kind]
            parts.append(text(label_width, y + 13, bar.label, anchor="end", weight="600" if bar.kind == "ours" else ""))
            long = max(2.0, room * share)
            parts.append(f"<rect x='{label_width + 8}' y='{y}' width='{long:.1f}' height='17' fill='{colour}'/>")
            parts.append(text(label_width + 14 + long, y + 13, bar.text))
            y += 23
        y += 18
    return frame(parts, y)


@dataclass(frozen=True, slots=True)
class Line:
    """A series of points (x, y)."""

    label: str
    points: Sequence[tuple[float, float]]


def draw_lines(title: str, charts: Sequence[tuple[str, Sequence[Line]]], *, x_label: str) -> str:
    """An SVG of charts with logarithmic axes, one beside the other; a slope of 1 is drawn dashed in each."""
    wide, high, top = (WIDTH - 40) / len(charts), 250, 62
    parts = [text(16, 28, title, size=17, weight="600")]
    for number, (heading, lines) in enumerate(charts):
        left, right = 16 + number * wide + 44, 16 + (number + 1) * wide - 18
        points = [point for line in lines for point in line.points if min(point) > 0]
        if not points:
            continue
        xs = (_decade(min(x for x, _ in points), down=True), _decade(max(x for x, _ in points), down=False))
        ys = (_decade(min(y for _, y in points), down=True), _decade(max(y for _, y in points), down=False))

        def place_x(x: float, xs=xs, left=left, right=right) -> float:  # type: ignore[no-untyped-def]
            return left + (right - left) * (math.log10(x) - xs[0]) / max(1, xs[1] - xs[0])

        def place_y(y: float, ys=ys) -> float:  # type: ignore[no-untyped-def]
            return top + high - high * (math.log10(y) - ys[0]) / max(1, ys[1] - ys[0])

        parts.append(text(left, top - 12, heading, size=13, colour=FAINT))
        for power in range(ys[0], ys[1] + 1):
            y = place_y(10.0**power)
            parts.append(f"<path d='M{left:.1f} {y:.1f}H{right:.1f}' stroke='{GRID}'/>")
            parts.append(text(left - 6, y + 4, f"{10.0**power:g}", size=11, anchor="end", colour=FAINT))
        for power in range(xs[0], xs[1] + 1):
            x = place_x(10.0**power)
            parts.append(f"<path d='M{x:.1f} {top}V{top + high}' stroke='{GRID}'/>")
            parts.append(text(x, top + high + 16, f"{10.0**power:g}", size=11, anchor="middle", colour=FAINT))
        parts.append(text((left + right) / 2, top + high + 34, x_label, size=12, anchor="middle", colour=FAINT))
        for index, line in enumerate(lines):
            colour = SERIES[index % len(SERIES)]
            placed = [(place_x(x), place_y(y)) for x, y in line.points if x > 0 and y > 0]
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
            parts.append(f"<path d='M{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
            parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>" for x, y in placed]
            if number == 0:
                parts.append(
                    f"<rect x='{24 + index * 130}' y='{top + high + 52}' width='12' height='12' fill='{colour}'/>"
                )
                parts.append(text(42 + index * 130, top + high + 63, line.label))
        middle = tuple(math.log10(value) for value in sorted(points)[len(points) // 2])
        down, up = min(middle[0] - xs[0], middle[1] - ys[0]), min(xs[1] - middle[0], ys[1] - middle[1])
        ends = [(10 ** (middle[0] + step), 10 ** (middle[1] + step)) for step in (-down, up)]
        path = "L".join(f"{place_x(x):.1f} {place_y(y):.1f}" for x, y in ends)
        parts.append(f"<path d='M{path}' stroke='{FAINT}' stroke-dasharray='4 4'/>")
    return frame(parts, top + high + 82)


def _decade(value: float, *, down: bool) -> int:
    return math.floor(math.log10(value)) if down else math.ceil(math.log10(value) - 1e-9)


def text(
    x: float, y: float, words: str, *, size: int = 12, anchor: str = "", colour: str = INK, weight: str = ""
) -> str:
    """A line of text."""
    more = (f" text-anchor='{anchor}'" if anchor else "") + (f" font-weight='{weight}'" if weight else "")
    return f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' fill='{colour}'{more}>{escape(words)}</text>"


def frame(parts: Sequence[str], height: float) -> str:
    """The picture around its parts, on white paper, so that it reads on dark pages too."""
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0f}' role='img' {FONT}>"
    return "\n".join([head, f"<rect width='{WIDTH}' height='{height:.0f}' fill='white'/>", *parts, "</svg>"]) + "\n"
