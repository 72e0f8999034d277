"""Where a vendor works: rotten staging, a tampered repository, a busy workshop, full and read-only disks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from publisher_workshop import IDENTITY, Bench, snapshot

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: devices, owners, mounts")


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """A bench with an initialised workshop."""
    bench = Bench(tmp_path, capsys)
    bench.init()
    return bench


@pytest.mark.parametrize("name", ["1.imaging.from-0.patch", "advisory.csaf.json", "manifest.json", "sizes.json"])
@pytest.mark.parametrize("spoil", ["flip", "cut", "remove", "link"])
def test_staged_bytes_that_rotted_are_not_signed(bench: Bench, name: str, spoil: str) -> None:
    bench.build()
    file = bench.workshop / "staging" / IDENTITY / "1" / name
    data = file.read_bytes()
    file.unlink()
    if spoil == "flip":
        file.write_bytes(b"\x00" + data[1:])
    elif spoil == "cut":
        file.write_bytes(data[:-1])
    elif spoil == "link":
        (bench.root / "elsewhere").write_bytes(data)
        file.symlink_to(bench.root / "elsewhere")
    before = snapshot(bench.workshop)
    answer = bench.run("release", "1", *bench.passphrases, "--json")
    assert answer.code not in (0, 70), answer
    assert snapshot(bench.workshop) == before


@pytest.mark.parametrize(
    "name", ["1.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json", f"1.release-{IDENTITY}.json"]
)
def test_a_tampered_repository_is_never_signed_on(bench: Bench, name: str) -> None:
    bench.build()
    bench.release(1)
    bench.build(new=bench.new)
    file = bench.workshop / "repository" / "metadata" / name
    value = json.loads(file.read_bytes())
    value["signed"]["expires"] = "2099-01-01T00:00:00Z"
    file.write_bytes(json.dumps(value).encode())
    bench.refused("release", "2", *bench.passphrases, code="bad-repository", exit_code=35)
    bench.refused("refresh", "--force", *bench.online, code="bad-repository")


def test_a_tampered_index_is_never_signed_on(bench: Bench) -> None:
    bench.build()
    bench.release(1)
    (index,) = (bench.workshop / "repository" / "targets").rglob("*.index.json")
    index.write_bytes(index.read_bytes().replace(b'"level":1', b'"level":2'))
    bench.refused("recall", "1", "--reason", "bad", *bench.passphrases, code="bad-repository")


def test_commands_in_a_directory_that_is_no_workshop(bench: Bench) -> None:
    shutil.rmtree(bench.workshop)
    bench.workshop.mkdir()
    for command in ("status", "keys list", "refresh", "serve"):
        answer = bench.run(command, "--json")
        assert answer.json["error"]["code"] == "not-known"
        assert answer.code == 3
    assert list(bench.workshop.iterdir()) == []


def test_a_second_command_at_the_same_time_is_told_to_wait(bench: Bench) -> None:
    bench.build()
    holder = subprocess.Popen(["flock", str(bench.workshop / "lock"), "cat"], stdin=subprocess.PIPE)
    assert holder.stdin is not None
    try:
        while subprocess.run(["flock", "-n", str(bench.workshop / "lock"), "true"], check=False).returncode == 0:
            assert holder.poll() is None
        bench.refused("release", "1", *bench.passphrases, code="busy", exit_code=11)
    finally:
        holder.communicate(b"")


@pytest.mark.root
@needs_root
def test_a_full_disk_changes_nothing_and_heals(bench: Bench) -> None:
    bench.build()
    # Incompressible, so that the patch needs the space.
    (bench.new / "noise").write_bytes(os.urandom(3_000_000))
    with_noise = bench.build_words("--level", "2")
    mounted = bench.root / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mounted)], check=True)
    try:
        shutil.copytree(bench.workshop, mounted / "workshop", symlinks=True)
        bench.workshop = mounted / "workshop"
        bench.refused("build", *with_noise, code="disk-full", exit_code=61)
        filler = mounted / "filler"
        free = os.statvfs(mounted).f_bavail * os.statvfs(mounted).f_frsize
        filler.write_bytes(b"\x00" * max(0, free - 8192))
        bench.refused("release", "1", *bench.passphrases, code="disk-full", exit_code=61)
        filler.unlink()
        bench.release(1)
        assert bench.client().levels() == [1]
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


@pytest.mark.root
@needs_root
def test_a_read_only_disk_changes_nothing(bench: Bench) -> None:
    bench.build()
    mounted = bench.root / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "--bind", str(bench.root), str(mounted)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(mounted)], check=True)
        bench.workshop = mounted / "workshop"
        bench.refused("release", "1", *bench.passphrases, code="read-only", exit_code=62)
        assert bench.run("status").code == 0
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)
