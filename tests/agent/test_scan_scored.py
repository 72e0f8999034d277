"""The scanner's score: in every case of replacing and using files, precision and recall are 1 (docs/restarts.md)."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from test_scan_users import COPIES, MAPS, READS, THREAD, USES, WAIT, Yard

from suture.adapters.process import read_process
from suture.agent.doors import OldFiles
from suture.agent.restarts.belonging import unit_of

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount, and to change users"),
]
Case = Callable[[Yard], tuple[set[int], set[int], OldFiles]]
"""Sets a stage up: pids that use old bytes, pids that use the new ones, and what to look for."""
SETS_IDS = f"{MAPS}\nos.setgroups([]); os.setgid(65534); os.setuid(65534)"
OTHER_NAMESPACE = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x00020000) == 0  # CLONE_NEWNS
assert libc.mount(None, b"/", None, 0x44000, None) == 0  # MS_REC|MS_PRIVATE
assert libc.mount(sys.argv[1].encode(), sys.argv[2].encode(), None, 0x1000, None) == 0  # MS_BIND
f = os.open(sys.argv[2] + "/lib/engine.so", os.O_RDONLY); m = mmap.mmap(f, 0, prot=mmap.PROT_READ); os.close(f)
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Yard]:
    yard = Yard(tmp_path)
    yield yard
    yard.stop()
    for mounted in (yard.old, tmp_path / "disk"):
        subprocess.run(["umount", "-l", str(mounted)], check=False, capture_output=True)


def by_pointer(yard: Yard, script: str, **words: dict[str, str]) -> tuple[set[int], set[int], OldFiles]:
    """Used directly in the old tree, then the pointer moves."""
    engine = "lib/engine.so"
    old, new = yard.start(script, yard.old / engine, **words), yard.start(MAPS, yard.new / engine)  # type: ignore[arg-type]
    return {old}, {new}, yard.swap()


def deleted(yard: Yard) -> tuple[set[int], set[int], OldFiles]:
    found = by_pointer(yard, MAPS)
    (yard.old / "lib/engine.so").unlink()
    return found


def renamed_over(yard: Yard) -> tuple[set[int], set[int], OldFiles]:
    """As dpkg does."""
    engine = yard.old / "lib/engine.so"
    user = yard.start(MAPS, engine)
    old = yard.scanner.old_files([], [engine], time.time())
    shutil.copy(yard.new / "lib/engine.so", yard.path / "fresh")
    (yard.path / "fresh").rename(engine)
    return {user}, {yard.start(MAPS, engine)}, old


def exchanged(yard: Yard) -> tuple[set[int], set[int], OldFiles]:
    """renameat2(2), RENAME_EXCHANGE: maps shows the old bytes under the new name."""
    engine = yard.old / "lib/engine.so"
    user = yard.start(MAPS, engine)
    old = yard.scanner.old_files([], [engine], time.time())
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(-100, os.fsencode(yard.old), -100, os.fsencode(yard.new), 2) == 0
    return {user}, {yard.start(MAPS, engine)}, old


def grafted(yard: Yard) -> tuple[set[int], set[int], OldFiles]:
    """An overlay on the component: the same path, the same words in maps, other bytes."""
    engine = yard.old / "lib/engine.so"
    user = yard.start(MAPS, engine)
    old = yard.scanner.old_files([], [engine], time.time())
    mount("overlay", "overlay", yard.old, f"lowerdir={yard.new}:{yard.old}")
    return {user}, {yard.start(MAPS, engine)}, old


def on_btrfs(yard: Yard) -> tuple[set[int], set[int], OldFiles]:
    """A subvolume: stat(2) and maps name different devices."""
    if shutil.which("mkfs.btrfs") is None:
        pytest.skip("needs mkfs.btrfs (tests/system-packages.txt)")
    image, disk = yard.path / "image", yard.path / "disk"
    with image.open("wb") as file:
        file.truncate(120 << 20)
    subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True)
    disk.mkdir()
    mount("btrfs", str(image), disk, "loop")
    subprocess.run(["btrfs", "-q", "subvolume", "create", str(disk / "part")], check=True)
    engine = disk / "part/engine.so"
    engine.write_bytes(b"o" * 100_000)
    (disk / "part/next").write_bytes(b"n" * 100_000)
    user = yard.start(MAPS, engine)
    old = yard.scanner.old_files([], [engine], time.time())
    (disk / "part/next").rename(engine)
    return {user}, {yard.start(MAPS, engine)}, old


def in_another_namespace(yard: Yard) -> tuple[set[int], set[int], OldFiles]:
    place = yard.path / "elsewhere"
    place.mkdir()
    user = yard.start(OTHER_NAMESPACE, yard.old, place)
    other = yard.start(OTHER_NAMESPACE, yard.new, place)
    return {user}, {other}, yard.swap()


def mount(kind: str, source: str, target: Path, options: str) -> None:
    done = subprocess.run(
        ["mount", "-t", kind, "-o", options, source, str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount {kind} here: {done.stderr.strip()}")


CASES: dict[str, Case] = {
    "symlink": lambda yard: by_pointer(yard, MAPS),
    "mapped then closed": lambda yard: by_pointer(yard, MAPS),
    "deleted": deleted,
    "renamed over": renamed_over,
    "exchange": exchanged,
    "overlay": grafted,
    "btrfs": on_btrfs,
    "read once": lambda yard: by_pointer(yard, READS),
    "memfd copy": lambda yard: by_pointer(yard, COPIES, environment={"SUTURE_PRODUCT_ROOT": str(yard.old)}),
    "other mount namespace": in_another_namespace,
    "set-id": lambda yard: by_pointer(yard, SETS_IDS),
    "thread": lambda yard: by_pointer(yard, THREAD),
}
"""The twelfth of the list that the project keeps, a container, is in tests/systemd; more are in test_scan_users."""


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_precision_and_recall_are_one(stage: Yard, case: str) -> None:
    users, bystanders, old = CASES[case](stage)
    found = set(stage.found(old))
    precision = len(found & users) / len(found) if found else 0.0
    recall = len(found & users) / len(users)
    assert (precision, recall) == (1.0, 1.0), (found, users, bystanders)
    assert not found & bystanders


def test_there_are_at_least_twelve_cases() -> None:
    assert len(CASES) >= 12
    assert len({*CASES, *USES}) >= 20


# --- effective is proven: the digest of what is mapped ---------------------------------------------------------------


def proving(yard: Yard, digest: str) -> OldFiles:
    return replace(yard.swap(), active=((yard.new / "lib/engine.so", digest),))


def digest_of(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_mapping_with_the_manifests_digest_is_proof(stage: Yard) -> None:
    engine = stage.new / "lib/engine.so"
    stage.start(MAPS, engine)
    assert stage.found(proving(stage, digest_of(engine))) == {}


@pytest.mark.parametrize("how", ["written in place", "renamed over", "deleted"])
def test_a_mapping_of_other_bytes_at_the_levels_own_path_is_found(stage: Yard, how: str) -> None:
    """As after a swap behind the agent's back: the path is the level's, the inode and the key are not old either."""
    engine = stage.new / "lib/engine.so"
    good, bytes_before = digest_of(engine), engine.read_bytes()
    engine.write_bytes(b"x" * 100_000)
    pid = stage.start(MAPS, engine)
    if how != "written in place":
        engine.unlink()
        if how == "renamed over":
            engine.write_bytes(bytes_before)
    assert stage.found(proving(stage, good)) == {pid: "mapped bytes that are not the level's"}


def test_a_user_who_may_not_open_map_files_compares_the_inode(stage: Yard) -> None:
    """Run as another user, which sees its own processes alone."""
    for path in (stage.path, *stage.path.parents):
        if path.owner() == "root" and path.stat().st_mode & 0o005 != 0o005:
            path.chmod(path.stat().st_mode | 0o055)
    engine = stage.new / "lib/engine.so"
    good = digest_of(engine)
    pid = stage.start(MAPS, engine, user=65534, program=("/usr/bin/python3", "-S"))
    script = f"""
