"""What a command costs (CPU seconds, peak memory), which machine this is, and how figures are kept and shown.

Every measured command is a fresh process under `launch.py`. Nothing here knows what is measured.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import stat
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
KEPT = ROOT / "build/bench"
"""Where figures, inputs and peers are kept; never in the tree."""


class FailedCommandError(Exception):
    """A measured command ended with another code than 0."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run cost. Memory in MiB: `peak` as the kernel counted it, `anonymous` without file pages, sampled."""

    cpu_seconds: float
    wall_seconds: float
    peak_mebibytes: float
    anonymous_mebibytes: float


def measure(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> tuple[Cost, str]:
    """Run a command in a fresh process.

    Returns:
        What it cost, and what it printed.

    Raises:
        FailedCommandError: it ended with another code than 0.
    """
    with tempfile.TemporaryDirectory() as name:
        result, output = Path(name, "result.json"), Path(name, "output")
        words = [sys.executable, "-I", "-S", str(HERE / "launch.py"), str(result), str(output), "--"]
        subprocess.run(
            [*words, *map(str, command)],
            check=True,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
        )
        figures = json.loads(result.read_text())
        text = output.read_text(errors="replace")
    code = figures.pop("code")
    if code != 0:
        raise FailedCommandError(f"{' '.join(map(str, command))[:300]} ended with {code}: {text[-600:]}")
    figures.pop("samples")
    return Cost(**{key: round(value, 4) for key, value in figures.items()}), text


def medians(costs: Sequence[Cost]) -> dict[str, float]:
    """The median of each figure."""
    rows = [asdict(cost) for cost in costs]
    return {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}


def machine() -> dict[str, str | int | float]:
    """Enough to judge a figure by, and nothing that names the machine."""
    model = next(
        (line.partition(":")[2].strip() for line in _read_lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    memory = next((int(line.split()[1]) for line in _read_lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "architecture": platform.machine(),
        "processor": model,
        "cores": os.cpu_count() or 0,
        "memory_gibibytes": round(memory / 1024**2),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 1),
    }


def _read_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def keep(result: Mapping[str, Any], path: Path) -> None:
    """Write figures as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def digest_file(path: Path) -> str:
    """SHA-256, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def look_at_tree(root: Path) -> dict[str, tuple[str, int]]:
    """SHA-256 and executable bits of each file below `root`, by relative path."""
    return {
        str(path.relative_to(root)): (digest_file(path), stat.S_IMODE(path.stat().st_mode) & 0o111)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
