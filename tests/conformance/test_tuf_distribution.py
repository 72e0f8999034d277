"""python-tuf's own updater tests and repository simulator, run against our adapter (tuf_distribution_runner says how).

They are in no wheel, so the set-up downloads the source distribution once, by pinned digest, into build/.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

VERSION = "7.0.1"
PINNED = {
    f"tuf-{VERSION}.tar.gz": "5ada1db78da3518fa851e28588f4b2249b8662a28ae528f54afa2a1de541fb31",
    "freezegun-1.5.5-py3-none-any.whl": "cd557f4a75cf074e84bc374249b9dd491eaeacd61376b9eb3c423282211619d2",
}
MODULES = (
    "test_updater_consistent_snapshot",
    "test_updater_delegation_graphs",
    "test_updater_fetch_target",
    "test_updater_key_rotations",
    "test_updater_ng",
    "test_updater_top_level_update",
    "test_updater_validation",
)
RUNNER = Path(__file__).with_name("tuf_distribution_runner.py")
PLACE = Path(__file__).parents[2] / "build" / "tuf-distribution"


def pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *words], check=True, cwd=PLACE)


def downloaded(name: str, *words: str) -> Path:
    file = PLACE / name
    if not file.exists():
        PLACE.mkdir(parents=True, exist_ok=True)
        pip("download", "--no-deps", *words)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == PINNED[name], f"{name} is not what was pinned; look at it"
    return file


@pytest.mark.slow
def test_the_updater_tests_of_the_tuf_distribution_pass_with_our_adapter() -> None:
    archive = downloaded(f"tuf-{VERSION}.tar.gz", "--no-binary", "tuf", f"tuf=={VERSION}")
    wheel = downloaded("freezegun-1.5.5-py3-none-any.whl", "freezegun==1.5.5")
    with tarfile.open(archive) as opened:
        opened.extractall(PLACE, filter="data")
    if not (PLACE / "packages").exists():
        pip("install", "--no-deps", "--target", "packages", str(wheel))
    run = [sys.executable, str(RUNNER), str(PLACE / f"tuf-{VERSION}"), str(PLACE / "packages"), *MODULES]
    done = subprocess.run(run, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "63 of 72 ran, 0 failed"
