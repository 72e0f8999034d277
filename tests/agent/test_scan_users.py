"""The scanner against real processes whose truth is known: it finds every user of old files, and nobody else."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from suture.adapters.process import own_identity, read_process
from suture.agent.doors import OldFiles, ScanResult
from suture.agent.restarts.belonging import unit_of
from suture.agent.restarts.clearing import still_unknown
from suture.agent.restarts.look import Wanted
from suture.agent.restarts.map_keys import keys_of, stat_key
from suture.agent.restarts.scan import ProcScanner
from suture.agent.supervisor_state import SupervisedState, state_path, write_state

WAIT = "print('ready', flush=True); sys.stdin.read()"
MAPS = """
import mmap, os, sys
f = os.open(sys.argv[1], os.O_RDONLY); m = mmap.mmap(f, 0, prot=mmap.PROT_READ); os.close(f)
"""
OPENS = "import os, sys; f = os.open(sys.argv[1], os.O_RDONLY);"
READS = "import os, sys; open(sys.argv[1], 'rb').read();"
THREAD = """
import ctypes, mmap, os, sys, threading
def run():
    f = os.open(sys.argv[1], os.O_RDONLY); m = mmap.mmap(f, 0, prot=mmap.PROT_READ); os.close(f)
    ended.wait()
    while open(f"/proc/{os.getpid()}/stat").read().rpartition(")")[2].split()[0] != "Z": pass
    print("ready", flush=True); sys.stdin.read(); os._exit(0)
ended = threading.Event()
threading.Thread(target=run).start()
ended.set()
ctypes.CDLL(None).pthread_exit(None)
"""
SPAWNS = """
import os
print("ready", flush=True)
while True:
    child = os.fork()
    if child == 0: os._exit(0)
    os.waitpid(child, 0)
