"""Time and memory by file size: prefixes of the largest pair, 1 to 180 MB, through `suture delta encode` and `apply`.

A prefix of an executable keeps its headers but loses the section table at its end, so it is measured as what it then
is: a file that the engine takes raw, or by its segments. The real files' line comes from measure.py's figures.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accounting import KEPT
from engines import ENGINES
from fetch import fetch_pair
from figures import RESULTS, Figures
from measure import measure_engine, say
from pairs import read_pairs

SIZES_MB = (1, 2, 5, 10, 20, 50, 100, 180)


def main() -> None:
    """Measure the sizes that this version was not measured on yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pair", default="qt68", choices=list(read_pairs()))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES_MB, metavar="MB")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    figures, engine = Figures(options.output), ENGINES["suture"]
    fetched, version = fetch_pair(read_pairs()[options.pair]), engine.version()
    known = figures.content.get("growth", {})
    rows = known.get("rows", []) if known.get("version") == version else []
    with tempfile.TemporaryDirectory(dir=KEPT) as name:
        place = Path(name)
        for size in options.sizes:
            if any(row["bytes"] == size * 1_000_000 for row in rows):
                continue
            for source, target in ((fetched.old, place / "old"), (fetched.new, place / "new")):
                with source.open("rb") as file:
                    target.write_bytes(file.read(size * 1_000_000))
            row = measure_engine(engine, place / "old", place / "new", place, 1)
            print(f"{size:4} MB: {say(engine, row)}", flush=True)
            rows.append({"bytes": size * 1_000_000, **row})
            with figures.changing() as content:
                content["growth"] = {"version": version, "pair": options.pair, "rows": rows}


if __name__ == "__main__":
    main()
