"""Swap a product's pointer 1,000 times while another process opens files through it in a tight loop.

Writes build/bench/swap_under_opens.json and prints it: failed opens (must be 0), files that were neither the one tree's
nor the other's (must be 0), how many opens there were, and the swap's median, 99th percentile and worst time in
milliseconds, each with its fsync. Exit code 1 where something failed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accounting import KEPT, keep, machine

from suture.agent.grafts.switch import SwitchGraft
from suture.core.digests import digest_bytes
from suture.improvement.layer import Layer
from suture.improvement.tree import FileEntry
from suture.wire.product import FixedRelease, Product, ProductComponent

OPENER = """
import json, os, signal, sys
path, stop = sys.argv[1], []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
opens = errors = strange = 0
seen = set()
print("ready", flush=True)
while not stop:
    opens += 1
    try:
        with open(path, "rb") as file: said = file.read()
    except OSError:
        errors += 1
        continue
    seen.add(said)
    strange += said not in (b"old", b"new")
print(json.dumps({"opens": opens, "errors": errors, "strange": strange, "versions_seen": len(seen)}))
"""


def measure(directory: Path, swaps: int) -> dict[str, Any]:
    """Run the loop and the swaps in `directory`."""
    component = directory / "baseline/lib"
    component.mkdir(parents=True)
    (component / "version").write_bytes(b"old")
    (directory / "new").write_bytes(b"new")
    product = Product(
        format="suture-product/1",
        product="bench",
        title="Bench",
        vendor="Suture",
        release=FixedRelease("1.0"),
        root=str(directory / "baseline"),
        components=(ProductComponent("lib", "lib"),),
        repositories=("http://127.0.0.1/",),
        first_root="sha256:" + "0" * 64,
        pointer=str(directory / "current"),
    )
    graft = SwitchGraft(directory / "store")
    entry = FileEntry("version", "0644", 3, digest_bytes(b"new"))
    layers = {"lib": Layer((entry,))}
    graft.stage(product, "1.0-any", 1, layers, lambda _component, _entry: directory / "new", datetime.now(UTC))
    graft.swap(product, "1.0-any", 0)
    argv = [sys.executable, "-c", OPENER, str(directory / "current/lib/version")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as opener:
        assert opener.stdout is not None
        opener.stdout.readline()
        times = sorted(graft.swap(product, "1.0-any", (number + 1) % 2) for number in range(swaps))
        opener.terminate()
        seen = json.loads(opener.stdout.readline())
    return {
        "bench": "swap_under_opens",
        "swaps": swaps,
        **seen,
        "swap_median_milliseconds": round(statistics.median(times), 4),
        "swap_p99_milliseconds": round(times[min(len(times) - 1, int(len(times) * 0.99))], 4),
        "swap_worst_milliseconds": round(times[-1], 4),
        "file_system": file_system_of(directory),
    }


def file_system_of(directory: Path) -> str:
    """The type of the file system that holds `directory`, by its longest mount point (proc_pid_mountinfo(5))."""
    here, best = str(directory.resolve()), ("", "unknown")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, after = line.partition(" - ")
        point = fields.split()[4]
        if (here + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[0]):
            best = (point, after.split()[0])
    return best[1]


def main() -> int:
    """The bench as a command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--directory", type=Path, help="where to work, on the file system to measure")
    parser.add_argument("--output", type=Path, default=KEPT / "swap_under_opens.json")
    arguments = parser.parse_args()
    here = machine()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        result = {**measure(Path(directory), arguments.swaps), "machine": here}
    keep(result, arguments.output)
    print(json.dumps(result, indent=2))
    return 1 if result["errors"] or result["strange"] or result["versions_seen"] != 2 else 0


if __name__ == "__main__":
    sys.exit(main())
