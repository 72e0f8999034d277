"""The figures as people read them: bench/delta/results.md (table and gates) and docs/pictures/delta-*.svg."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accounting import ROOT, table
from drawing import FAINT, GRID, SERIES, WIDTH, Line, draw_lines, frame, text
from engines import ENGINES
from figures import Figures
from pairs import Pair, read_pairs

TABLE = Path(__file__).with_name("results.md")
PICTURES = ROOT / "docs/pictures"
SHOWN = ("suture", "hdiffpatch", "bsdiff", "xdelta3", "zstd_patch_from", "zstd_full")
MEAN_MUST, MEAN_AIM = 23, 31
AIM_OF_EXPERIMENT = {"patch-like": 0.75, "churn": 0.80}
"""Aims against the first experiment: 25 % below it on patch-like pairs, 20 % below where there is churn."""


def bytes_of(content: Mapping[str, Any], pair: str, engine: str) -> int:
    """Patch bytes, 0 where they were not measured."""
    row = content["pairs"].get(pair, {}).get("engines", {}).get(engine, {})
    return int(row.get("patch_bytes", 0))


def cost_of(content: Mapping[str, Any], pair: str, engine: str, verb: str, key: str) -> float | None:
    """One figure of one step, None where it was not measured."""
    row = content["pairs"].get(pair, {}).get("engines", {}).get(engine, {})
    return float(row[verb][key]) if verb in row else None


def size_table(content: Mapping[str, Any], pairs: Sequence[Pair]) -> str:
    """Patch bytes, pair by pair, engine by engine."""
    rows = []
    for pair in pairs:
        known = content["pairs"].get(pair.name)
        if known is None:
            continue
        sizes = {engine: bytes_of(content, pair.name, engine) for engine in SHOWN}
        least = min((size for size in sizes.values() if size), default=0)
        cells = [_cell(content, pair, engine, sizes[engine], least) for engine in SHOWN]
        before = f"{pair.experiment_bytes:,}" if pair.experiment_bytes else ""
        star = " *" if known["stand_in"] else ""
        rows.append((pair.title + star, f"{known['new_bytes']:,}", cells[0], before, *cells[1:]))
    titles = [ENGINES[engine].title for engine in SHOWN]
    return table(("pair", "new file", titles[0], "first experiment", *titles[1:]), rows)


def _cell(content: Mapping[str, Any], pair: Pair, engine: str, size: int, least: int) -> str:
    if size:
        return f"**{size:,}**" if size == least else f"{size:,}"
    return "failed" if content["pairs"][pair.name]["engines"].get(engine, {}).get("failed") else ""


def cost_table(content: Mapping[str, Any], pairs: Sequence[Pair]) -> str:
    """CPU seconds and peak MiB to make and to apply, for us and the two closest peers."""
    rows = []
    for pair in pairs:
        for engine in ("suture", "hdiffpatch", "bsdiff"):
            if not bytes_of(content, pair.name, engine):
                continue
            keys = [("make", "cpu_seconds"), ("make", "peak_mebibytes"), ("apply", "cpu_seconds")]
            keys += [("apply", "peak_mebibytes"), ("apply", "anonymous_mebibytes")]
            figures = [cost_of(content, pair.name, engine, *key) or 0.0 for key in keys]
            shown = [
                f"{value:.2f}" if key[1] == "cpu_seconds" else f"{value:.0f}"
                for key, value in zip(keys, figures, strict=True)
            ]
            rows.append((f"{pair.title}: {ENGINES[engine].title}", *shown))
    head = ("pair and engine", "make, CPU s", "make, MiB", "apply, CPU s", "apply, MiB", "of it anonymous")
    return table(head, rows)


def gate_table(content: Mapping[str, Any], pairs: Sequence[Pair]) -> str:
    """What must hold and what is aimed at, and what was found."""
    rows = [_mean_gate(content, pairs)]
    for pair in pairs:
        ours = bytes_of(content, pair.name, "suture")
        if pair.format == "elf-x86-64" and pair.experiment_bytes and ours and pair.kind in AIM_OF_EXPERIMENT:
            share, aim = ours / pair.experiment_bytes, AIM_OF_EXPERIMENT[pair.kind]
            words = f"{ours:,} B, {share:.2f} of it"
            rows.append((f"{pair.name}: not above the experiment", words, _verdict(share <= 1, share <= aim)))
    limits = (
        ("apply: anonymous MiB, Qt WebEngine 6.8", "apply", "anonymous_mebibytes", 64, 16),
        ("apply: CPU s, Qt WebEngine 6.8", "apply", "cpu_seconds", 2, 1),
        ("encode: CPU s, Qt WebEngine 6.8", "make", "cpu_seconds", 25, 8),
        ("encode: peak MiB, Qt WebEngine 6.8", "make", "peak_mebibytes", 1536, 800),
    )
    for words, verb, key, must, aim in limits:
        value = cost_of(content, "qt68", "suture", verb, key)
        if value is not None:
            rows.append((f"{words} (must {must}, aim {aim})", f"{value:.1f}", _verdict(value <= must, value <= aim)))
    if same := content.get("unchanged"):
        sent = same["sent_bytes"]
        rows.append(("a file that did not change (must 0 B)", f"{sent:,} B", _verdict(sent == 0, sent == 0)))
    rebuilt = bytes_of(content, "webkit", "suture")
    if rebuilt:
        rows.append(
            (
                "a rebuild, 61 bytes differ (must 200 B, aim 120)",
                f"{rebuilt:,} B",
                _verdict(rebuilt <= 200, rebuilt <= 120),
            )
        )
    return table(("what", "found", "verdict"), rows)


def _verdict(must: bool, aim: bool) -> str:
    return ("aim reached" if aim else "holds") if must else "**missed**"


def _mean_gate(content: Mapping[str, Any], pairs: Sequence[Pair]) -> tuple[str, str, str]:
    """The geometric mean of HDiffPatch's bytes over ours."""
    ratios, missing = [], []
    for pair in pairs:
        if pair.in_mean:
            ours, theirs = (bytes_of(content, pair.name, engine) for engine in ("suture", "hdiffpatch"))
            (ratios.append(theirs / ours) if ours and theirs else missing.append(pair.name))
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else 0.0
    words = f"{mean:.1f} times over {len(ratios)} pairs" + (f" (without {', '.join(missing)})" if missing else "")
    name = f"smaller than HDiffPatch, geometric mean (must {MEAN_MUST}, aim {MEAN_AIM})"
    return name, words, _verdict(mean >= MEAN_MUST, mean >= MEAN_AIM)