"""
COPIES = """
import mmap, os, sys
f = os.memfd_create("copy"); os.write(f, open(sys.argv[1], "rb").read()); m = mmap.mmap(f, 0, prot=mmap.PROT_READ)
"""


class Yard:
    """An old and a new tree, a pointer, and processes that use them."""

    def __init__(self, path: Path) -> None:
        self.path, self.old, self.new, self.pointer = path, path / "old", path / "new", path / "current"
        for tree, byte in ((self.old, b"o"), (self.new, b"n")):
            (tree / "lib").mkdir(parents=True)
            (tree / "lib/engine.so").write_bytes(byte * 100_000)
            (tree / "lib/same.so").write_bytes(b"s" * 100_000)
            (tree / "lib/empty").touch()
            (tree / "lib/run").symlink_to(os.path.realpath(sys.executable))
        self.pointer.symlink_to("old")
        self.children: list[subprocess.Popen[bytes]] = []
        self.scanner = ProcScanner(path / "state")

    def start(
        self,
        script: str,
        *words: object,
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
        program: Sequence[str] = (sys.executable, "-S"),
        user: int | None = None,
    ) -> int:
        child = subprocess.Popen(
            [*program, "-c", f"{script}\n{WAIT}" if "ready" not in script else script, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], **(environment or {})},
            cwd=cwd or "/",
            user=user,
            start_new_session=True,
        )
        self.children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        return child.pid

    def swap(self) -> OldFiles:
        (self.path / "next").symlink_to("new")
        (self.path / "next").rename(self.pointer)
        changed = [self.old / "lib/engine.so", self.old / "lib/empty", self.old / "lib/missing"]
        return self.scanner.old_files([self.old], changed, time.time())

    def found(self, old: OldFiles) -> dict[int, str]:
        return {user.pid: user.how for user in self.scanner.scan(old).users}

    def stop(self) -> None:
        for child in self.children:
            assert child.stdin is not None
            assert child.stdout is not None
            with contextlib.suppress(OSError):
                child.stdin.close()
            child.stdout.close()
            child.kill()
            child.wait()


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def bystanders(yard: Yard) -> list[int]:
    """Processes that use nothing old, however close they come."""
    new = yard.new / "lib/engine.so"
    return [
        yard.start("import sys;"),
        yard.start(MAPS, new),
        yard.start(OPENS, new, cwd=yard.new),
        yard.start("import sys;", environment={"SUTURE_PRODUCT_ROOT": str(yard.new), "UNRELATED": str(yard.old)}),
        yard.start("import sys;", environment={"SUTURE_PRODUCT_ROOT": f"{yard.old}-other"}),
    ]


USES = {
    "mapped": "mapped",
    "mapped then deleted": "mapped",
    "mapped then replaced": "mapped",
    "open": "open",
    "open then deleted": "open",
    "open directory": "open directory",
    "working directory": "working directory",
    "read once, told by its root": "started from the old files",
    "read once, told by a loader's path": "environment (PYTHONPATH)",
    "read once, told by its command line": "command line",
    "thread whose leader ended": "mapped",
    "copied to memory, told by its root": "started from the old files",
}


def begin(yard: Yard, use: str) -> int:
    engine, root = yard.old / "lib/engine.so", {"SUTURE_PRODUCT_ROOT": str(yard.old)}
    match use:
        case "open" | "open then deleted":
            return yard.start(OPENS, engine)
        case "open directory":
            return yard.start(OPENS, yard.old / "lib")
        case "working directory":
            return yard.start("import sys;", cwd=yard.old / "lib")
        case "read once, told by its root":
            return yard.start("import sys;", environment=root)
        case "read once, told by a loader's path":
            return yard.start("import sys;", environment={"PYTHONPATH": f"/nowhere:{yard.old}/lib"})
        case "read once, told by its command line":
            return yard.start(READS, engine)
        case "thread whose leader ended":
            return yard.start(THREAD, engine)
        case "copied to memory, told by its root":
            return yard.start(COPIES, engine, environment=root)
        case _:
            return yard.start(MAPS, engine)


@pytest.mark.parametrize("use", USES)
def test_every_way_of_using_old_files_is_found_and_nobody_else(yard: Yard, bystanders: list[int], use: str) -> None:
    pid = begin(yard, use)
    old = yard.swap()
    if use.endswith("deleted"):
        (yard.old / "lib/engine.so").unlink()
    if use.endswith("replaced"):
        shutil.copy(yard.new / "lib/engine.so", yard.path / "fresh")
        (yard.path / "fresh").rename(yard.old / "lib/engine.so")
    assert yard.found(old) == {pid: USES[use]}
    yard.stop()
    # Keys are good for as long as the files are there or in use: a freed inode may be anybody's next file.
    assert yard.found(yard.scanner.old_files(old.roots, [yard.old / "lib/engine.so"], old.swapped_at)) == {}


def test_a_program_of_the_old_tree_that_still_runs_is_found(yard: Yard) -> None:
    shutil.copy("/bin/sleep", yard.old / "lib/sleep")
    with subprocess.Popen([yard.old / "lib/sleep", "600"], env={}) as child:
        old = yard.swap()
        assert yard.found(old) == {child.pid: "runs from the old files"}
        (yard.old / "lib/sleep").unlink()
        assert yard.found(old) == {child.pid: "runs from the old files"}
        child.kill()


@pytest.mark.slow
def test_a_process_started_through_the_pointer_before_the_swap_is_found(yard: Yard) -> None:
    product = {
        "format": "suture-product/1",
        "product": "darkroom",
        "title": "Darkroom",
        "vendor": "Acme",
        "release": {"kind": "fixed", "version": "1.0"},
        "root": str(yard.old),
        "components": [{"name": "engine", "path": "lib"}],
        "repositories": ["http://127.0.0.1/"],
        "first_root": "sha256:" + "0" * 64,
        "pointer": str(yard.pointer),
    }
    (yard.path / "state/products").mkdir(parents=True)
    (yard.path / "state/products/darkroom.json").write_text(json.dumps(product))
    (yard.path / "state/products/broken.json").write_text("{")
    before = yard.start(READS, yard.pointer / "lib/engine.so")
    time.sleep(0.05)  # start times have a grain of 10 ms
    old = yard.swap()
    time.sleep(0.05)
    yard.start(READS, yard.pointer / "lib/engine.so")
    assert yard.found(old) == {before: "command line"}


def test_old_roots_may_be_components_of_the_products_root(yard: Yard) -> None:
    pid = yard.start("import sys;", environment={"SUTURE_PRODUCT_ROOT": str(yard.old)})
    yard.start("import sys;", cwd=yard.old)
    old = yard.scanner.old_files([yard.old / "lib"], [], time.time())
    assert yard.found(old) == {pid: "started from the old files"}


def test_children_are_found_and_zombies_are_not(yard: Yard) -> None:
    script = (
        MAPS
        + """
