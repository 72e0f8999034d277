"""Measure every engine on every pair, in turn, each result compared byte for byte; resumes where it was interrupted.

python bench/delta/measure.py                      everything that is not measured yet, then table and plots
python bench/delta/measure.py --quick              the small pairs, without what is slow
python bench/delta/measure.py --only qt68 --engines suture hdiffpatch --again
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tarfile
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accounting import KEPT, Cost, FailedCommandError, digest_file, measure
from engines import ENGINES, Engine
from fetch import CannotFetchError, Fetched, digest_tree, fetch_pair
from figures import RESULTS, Figures, figures_of
from pairs import SMALL_BYTES, Pair, read_pairs


def make_tar(tree: Path, path: Path) -> Path:
    """A tar of a tree for engines that take files: sorted, without owners and times."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for file in sorted(one for one in tree.rglob("*") if one.is_file()):
            member = archive.gettarinfo(file, str(file.relative_to(tree)))
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = ""
            with file.open("rb") as source:
                archive.addfile(member, source)
    return path


def measure_engine(engine: Engine, old: Path, new: Path, place: Path, rounds: int) -> dict[str, Any]:
    """Make, apply and compare.

    Raises:
        FailedCommandError: a command failed, or the result is not the new file.
    """
    patch, result = place / "patch", place / "result"
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for _ in range(rounds):
        patch.unlink(missing_ok=True)
        costs[0].append(measure(engine.make(old, new, patch))[0])
        shutil.rmtree(result, ignore_errors=True)
        result.unlink(missing_ok=True)
        costs[1].append(measure(engine.apply(old, patch, result))[0])
        digest = digest_tree if new.is_dir() else digest_file
        if digest(result) != digest(new):
            raise FailedCommandError(f"{engine.name} did not make the new file")
    return {"patch_bytes": patch.stat().st_size, "identical": True, **figures_of(*costs)}


def measure_pair(fetched: Fetched, engines: list[Engine], figures: Figures, rounds: int, *, again: bool) -> None:
    """All engines on one pair; what is known already is left."""
    pair = fetched.pair
    facts = {"title": pair.title, "kind": pair.kind, "format": pair.format, "stand_in": fetched.stand_in}
    sides = (fetched.old, fetched.new)
    sizes = [sum(p.stat().st_size for p in ([s] if s.is_file() else s.rglob("*")) if p.is_file()) for s in sides]
    facts |= {"old_bytes": sizes[0], "new_bytes": sizes[1]}
    figures.write_pair(pair.name, facts)
    with tempfile.TemporaryDirectory(dir=KEPT) as name:
        place = Path(name)
        tars = [make_tar(side, place / f"{side.name}.tar") for side in sides] if pair.is_tree else list(sides)
        for engine in engines:
            version = engine.version()
            if not version:
                print(f"{pair.name}: {engine.title} is not to be had here", flush=True)
                figures.write_engine(pair.name, engine.name, {"version": "", "failed": "not to be had here"})
                continue
            if not again and figures.has(pair.name, engine.name, version, fetched.stand_in):
                continue
            old, new = sides if engine.takes_trees else tars
            try:
                row = measure_engine(engine, old, new, place, rounds)
            except FailedCommandError as error:
                figures.write_engine(pair.name, engine.name, {"version": version, "failed": str(error)[:400]})
                print(f"{pair.name}: {engine.title} FAILED: {error}", flush=True)
                continue
            figures.write_engine(pair.name, engine.name, {"version": version, "rounds": rounds, **row})
            print(f"{pair.name}: {say(engine, row)}", flush=True)


def measure_unchanged(figures: Figures, file: Path, name: str) -> None:
    """What an unchanged file costs: the encoder's own count of what it sends for files."""
    with tempfile.TemporaryDirectory() as directory:
        _, said = measure(ENGINES["suture"].make(file, file, Path(directory, "patch")))
        frame = Path(directory, "patch").stat().st_size
    sent = sum(int(row["delta_size"]) for row in json.loads(said)["files"])
    with figures.changing() as content:
        content["unchanged"] = {"pair": name, "sent_bytes": sent, "stand_alone_patch_bytes": frame}


def say(engine: Engine, row: dict[str, Any]) -> str:
    """One line for people."""
    make, apply = row["make"], row["apply"]
    return (
        f"{engine.title:24} {row['patch_bytes']:>11,} B, make {make['cpu_seconds']:7.2f} s "
        f"{make['peak_mebibytes']:7.1f} MiB, apply {apply['cpu_seconds']:6.2f} s {apply['peak_mebibytes']:6.1f} MiB "
        f"({apply['anonymous_mebibytes']:.1f} anonymous)"
    )


def choose(options: argparse.Namespace) -> list[Pair]:
    """The pairs that were asked for."""
    pairs = [pair for pair in read_pairs().values() if not options.only or pair.name in options.only]
    return [pair for pair in pairs if pair.new.bytes <= SMALL_BYTES] if options.quick else pairs


def main() -> int:
    """Measure; 1 where an engine of ours failed or a pair could not be had at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="PAIR", choices=list(read_pairs()))
    parser.add_argument("--engines", nargs="+", metavar="ENGINE", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--format", help="pairs of this format alone, such as elf-x86-64")
    parser.add_argument("--quick", action="store_true", help="the small pairs only")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="measure what was measured already")
    parser.add_argument("--no-draw", action="store_true", help="leave table and plots alone")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    figures, bad, unchanged = Figures(options.output), 0, False
    for pair in choose(options):
        if options.format and pair.format != options.format:
            continue
        try:
            fetched = fetch_pair(pair)
        except CannotFetchError as error:
            bad += 1
            figures.write_unfetched(pair.name, {"pair": asdict(pair), "why": str(error)})
            print(f"{pair.name}: cannot be fetched: {error}", flush=True)
            continue
        if "suture" in options.engines and not pair.is_tree and not unchanged:
            unchanged = True
            measure_unchanged(figures, fetched.old, pair.name)
        chosen = [ENGINES[name] for name in options.engines]
        measure_pair(fetched, chosen, figures, options.rounds, again=options.again)
        bad += "failed" in figures.of(pair.name)["engines"].get("suture", {})
    if not options.no_draw and options.output == RESULTS:
        from report import write_report

        for path in write_report(figures.content):
            print(f"wrote {path.name}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