def draw_sizes(content: Mapping[str, Any], pairs: Sequence[Pair]) -> str:
    """A row a pair, a dot an engine, on one logarithmic axis of bytes."""
    rows = [pair for pair in pairs if any(bytes_of(content, pair.name, engine) for engine in SHOWN)]
    left, right, top, step = 330, WIDTH - 24, 92, 25
    sizes = [size for pair in rows for engine in SHOWN if (size := bytes_of(content, pair.name, engine))]
    sizes += [pair.experiment_bytes for pair in rows if pair.experiment_bytes]
    low, high = math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes)))

    def place(size: float) -> float:
        return left + (right - left) * (math.log10(size) - low) / (high - low)

    parts = [text(16, 28, "Patch bytes, real security releases (logarithmic)", size=17, weight="600")]
    x = 16.0
    for index, engine in enumerate(SHOWN):
        parts.append(f"<circle cx='{x + 5:.0f}' cy='50' r='5' fill='{SERIES[index]}'/>")
        parts.append(text(x + 15, 54, ENGINES[engine].title))
        x += 24 + 6.2 * len(ENGINES[engine].title)
    parts.append(text(x, 54, "| first experiment", colour=FAINT))
    for power in range(low, high + 1):
        line = place(10.0**power)
        parts.append(f"<path d='M{line:.1f} {top - 14}V{top + step * len(rows)}' stroke='{GRID}'/>")
        label = f"{10**power:,} B" if power < 3 else f"{10 ** (power % 3)} {'kMG'[power // 3 - 1]}B"
        parts.append(text(line, top - 18, label, size=11, anchor="middle", colour=FAINT))
    for number, pair in enumerate(rows):
        y = top + step * number + 8
        parts.append(text(left - 12, y + 4, pair.title, anchor="end"))
        dots = [(engine, bytes_of(content, pair.name, engine)) for engine in SHOWN]
        known = [size for _, size in dots if size]
        ends = f"M{place(min(known)):.1f} {y}H{place(max(known)):.1f}"
        parts.append(f"<path d='{ends}' stroke='{GRID}' stroke-width='3'/>")
        if pair.experiment_bytes:
            parts.append(
                f"<path d='M{place(pair.experiment_bytes):.1f} {y - 7}v14' stroke='{FAINT}' stroke-width='2'/>"
            )
        for index, (_, size) in reversed(list(enumerate(dots))):
            if size:
                radius = 6 if index == 0 else 5
                parts.append(f"<circle cx='{place(size):.1f}' cy='{y}' r='{radius}' fill='{SERIES[index]}'/>")
    return frame(parts, top + step * len(rows) + 16)


