"""The tables of docs/benchmarks.md and the pictures of docs/pictures, from the JSON of the last full run.

Between ``<!-- NAME -->`` and ``<!-- end -->`` the page is written by this; the words around are people's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accounting import KEPT, ROOT, table
from drawing import Bar, Panel, draw_bars

PAGE = ROOT / "docs/benchmarks.md"
PICTURES = ROOT / "docs/pictures"


def patch_size(result: Mapping[str, Any]) -> tuple[str, str]:
    """Table and picture."""
    ours = result["ways"]["suture"]["patch_bytes"]
    rows = []
    for name, way in sorted(result["ways"].items(), key=lambda item: item[1]["patch_bytes"]):
        make, apply = way["make"], way["apply"]
        title = f"**{way['title']}**" if name == "suture" else way["title"]
        costs = [(step["cpu_seconds"], step["peak_mebibytes"]) for step in (make, apply)]
        shown = [figure for cpu, peak in costs for figure in (f"{cpu:.2f}", f"{peak:.0f}")]
        rows.append((title, f"{way['patch_bytes']:,}", f"{way['patch_bytes'] / ours:.2f}", *shown))
    head = ("way", "bytes", "of ours", "make, CPU s", "make, MiB", "apply, CPU s", "apply, MiB")
    given, built = result["input"], result["publisher_build"]
    pair = f"{given['package']} {given['old']} → {given['new']}"
    make = built["make"]
    before = (
        f"{pair}, {given['new_files']} files, {given['new_tree_bytes']:,} bytes; the wheel itself is "
        f"{given['new_wheel_bytes']:,} bytes. Medians of {result['rounds']} rounds; every result was "
        "compared byte for byte."
    )
    after = (
        f"`suture publisher build` on the same trees: {built['patch_bytes']:,} bytes of patch, and "
        f"{built['manifest_index_rollout_bytes']:,} of manifest, index and rollout; "
        f"{make['cpu_seconds']:.2f} CPU s and {make['peak_mebibytes']:.0f} MiB, with the patch applied and compared, "
        "and the advisory written and validated."
    )
    words = [before, "", table(head, rows), "", after]
    words += ["", *(f"Left out: {name} ({why})." for name, why in result["left_out"].items())]

    def kind(name: str) -> str:
        return "ours" if name == "suture" else "peer"

    ways = sorted(result["ways"].items(), key=lambda item: item[1]["patch_bytes"])
    panels = [
        Panel(
            "bytes a device downloads",
            [Bar(way["title"], way["patch_bytes"], f"{way['patch_bytes']:,}", kind(name)) for name, way in ways],
        ),
        Panel(
            "CPU seconds to make",
            [Bar(w["title"], w["make"]["cpu_seconds"], f"{w['make']['cpu_seconds']:.2f}", kind(n)) for n, w in ways],
        ),
        Panel(
            "CPU seconds to apply",
            [Bar(w["title"], w["apply"]["cpu_seconds"], f"{w['apply']['cpu_seconds']:.2f}", kind(n)) for n, w in ways],
        ),
    ]
    return "\n".join(words).rstrip(), draw_bars(f"One fix of {given['package']}: the patch and its cost", panels)


def no_change_poll(result: Mapping[str, Any]) -> tuple[str, str]:
    """Table and picture."""
    keys = {
        "requests": "requests",
        "connections": "connections",
        "bytes_sent_by_server": "bytes of answers",
        "cpu_milliseconds": "CPU ms",
        "peak_mebibytes": "peak MiB",
    }
    rows, panels = [], []
    for transport, shown in result["transports"].items():
        for way, median in shown["medians"].items():
            rows.append((f"{way}, {transport}", *(f"{median[key]:g}" for key in keys)))
        rows.append((f"*peer ÷ ours, {transport}*", *(f"{shown['peer_over_ours'][key] or 0:g}" for key in keys)))
        medians = shown["medians"].items()
        kinds = {"suture": "ours", "bare interpreter": "floor"}
        panels += [
            Panel(
                f"{words}, {transport}",
                [Bar(way, row[key], f"{row[key]:g}", kinds.get(way, "peer")) for way, row in medians],
            )
            for key, words in keys.items()
            if transport == "https" and key not in ("requests", "connections")
        ]
    words = f"Over loopback, fresh processes in turn, medians of {result['rounds']} rounds.\n\n"
    return words + table(("who", *keys.values()), rows), draw_bars(
        "A poll that finds nothing new", panels, label_width=150
    )


def status_time(result: Mapping[str, Any]) -> tuple[str, str]:
    """Table and picture."""
    rows = [
        (way, *(f"{row[f'{key}_milliseconds']:g}" for key in ("median", "p90", "least", "median_cpu")))
        for way, row in result["ways"].items()
    ]
    words = (
        f"{result['rounds']} rounds in turn on a device with one improvement in place. Aim: under "
        f"{result['aim_milliseconds']} ms. `suture status` takes {result['over_floor']:g} times what an "
        "empty Python takes.\n\n"
    )
    bars = [
        Bar(
            way,
            row["median_milliseconds"],
            f"{row['median_milliseconds']:g} ms",
            "ours" if "suture" in way else "floor",
        )
        for way, row in result["ways"].items()
    ]
    picture = draw_bars("suture status", [Panel("median wall time", bars)], label_width=150)
    return words + table(("command", "median ms", "90 % under ms", "least ms", "CPU, median ms"), rows), picture


def swap_under_opens(result: Mapping[str, Any]) -> tuple[str, str]:
    """Table; no picture."""
    rows = [
        ("swaps", f"{result['swaps']:,}"),
        ("opens meanwhile", f"{result['opens']:,}"),
        ("opens that failed", f"{result['errors']:,}"),
        ("opens that saw neither the one tree nor the other", f"{result['strange']:,}"),
        ("swap, median ms", f"{result['swap_median_milliseconds']:.2f}"),
        ("swap, 99 % under ms", f"{result['swap_p99_milliseconds']:.2f}"),
        ("swap, worst ms", f"{result['swap_worst_milliseconds']:.2f}"),
    ]
    words = f"On {result['file_system']}; each swap with its fsync.\n\n"
    return words + table(("what", "figure"), rows), ""


BENCHES = {
    "patch_size": patch_size,
    "no_change_poll": no_change_poll,
    "status_time": status_time,
    "swap_under_opens": swap_under_opens,
}


def machine_words(here: Mapping[str, Any]) -> str:
    """The sentence about the machine."""
    return (
        f"{here['cores']} cores ({here['processor']}, {here['architecture']}), {here['memory_gibibytes']} GiB, Linux "
        f"{here['kernel']}, Python {here['python']}; load when the bench began: {here['load_at_start']:g}."
    )


def write_pages(directory: Path = KEPT) -> list[Path]:
    """Write the page's tables and the pictures from the JSON that is there.

    Returns:
        What was written.
    """
    page, written = PAGE.read_text(encoding="utf-8"), []
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, render in BENCHES.items():
        path = directory / f"{name}.json"
        if not path.exists():
            print(f"no figures for {name} in {directory}: its part of the page stays")
            continue
        result = json.loads(path.read_text())
        words, picture = render(result)
        block = f"<!-- {name} -->\n{words}\n\nThe machine: {machine_words(result['machine'])}\n<!-- end -->"
        place = re.search(rf"<!-- {name} -->.*?<!-- end -->", page, flags=re.DOTALL)
        assert place is not None, f"{PAGE} has no place for {name}"
        page = page[: place.start()] + block + page[place.end() :]
        if picture:
            (PICTURES / f"{name}.svg").write_text(picture, encoding="utf-8")
            written.append(PICTURES / f"{name}.svg")
    PAGE.write_text(page, encoding="utf-8")
    return [PAGE, *written]


if __name__ == "__main__":
    for one in write_pages():
        print(one.relative_to(ROOT))
