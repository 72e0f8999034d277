"""`python -m bench`: every bench in turn, then the page and the pictures. `--quick`: few rounds, and no page."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from accounting import KEPT, ROOT  # noqa: E402 -- after the path, so that each bench runs alone too
from pages import write_pages  # noqa: E402

QUICK = {
    "patch_size": ["--rounds", "1"],
    "no_change_poll": ["--rounds", "2"],
    "status_time": ["--rounds", "5"],
    "swap_under_opens": ["--swaps", "100"],
}


def main() -> int:
    """Run them; 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, into build/bench/quick; the page stays")
    parser.add_argument("--only", nargs="+", choices=list(QUICK), default=list(QUICK))
    parser.add_argument("--draw", action="store_true", help="measure nothing, write the page from the last full run")
    options = parser.parse_args()
    directory = KEPT / "quick" if options.quick else KEPT
    failed = []
    for name in () if options.draw else options.only:
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        words = [sys.executable, str(HERE / f"{name}.py"), "--output", str(directory / f"{name}.json")]
        if subprocess.run([*words, *(QUICK[name] if options.quick else [])], check=False).returncode != 0:
            failed.append(name)
        print(f"== {name}: {time.monotonic() - began:.0f} s")
    if not options.quick:
        for path in write_pages():
            print(f"wrote {path.relative_to(ROOT)}")
    print(f"figures: {directory.relative_to(ROOT)}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