def draw_growth(content: Mapping[str, Any], pairs: Sequence[Pair]) -> str:
    """CPU and memory by the new file's size: real files, and prefixes of one large file."""

    def real(engine: str, verb: str, key: str) -> list[tuple[float, float]]:
        rows = []
        for pair in pairs:
            value = cost_of(content, pair.name, engine, verb, key)
            if value and pair.format == "elf-x86-64":
                rows.append((content["pairs"][pair.name]["new_bytes"] / 1e6, value))
        return sorted(rows)

    def prefixes(verb: str, key: str) -> list[tuple[float, float]]:
        rows = content.get("growth", {}).get("rows", [])
        return sorted((row["bytes"] / 1e6, row[verb][key]) for row in rows if row[verb][key] > 0)

    def lines(verb: str, key: str) -> list[Line]:
        return [
            Line("Suture, real files", real("suture", verb, key)),
            Line("HDiffPatch", real("hdiffpatch", verb, key)),
            Line("Suture, prefixes", prefixes(verb, key)),
            Line("bsdiff", real("bsdiff", verb, key)),
        ]

    charts = [
        ("encode, CPU s", lines("make", "cpu_seconds")),
        ("encode, peak MiB", lines("make", "peak_mebibytes")),
        ("apply, CPU s", lines("apply", "cpu_seconds")),
        ("apply, anonymous MiB", lines("apply", "anonymous_mebibytes")),
    ]
    return draw_lines("Growth with the file (dashed: linear)", charts, x_label="MB")


def write_report(content: Mapping[str, Any]) -> list[Path]:
    """Write table and pictures.

    Returns:
        What was written.
    """
    pairs = list(read_pairs().values())
    here, pairs_known = content.get("machine", {}), content["pairs"]
    machine = (
        f"The machine: {here.get('cores')} cores ({here.get('processor')}), {here.get('memory_gibibytes')} GiB, Linux "
        f"{here.get('kernel')}, Python {here.get('python')}."
    )
    words = [
        "# The delta engine, measured",
        "",
        "Written by `python bench/delta/measure.py`; the bench is described in [README.md](README.md). Patch",
        "bytes, the smallest in bold. Every patch was applied and the result compared byte for byte.",
        "",
        "![Patch bytes by pair and engine](../../docs/pictures/delta-sizes.svg)",
        "",
        size_table(content, pairs),
        "",
        *(f"\\* {row['title']}: stand-in {row['stand_in']}" for row in pairs_known.values() if row["stand_in"]),
        *(f"Cannot be fetched: {name} ({row['why']})." for name, row in content["unfetched"].items()),
        *(_never(pair) for pair in pairs if pair.name not in pairs_known and pair.name not in content["unfetched"]),
        "",
        "## Gates",
        "",
        gate_table(content, pairs),
        "",
        "## What it costs",
        "",
        "Whole processes, interpreters included; one thread each. Peaks under 10 MiB cannot be told apart.",
        "HDiffPatch runs through its Python package, which holds files and patch in memory; its own `hpatchz` streams.",
        "",
        cost_table(content, pairs),
        "",
        "## Growth",
        "",
        "![CPU and memory by file size](../../docs/pictures/delta-growth.svg)",
        "",
        machine,
    ]
    TABLE.write_text("\n".join(words) + "\n", encoding="utf-8")
    PICTURES.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Callable[[Mapping[str, Any], Sequence[Pair]], str]] = {
        "delta-sizes.svg": draw_sizes,
        "delta-growth.svg": draw_growth,
    }
    for name, draw in drawings.items():
        (PICTURES / name).write_text(draw(content, pairs), encoding="utf-8")
    return [TABLE, *(PICTURES / name for name in drawings)]


def _never(pair: Pair) -> str:
    return f"Not measured yet: {pair.title}."


if __name__ == "__main__":
    for path in write_report(Figures().content):
        print(path.relative_to(ROOT))
