"""Each bench runs with the fewest rounds and keeps what its page is made from. No figure is judged but for errors."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
MACHINE = {"architecture", "processor", "cores", "memory_gibibytes", "kernel", "python", "load_at_start"}
COST = {"cpu_seconds", "wall_seconds", "peak_mebibytes", "anonymous_mebibytes"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run_bench(name: str, place: Path, *words: str) -> dict[str, Any]:
    kept = place / f"{name}.json"
    command = [sys.executable, str(BENCH / f"{name}.py"), "--output", str(kept), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    result: dict[str, Any] = json.loads(kept.read_text())
    assert result["bench"] == name
    assert set(result["machine"]) == MACHINE
    return result


def test_patch_size_keeps_every_way_and_each_gave_the_new_tree(tmp_path: Path) -> None:
    result = run_bench("patch_size", tmp_path, "--rounds", "1", "--without", "tufup", "xz_full")
    assert set(result["ways"]) == {"suture", "zstd_full", "bsdiff4_same_names", "bsdiff4_paired"}
    assert set(result["left_out"]) == {"tufup", "xz_full"}
    for way in result["ways"].values():
        assert way["identical"]
        assert way["patch_bytes"] > 0
        assert set(way["make"]) == set(way["apply"]) == COST
        assert way["apply"]["peak_mebibytes"] > 0
    assert result["publisher_build"]["patch_bytes"] > 0
    assert result["ways"]["suture"]["patch_bytes"] < result["ways"]["zstd_full"]["patch_bytes"]


def test_no_change_poll_keeps_both_transports(tmp_path: Path) -> None:
    result = run_bench("no_change_poll", tmp_path, "--rounds", "1")
    for shown in result["transports"].values():
        assert set(shown) == {"medians", "peer_over_ours", "all"}
        assert shown["medians"]["suture"]["requests"] == 1


def test_status_time_keeps_medians(tmp_path: Path) -> None:
    result = run_bench("status_time", tmp_path, "--rounds", "2")
    assert {"python -c pass", "suture status", "suture status --json"} <= set(result["ways"])
    for row in result["ways"].values():
        assert set(row) == {"median_milliseconds", "p90_milliseconds", "least_milliseconds", "median_cpu_milliseconds"}


def test_swap_under_opens_sees_no_failed_open(tmp_path: Path) -> None:
    result = run_bench("swap_under_opens", tmp_path, "--swaps", "50")
    assert result["errors"] == result["strange"] == 0
    assert result["versions_seen"] == 2
    assert result["opens"] > 0


def test_the_pages_are_written_from_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_bench("swap_under_opens", tmp_path, "--swaps", "20")
    run_bench("status_time", tmp_path, "--rounds", "2")
    monkeypatch.syspath_prepend(str(BENCH))
    pages = importlib.import_module("pages")

    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- {name} -->\n<!-- end -->\n" for name in pages.BENCHES))
    monkeypatch.setattr(pages, "PAGE", page)
    monkeypatch.setattr(pages, "PICTURES", tmp_path / "pictures")
    pages.write_pages(tmp_path)
    assert "| swaps | 20 |" in page.read_text()
    assert (tmp_path / "pictures/status_time.svg").read_text().startswith("<svg")
