"""The public TUF conformance suite against `suture tuf-client`, and what the command promises without the suite.

The suite (theupdateframework/tuf-conformance) is taken from the folder that TUF_CONFORMANCE_DIR names, and run by the
Python that TUF_CONFORMANCE_PYTHON names (one with the suite's own pinned packages), else by this one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suture.cli.main import main
from suture.testing.http_server import Fault, serve
from suture.testing.repository import SimulatedRepository
from suture.trust.paths import manifest_path

EXPECTED = 113
MANIFEST = b'{"level": 1}'


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_public_conformance_suite_passes_whole() -> None:
    folder = os.environ.get("TUF_CONFORMANCE_DIR")
    if not folder:
        pytest.skip("TUF_CONFORMANCE_DIR names no folder with theupdateframework/tuf-conformance: NOT CHECKED")
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed: NOT CHECKED")
    suture = Path(sys.executable).with_name("suture")
    python = os.environ.get("TUF_CONFORMANCE_PYTHON", sys.executable)
    run = [python, "-m", "pytest", "tuf_conformance", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*run, "--entrypoint", f"{suture} tuf-client"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed.group(1)) >= EXPECTED
    assert "xfailed" not in done.stdout
    assert "skipped" not in done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> SimulatedRepository:
    made = SimulatedRepository(tmp_path / "repository")
    made.publish(1, MANIFEST)
    return made


def client(tmp_path: Path, *words: str) -> int:
    return main(["tuf-client", "--metadata-dir", str(tmp_path / "metadata"), *words])


def test_init_asks_nobody_and_keeps_one_file(tmp_path: Path, repository: SimulatedRepository) -> None:
    with serve(repository.directory) as server:
        assert client(tmp_path, "init", str(repository.directory / "metadata" / "1.root.json")) == 0
        assert server.log == ()
    assert [path.name for path in (tmp_path / "metadata").glob("*.json")] == ["root.json"]


def test_a_target_is_downloaded_once_and_metadata_is_unversioned(
    tmp_path: Path, repository: SimulatedRepository
) -> None:
    path = manifest_path("darkroom", "1.0-x86_64", 1)
    (tmp_path / "targets").mkdir()
    client(tmp_path, "init", str(repository.directory / "metadata" / "1.root.json"))
    with serve(repository.directory) as server:
        where = ["--metadata-url", f"{server.url}/metadata", "--target-base-url", f"{server.url}/targets/"]
        words = [*where, "--target-name", path, "--target-dir", str(tmp_path / "targets"), "download"]
        assert client(tmp_path, *words) == 0
        assert client(tmp_path, *words) == 0
        assert len([one for one in server.log if one.path.startswith("/targets/")]) == 1
        (file,) = (tmp_path / "targets").iterdir()
        assert file.read_bytes() == MANIFEST
        file.write_bytes(b"something else")
        assert client(tmp_path, *words) == 0
        assert file.read_bytes() == MANIFEST
        server.set_fault("/metadata/timestamp.json", Fault.SERVER_ERROR)
        assert client(tmp_path, *words) == 1
    names = sorted(found.name for found in (tmp_path / "metadata").glob("*.json"))
    assert names == ["release-1.0-x86_64.json", "root.json", "snapshot.json", "targets.json", "timestamp.json"]


def test_every_failure_is_1(tmp_path: Path, repository: SimulatedRepository) -> None:
    assert client(tmp_path, "init", str(tmp_path / "nowhere.json")) == 1
    assert client(tmp_path, "refresh") == 1
    client(tmp_path, "init", str(repository.directory / "metadata" / "1.root.json"))
    assert client(tmp_path, "--metadata-url", "http://127.0.0.1:9/", "refresh") == 1
    assert client(tmp_path, "--metadata-url", "ftp://example.org/", "refresh") == 1
    with serve(repository.directory) as server:
        words = ["--metadata-url", f"{server.url}/metadata", "--target-base-url", f"{server.url}/targets"]
        gone = ["--target-name", "not/listed", "--target-dir", str(tmp_path)]
        assert client(tmp_path, *words, *gone, "download") == 1
