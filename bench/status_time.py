"""How long `suture status` takes, as a person or a monitoring system waits for it, against a bare interpreter.

No peer on this machine answers the same question, so the floor is what Python itself takes to start and stop. The
device is a real one: a product learnt, an improvement of the demo's pair fetched, installed and effective. Writes
build/bench/status_time.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from accounting import KEPT, keep, machine
from chain import SUTURE, Chain, free_port, run_suture

AIM_MILLISECONDS = 150


def prepare(place: Path) -> Chain:
    """A device on which one improvement is in place."""
    old, new = place / "baseline/lib", place / "new"
    for tree, word in ((old, b"old"), (new, b"new")):
        tree.mkdir(parents=True)
        for number in range(50):
            (tree / f"file{number}").write_bytes(word * 1000 if number % 10 == 0 else b"same" * 1000)
    chain = Chain(place, place / "baseline", free_port())
    chain.open_workshop()
    run_suture(*chain.build_words(new)[:-1])
    chain.release()
    status = chain.install()
    assert status["products"][0]["level"] == 1, status["products"]
    return chain


def time_command(command: list[str]) -> tuple[float, float]:
    """Milliseconds from before the process is made until it has ended, and of CPU."""
    sink = os.open(os.devnull, os.O_WRONLY)
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, sink, 1)])
    _, status, usage = os.wait4(pid, 0)
    took = (time.perf_counter() - began) * 1000
    os.close(sink)
    assert os.waitstatus_to_exitcode(status) == 0, command
    return round(took, 2), round((usage.ru_utime + usage.ru_stime) * 1000, 2)


def main() -> None:
    """Run the rounds and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--output", type=Path, default=KEPT / "status_time.json")
    options = parser.parse_args()
    here = machine()
    with tempfile.TemporaryDirectory() as name:
        chain = prepare(Path(name))
        ways = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "suture --version": [SUTURE, "--version"],
            "suture status": [SUTURE, "status", *chain.device],
            "suture status --json": [SUTURE, "status", "--json", *chain.device],
        }
        times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for command in ways.values():
            time_command(command)  # the first one fills the page cache
        for _ in range(options.rounds):
            for way, command in ways.items():
                times[way].append(time_command(command))
    shown = {
        way: {
            "median_milliseconds": round(statistics.median(wall for wall, _ in rows), 1),
            "p90_milliseconds": round(sorted(rows)[min(len(rows) - 1, int(len(rows) * 0.9))][0], 1),
            "least_milliseconds": round(min(rows)[0], 1),
            "median_cpu_milliseconds": round(statistics.median(cpu for _, cpu in rows), 1),
        }
        for way, rows in times.items()
    }
    floor, ours = shown["python -c pass"]["median_milliseconds"], shown["suture status"]["median_milliseconds"]
    result = {
        "bench": "status_time",
        "machine": here,
        "rounds": options.rounds,
        "aim_milliseconds": AIM_MILLISECONDS,
        "ways": shown,
        "over_floor": round(ours / floor, 2),
        "all": times,
    }
    keep(result, options.output)
    for way, row in shown.items():
        print(f"{way:24}", "  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
