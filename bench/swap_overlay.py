"""Swap overlay grafts 1,000 times while another process opens files through the component's path in a tight loop.

Prints JSON: failed opens (must be 0), opens that saw the baseline between two levels (must be 0), how many opens there
were, and the swap's median, 99th percentile and worst time in milliseconds, for one component and for two, slipped
beneath and stacked. Needs root and mkfs.erofs; runs in a mount namespace of its own. Exit code 1 where something
failed, 77 where it cannot run here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from suture.adapters.mounts import detach, mounts
from suture.agent.grafts.overlay import OverlayGraft
from suture.agent.grafts.overlay_hidden import Ways
from suture.core.digests import digest_bytes
from suture.improvement.layer import Layer
from suture.improvement.tree import FileEntry
from suture.wire.product import FixedRelease, Product, ProductComponent

APART = "SUTURE_BENCH_APART"
CANNOT_RUN = 77
OPENER = """
import json, signal, sys
path, stop = sys.argv[1], []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
opens = errors = baseline = strange = 0
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
    baseline += said == b"base"
    strange += said not in (b"base", b"one", b"two")
print(json.dumps({"opens": opens, "errors": errors, "baseline": baseline, "strange": strange, "seen": len(seen)}))
"""


def measure(directory: Path, swaps: int, components: int, ways: Ways) -> dict[str, float | int | str]:
    """Run the loop and the swaps in `directory`."""
    names = [f"part-{number}" for number in range(components)]
    for name in names:
        (directory / "baseline" / name).mkdir(parents=True)
        (directory / "baseline" / name / "version").write_bytes(b"base")
    product = Product(
        format="suture-product/1",
        product="bench",
        title="Bench",
        vendor="Suture",
        release=FixedRelease("1.0"),
        root=str(directory / "baseline"),
        components=tuple(ProductComponent(name, name) for name in names),
        repositories=("http://127.0.0.1/",),
        first_root="sha256:" + "0" * 64,
        graft="overlay",
    )
    graft = OverlayGraft(directory / "store", directory / "grafts", ways)
    for level, data in ((1, b"one"), (2, b"two")):
        (directory / str(level)).write_bytes(data)
        layers = {name: Layer((FileEntry("version", "0644", len(data), digest_bytes(data)),)) for name in names}
        graft.stage(product, "1.0-any", level, layers, lambda _, entry: _ready(directory, entry), datetime.now(UTC))
    graft.swap(product, "1.0-any", 1)
    argv = [sys.executable, "-c", OPENER, str(directory / "baseline" / names[-1] / "version")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as opener:
        assert opener.stdout is not None
        opener.stdout.readline()
        times = sorted(graft.swap(product, "1.0-any", 2 - number % 2) for number in range(swaps))
        opener.terminate()
        seen = json.loads(opener.stdout.readline())
    return {
        "components": components,
        "beneath": ways.beneath,
        "swaps": swaps,
        **seen,
        "swap_median_milliseconds": round(statistics.median(times), 4),
        "swap_p99_milliseconds": round(times[min(len(times) - 1, int(len(times) * 0.99))], 4),
        "swap_worst_milliseconds": round(times[-1], 4),
    }


def _ready(directory: Path, entry: FileEntry) -> Path:
    return directory / ("1" if entry.digest == digest_bytes(b"one") else "2")


def _leave(directory: Path) -> None:
    for one in sorted((one for one in mounts() if directory in Path(one.point).parents), key=lambda one: -one.number):
        descriptor = os.open(one.point, os.O_PATH)
        detach(descriptor)
        os.close(descriptor)


def _go_apart() -> int:
    """Run this again in a mount namespace whose mounts reach nobody."""
    if os.geteuid() != 0 or shutil.which("mkfs.erofs", path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        print("cannot run: needs root and mkfs.erofs (package erofs-utils)", file=sys.stderr)
        return CANNOT_RUN
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
    return subprocess.run(argv, env={**os.environ, APART: "1"}, check=False).returncode


def main() -> int:
    """The bench as a command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--directory", type=Path, help="where to work, on the file system to measure")
    parser.add_argument("--output", type=Path, help="keep the JSON here too")
    arguments = parser.parse_args()
    if APART not in os.environ:
        return _go_apart()
    runs = []
    for components, ways in ((1, Ways()), (2, Ways()), (1, Ways(beneath=False))):
        place = Path(tempfile.mkdtemp(dir=arguments.directory))
        try:
            runs.append(measure(place, arguments.swaps, components, ways))
        finally:
            _leave(place)
            shutil.rmtree(place)
    text = json.dumps({"kernel": os.uname().release, "runs": runs}, indent=2)
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text + "\n")
    return 1 if any(run["errors"] or run["baseline"] or run["strange"] for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
