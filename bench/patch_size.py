"""Patch size, and what it costs to make and to apply: Suture, tufup's way, plain bsdiff4, and the full download.

The input is the demo's pair of real wheels (Pillow 10.0.0 and 10.0.1 for Python 3.11), pinned by digest. Every way runs
in fresh processes, in turn, in one run; after every round each result is compared byte for byte with the new wheel's
files. tufup runs in a virtual environment of its own, since it pins an old python-tuf. Writes
build/bench/patch_size.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accounting import KEPT, Cost, keep, look_at_tree, machine, measure, medians
from chain import SUTURE, Chain, free_port, run_suture

from suture.demo.pairs import running_pair
from suture.demo.wheels import fetch_wheels, unpack_wheel

WAYS = Path(__file__).with_name("patch_ways.py")
TUFUP = "tufup==0.10.0"
PEERS = {
    "zstd_full": "full download, zstd -19",
    "xz_full": "full download, xz -9e",
    "tufup": "tufup 0.10 (bsdiff4 of the tar)",
    "bsdiff4_same_names": "bsdiff4 file by file",
    "bsdiff4_paired": "bsdiff4 file by file, renamed files paired by us",
}
TITLES = {"suture": "Suture", **PEERS}


@dataclass(frozen=True, slots=True)
class Way:
    """One way: the Python that runs it, and where its files are."""

    name: str
    python: str
    place: Path

    def words(self, verb: str, old: Path, new: Path) -> list[str]:
        """The command of one step."""
        if self.name == "suture":
            patch = str(self.place / "patch")
            paths = [str(old), str(new), patch] if verb == "make" else [str(old), patch, str(new)]
            return [SUTURE, "delta", "encode" if verb == "make" else "apply", *paths, "--force", "--json"]
        return [self.python, str(WAYS), self.name, verb, str(old), str(new), str(self.place)]

    def patch_bytes(self) -> int:
        """What a device would download."""
        patch = self.place / "patch"
        return sum(path.stat().st_size for path in ([patch] if patch.is_file() else patch.rglob("*")))


def tufup_python() -> str | None:
    """The Python of tufup's own environment, made where it is missing; None, said, where it cannot be had."""
    place = KEPT / "tufup-venv"
    python = place / "bin/python"
    probe = [str(python), "-c", "import tufup"]
    if not python.exists() or subprocess.run(probe, capture_output=True, check=False).returncode:
        print("making a virtual environment for tufup", flush=True)
        venv.create(place, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", TUFUP]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"tufup cannot be installed and is left out: {done.stderr.strip()[-300:]}")
            return None
    return str(python)


def fetch_trees(place: Path) -> tuple[Path, Path, dict[str, Any]]:
    """The two wheels' trees, and the facts about them."""
    pair = running_pair()
    wheels = fetch_wheels(pair, KEPT / "wheels")
    trees = (place / "baseline/lib", place / "new")
    for wheel, tree in zip(wheels, trees, strict=True):
        unpack_wheel(wheel, tree)
    facts: dict[str, Any] = {
        "package": pair.package,
        "old": pair.old,
        "new": pair.new,
        "python": ".".join(map(str, pair.python)),
    }
    for name, wheel, tree in zip(("old", "new"), wheels, trees, strict=True):
        sizes = [path.stat().st_size for path in tree.rglob("*") if path.is_file()]
        facts |= {f"{name}_sha256": wheel.digest, f"{name}_wheel_bytes": wheel.path.stat().st_size}
        facts |= {f"{name}_files": len(sizes), f"{name}_tree_bytes": sum(sizes)}
    return (*trees, facts)


def pairs_of(old: Path, new: Path, place: Path) -> dict[str, str]:
    """New path to old path of each file that Suture patched from another file than its namesake."""
    answer = run_suture("delta", "encode", old, new, place / "pairs.patch", "--force")
    return {file["path"]: file["reads"] for file in answer["files"] if file["reads"]}


def measure_ways(ways: Sequence[Way], old: Path, new: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """All ways in turn, `rounds` times; each result checked."""
    wanted = look_at_tree(new)
    costs: dict[str, dict[str, list[Cost]]] = {way.name: {"make": [], "apply": []} for way in ways}
    for number in range(rounds):
        for way in ways:
            print(f"round {number + 1} of {rounds}: {TITLES[way.name]}", flush=True)
            costs[way.name]["make"].append(measure(way.words("make", old, new))[0])
            result = way.place / "result"
            shutil.rmtree(result, ignore_errors=True)
            costs[way.name]["apply"].append(measure(way.words("apply", old, result))[0])
            if look_at_tree(result) != wanted:
                raise SystemExit(f"{way.name} did not make the new tree")
    return {
        way.name: {
            "title": TITLES[way.name],
            "patch_bytes": way.patch_bytes(),
            "identical": True,
            **{verb: medians(rows) for verb, rows in costs[way.name].items()},
        }
        for way in ways
    }


def measure_publisher(place: Path, baseline: Path, new: Path, rounds: int) -> dict[str, Any]:
    """`suture publisher build` on the same trees: it encodes, applies every patch and compares, writes the advisory."""
    chain = Chain(place, baseline, free_port())
    chain.open_workshop()
    costs, sizes = [], set()
    for _ in range(rounds):
        cost, text = measure([SUTURE, *chain.build_words(new)])
        costs.append(cost)
        sizes.add(int(json.loads(text)["patch_bytes"]))
    assert len(sizes) == 1, "the same trees gave patches of different sizes"
    chain.release()
    targets = chain.workshop / "repository/targets"
    letters = sum(path.stat().st_size for path in targets.rglob("*.json") if not path.name.endswith(".csaf.json"))
    return {"patch_bytes": sizes.pop(), "manifest_index_rollout_bytes": letters, "make": medians(costs)}


def ratios(ways: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Each peer's figures over ours."""
    ours = ways["suture"]
    return {
        name: {
            "patch_bytes": round(way["patch_bytes"] / ours["patch_bytes"], 2),
            **{
                f"{verb}_{key}": round(way[verb][key] / ours[verb][key], 2)
                for verb in ("make", "apply")
                for key in ("cpu_seconds", "peak_mebibytes")
            },
        }
        for name, way in ways.items()
        if name != "suture"
    }


def main() -> None:
    """Run the rounds and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", nargs="*", default=[], choices=list(PEERS), help="leave peers out")
    parser.add_argument("--output", type=Path, default=KEPT / "patch_size.json")
    options = parser.parse_args()
    here = machine()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        old, new, facts = fetch_trees(place)
        pythons = {peer: sys.executable for peer in PEERS if peer not in options.without}
        left_out = dict.fromkeys(options.without, "left out as asked")
        if "tufup" in pythons and (python := tufup_python()):
            pythons["tufup"] = python
        elif "tufup" in pythons:
            left_out["tufup"] = "cannot be installed"
            del pythons["tufup"]
        ways = [Way(peer, python, place / peer) for peer, python in {"suture": "", **pythons}.items()]
        for way in ways:
            way.place.mkdir()
            if way.name == "tufup":
                measure(way.words("prepare", old, new))
            if way.name == "bsdiff4_paired":
                (way.place / "pairs.json").write_text(json.dumps(pairs_of(old, new, place)))
        measured = measure_ways(ways, old, new, options.rounds)
        publisher = measure_publisher(place, old.parent, new, min(options.rounds, 3))
    result = {"bench": "patch_size", "machine": here, "rounds": options.rounds, "input": facts, "ways": measured}
    result |= {"left_out": left_out, "publisher_build": publisher, "peer_over_ours": ratios(measured)}
    keep(result, options.output)
    for row in measured.values():
        print(f"{row['title']:50} {row['patch_bytes']:>10,} B", end="")
        for verb in ("make", "apply"):
            print(f", {verb} {row[verb]['cpu_seconds']:.2f} s, {row[verb]['peak_mebibytes']:.1f} MiB", end="")
        print()
    print(f"publisher build: {publisher}")


if __name__ == "__main__":
    main()