child = os.fork()
if child == 0: sys.stdin.read(); os._exit(0)
zombie = os.fork()
if zombie == 0: os._exit(0)
os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
print("ready", flush=True); print(child, zombie, flush=True); sys.stdin.read()
"""
    )
    pid = yard.start(script, yard.old / "lib/engine.so")
    stdout = yard.children[-1].stdout
    assert stdout is not None
    child, zombie = map(int, stdout.readline().split())
    old = yard.swap()
    state = read_process(zombie)
    assert state is not None
    assert state.is_zombie
    assert yard.found(old) == {pid: "mapped", child: "mapped"}
    os.kill(child, signal.SIGKILL)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to start processes of another user")
def test_root_sees_the_processes_of_others(yard: Yard) -> None:
    for path in (yard.path, *yard.path.parents):
        if path.owner() == "root" and path.stat().st_mode & 0o005 != 0o005:
            path.chmod(path.stat().st_mode | 0o055)
    pid = yard.start(MAPS, yard.old / "lib/engine.so", user=65534, program=("/usr/bin/python3", "-S"))
    old = yard.swap()
    result = yard.scanner.scan(old)
    assert [(user.pid, user.how) for user in result.users] == [(pid, "mapped")]
    assert pid not in result.unknown


def cleared(yard: Yard, pid: int, *files: Path) -> bool:
    old = yard.scanner.old_files([yard.old], files, time.time())
    return still_unknown([pid], files, Wanted.of(old, ())) == ()


def test_an_uninspectable_process_is_cleared_only_by_the_kernels_word(yard: Yard) -> None:
    """As if it could not be inspected: only what stays readable may count."""
    late, engine = yard.start("import sys;"), yard.old / "lib/engine.so"
    assert not cleared(yard, late, engine)  # it began after the old files existed
    early = 1
    os.utime(engine)
    assert cleared(yard, early, engine)
    assert not cleared(yard, early)  # no files, no proof
    assert not cleared(yard, early, yard.old / "missing")
    for use in (MAPS, OPENS):
        yard.start(use, engine)
        assert not cleared(yard, early, engine)
        yard.stop()
        assert cleared(yard, early, engine)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_what_a_user_cannot_inspect_is_counted_as_unknown(yard: Yard) -> None:
    script = """
import json, os, sys
from pathlib import Path
from suture.agent.restarts.scan import ProcScanner
from suture.agent.doors import OldFiles
os.setgroups([]); os.setgid(65534); os.setuid(65534)
result = ProcScanner(None).scan(OldFiles(frozenset(), (Path("/nowhere"),), 0.0))
print(json.dumps([[user.pid for user in result.users], list(result.unknown)]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    users, unknown = json.loads(done.stdout)
    assert users == []
    assert os.getpid() in unknown
    assert 2 not in unknown or not (state := read_process(2)) or not state.is_kernel_thread


def test_a_supervised_worker_from_the_old_root_is_found_by_its_ancestry(yard: Yard) -> None:
    pid = yard.start("import sys;")
    grandchild = yard.start("import sys;")
    supervisor, started = own_identity()
    worker = read_process(pid)
    assert worker is not None
    state = SupervisedState(
        "thumbs", supervisor, started, 1, "running", "2026-03-01T12:00:00Z", pid, worker.started, str(yard.old)
    )
    path = state_path(yard.path / "state", "thumbs")
    path.parent.mkdir(parents=True)
    write_state(path, state)
    result = yard.scanner.scan(yard.swap())
    assert [(user.pid, user.how, user.belongs_to) for user in result.users] == [
        (pid, "started from the old files", "thumbs")
    ]
    assert grandchild not in [user.pid for user in result.users]
    assert abs(result.users[0].started - time.time()) < 60


def test_map_keys_are_what_maps_shows(yard: Yard) -> None:
    engine = yard.old / "lib/engine.so"
    pid = yard.start(MAPS, engine)
    lines = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if line.endswith(str(engine))]
    assert (lines[0][3], int(lines[0][4])) in keys_of([engine])
    assert stat_key((yard.old / "lib/empty").stat()) in keys_of([yard.old / "lib/empty"])
    assert keys_of([yard.old / "missing", yard.old / "lib", yard.old / "lib/run"]) == frozenset()


def test_many_files_are_mapped_in_batches(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(1000)]
    for path in paths:
        path.write_bytes(b"x")
    assert {inode for _, inode in keys_of(paths)} == {path.stat().st_ino for path in paths}


def test_processes_that_come_and_go_do_not_disturb_it(yard: Yard) -> None:
    old = yard.swap()
    yard.start(SPAWNS)
    for _ in range(20):
        result: ScanResult = yard.scanner.scan(old)
        assert result.users == ()


@pytest.mark.slow
def test_200_processes_are_scanned_in_50_ms(yard: Yard) -> None:
    sleepers = [subprocess.Popen(["/bin/sleep", "600"], env={}) for _ in range(200)]
    try:
        old = yard.swap()
        yard.scanner.scan(old)
        costs = []
        for _ in range(7):
            began = time.process_time()  # the machine may be busy with other things
            yard.scanner.scan(old)
            costs.append((time.process_time() - began) * 1000)
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
    assert min(costs) < 50, costs


def test_a_unit_is_read_from_the_cgroup() -> None:
    unit = unit_of(os.getpid())
    assert unit is None or unit.endswith((".service", ".scope", ".socket"))
    assert unit_of(2**22 + 1) is None