import os, sys
from pathlib import Path
from suture.agent.restarts.mapped import MappedDigests
data = open("/proc/{pid}/maps", "rb").read()
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(sorted(MappedDigests().wrong([({pid}, data)], {{Path({str(engine)!r}): {good!r}}})))
"""

    def wrong() -> str:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
        return done.stdout.strip()

    assert wrong() == "[]"
    shutil.copy(engine, stage.path / "copy")
    (stage.path / "copy").rename(engine)
    assert wrong() == f"[{pid}]", "the same bytes, but who could say so of an inode that has no name any more"


# --- the second look -------------------------------------------------------------------------------------------------


def test_a_process_that_maps_old_bytes_between_two_looks_is_found(stage: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    from suture.agent.restarts import scan

    script = (
        f"import sys; print('ready', flush=True); sys.stdin.readline(); {MAPS.strip().replace(chr(10), ';')}; {WAIT}"
    )
    pid = stage.start(script, stage.old / "lib/engine.so", environment={}, program=(sys.executable, "-S"))
    child = stage.children[-1]
    old = replace(stage.swap(), roots=())
    real, looks = scan.ProcScanner._look, []

    def look(self: scan.ProcScanner, *words: object) -> object:
        found = real(self, *words)  # type: ignore[arg-type]
        looks.append(found)
        if len(looks) == 1:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(b"now\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"ready\n"
        return found

    monkeypatch.setattr(scan.ProcScanner, "_look", look)
    assert stage.found(old) == {pid: "mapped"}
    assert len(looks) == 3


def test_units_of_other_managers_are_no_units_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    from suture.agent.restarts import belonging

    groups = {1: "/init.scope"}
    monkeypatch.setattr(belonging, "_control_group", lambda pid: groups[pid])
    for path, unit in {
        "/system.slice/darkroom.service": "darkroom.service",
        "/system.slice/system-getty.slice/getty@tty1.service": "getty@tty1.service",
        "/user.slice/user-1000.slice/session-1.scope": "session-1.scope",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/darkroom.service": "user@1000.service",
        "/machine.slice/machine-box.scope/payload/system.slice/darkroom.service": "machine-box.scope",
        "/box/system.slice/darkroom.service": "/box/system.slice/darkroom.service",
        "/": None,
        "/../..": None,
        "": None,
    }.items():
        groups[2] = path
        assert unit_of(2) == unit
    groups[1] = "/box/init.scope"
    groups[2] = "/box/system.slice/darkroom.service"
    assert unit_of(2) == "darkroom.service", "an agent inside a container without a name space of control groups"


def test_a_process_that_ended_has_no_footprint_left() -> None:
    with contextlib.suppress(ProcessLookupError):
        assert read_process(os.getpid()).footprint  # type: ignore[union-attr]
    assert read_process(2**22 + 1) is None
