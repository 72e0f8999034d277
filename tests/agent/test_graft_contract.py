"""The contract of every graft: one suite for `switch`, and for `overlay` in each way that a kernel may leave open."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from graft_yard import IDENTITY, ISSUED, KINDS, Yard
from mount_world import NO_MOUNTS, private_mounts, unmount_below

from suture.agent.doors import BETWEEN
from suture.core.digests import digest_bytes
from suture.core.errors import BaselineMismatchError, DigestMismatchError, InputError, RefusedError, StorageError
from suture.improvement.layer import Layer
from suture.improvement.manifest import Pin

pytestmark = pytest.mark.root


@pytest.fixture(params=KINDS)
def yard(request: pytest.FixtureRequest) -> Iterator[Yard]:
    kind: str = request.param
    if kind != "switch" and NO_MOUNTS:
        pytest.skip(NO_MOUNTS)
    path = Path(tempfile.mkdtemp(prefix="suture-graft-"))
    try:
        if kind == "switch":
            yield Yard(path, kind).build()
        else:
            with private_mounts(shared=True):
                try:
                    yield Yard(path, kind).build()
                finally:
                    unmount_below(path)
    finally:
        shutil.rmtree(path)


def contents(root: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
    }


def test_a_staged_level_is_seen_by_nobody_until_it_is_swapped_in(yard: Yard) -> None:
    before = contents(yard.baseline)
    tree = yard.stage(1)
    assert yard.graft.levels(yard.product, IDENTITY) == (1,)
    assert (yard.current(), yard.version(), yard.version("codec")) == (0, "level 0", "level 0")
    assert (tree / "lib/imaging/version").read_text() == "level 1"
    yard.graft.verify(yard.product, IDENTITY, 1, yard.layers(1))
    assert contents(yard.baseline) == before


def test_what_programs_see_is_the_baseline_with_the_layer_in_its_place(yard: Yard) -> None:
    yard.stage(1)
    assert yard.swap(1) > 0
    for component in ("imaging", "codec"):
        seen = yard.seen(component)
        assert (seen / "version").read_text() == "level 1"
        assert (seen / "version").stat().st_mtime == ISSUED.timestamp()
        assert (seen / "version").stat().st_mode & 0o7777 == 0o755
        assert (seen / "same.so").read_bytes() == b"same" * 1000
        assert os.readlink(seen / "link") == "same.so"
        assert (seen / "added/deep.txt").read_bytes() == b"deep"
        assert (seen / "added").stat().st_mode & 0o7777 == 0o750
        assert not (seen / "gone.txt").exists()
        assert "gone.txt" not in os.listdir(seen)
        assert not (seen / "sub/__pycache__/x.cpython-311.pyc").exists()


def test_swapping_is_idempotent_and_the_baseline_comes_back_whole(yard: Yard) -> None:
    before = contents(yard.baseline)
    yard.stage(1)
    yard.stage(2, "imaging")
    for level, codec in ((1, 1), (1, 1), (2, 0), (1, 1), (2, 0), (2, 0), (0, 0), (0, 0), (2, 0), (0, 0)):
        yard.swap(level)
        assert yard.open().current(yard.product, IDENTITY) == level
        assert (yard.version(), yard.version("codec")) == (f"level {level}", f"level {codec}")
    assert contents(yard.baseline) == before


def test_what_is_shown_is_not_discarded_and_the_rest_is(yard: Yard) -> None:
    yard.stage(1)
    yard.stage(2)
    yard.swap(1)
    with pytest.raises(RefusedError, match="programs see it now"):
        yard.graft.discard(yard.product, IDENTITY, 1)
    yard.graft.discard(yard.product, IDENTITY, 2)
    yard.graft.discard(yard.product, IDENTITY, 2)
    assert (yard.graft.levels(yard.product, IDENTITY), yard.version()) == ((1,), "level 1")
    yard.swap(0)
    yard.graft.discard(yard.product, IDENTITY, 1)
    assert yard.left() == []
    with pytest.raises(StorageError, match="no directory"):
        yard.swap(1)
    with pytest.raises(RefusedError):
        yard.graft.discard(yard.product, IDENTITY, 0)


def test_every_tree_can_be_opened_whatever_is_shown(yard: Yard) -> None:
    yard.stage(1)
    yard.stage(2)
    for level in (0, 1, 2, 0):
        yard.swap(level)
        for other in (0, 1, 2):
            tree = yard.graft.tree(yard.product, IDENTITY, other)
            assert (tree / "codec/version").read_text() == f"level {other}"
        assert {level for level, _ in yard.graft.trees(yard.product, IDENTITY)} == {0, 1, 2}
        for number, tree in yard.graft.trees(yard.product, IDENTITY):
            assert (tree / "lib/imaging/version").read_text() == f"level {number}"


def test_a_level_staged_twice_is_made_once_and_a_spoilt_one_is_made_again(yard: Yard) -> None:
    tree = yard.stage(1)
    inode = (tree / "lib/imaging/version").stat().st_ino
    assert (yard.stage(1) / "lib/imaging/version").stat().st_ino == inode
    yard.spoil(1)
    with pytest.raises(DigestMismatchError):
        yard.graft.verify(yard.product, IDENTITY, 1, yard.layers(1))
    yard.stage(1)
    yard.graft.verify(yard.product, IDENTITY, 1, yard.layers(1))
    assert yard.left() == ["1"]


def test_a_spoilt_level_that_is_shown_is_not_taken_away_under_programs(yard: Yard) -> None:
    yard.stage(1)
    yard.swap(1)
    yard.spoil(1)
    with pytest.raises(DigestMismatchError):
        yard.stage(1)
    assert yard.left() == ["1"]


def test_a_level_of_other_bytes_than_the_signed_ones_is_not_verified(yard: Yard) -> None:
    yard.stage(1)
    with pytest.raises(DigestMismatchError):
        yard.graft.verify(yard.product, IDENTITY, 1, yard.layers(7))


def test_pins_are_of_the_bare_baseline_whatever_is_shown(yard: Yard) -> None:
    good = [Pin("version", 7, digest_bytes(b"level 0")), Pin("gone.txt", 4, digest_bytes(b"gone"))]
    yard.stage(1)
    for level in (0, 1):
        yard.swap(level)
        yard.graft.verify_pins(yard.product, {"imaging": good, "codec": good})
        for bad in (Pin("version", 7, digest_bytes(b"level 1")), Pin("missing", 0, digest_bytes(b"")),
                    Pin("version", 8, digest_bytes(b"level 0")), Pin("link", 1, digest_bytes(b"x"))):  # fmt: skip
            with pytest.raises(BaselineMismatchError, match=bad.path):
                yard.graft.verify_pins(yard.product, {"codec": [*good, bad]})


def test_bytes_that_changed_after_they_were_verified_leave_nothing(yard: Yard) -> None:
    yard.layers(1)
    (yard.path / "new" / digest_bytes(b"level 1")[7:]).write_bytes(b"level X")
    layers = {"imaging": Layer((yard.layer(2).entries[0],)), "codec": Layer((yard.entry("a", b"a"),))}
    (yard.path / "new" / digest_bytes(b"a")[7:]).write_bytes(b"b")
    with pytest.raises(DigestMismatchError):
        yard.graft.stage(yard.product, IDENTITY, 1, layers, yard.new_file, ISSUED)
    assert yard.left() == []
    assert yard.graft.levels(yard.product, IDENTITY) == ()


def test_what_the_product_does_not_list_is_refused(yard: Yard) -> None:
    with pytest.raises(InputError, match="does not list"):
        yard.graft.stage(yard.product, IDENTITY, 1, {"kernel": Layer()}, yard.new_file, ISSUED)
    with pytest.raises(InputError):
        yard.graft.stage(yard.product, IDENTITY, 0, yard.layers(1), yard.new_file, ISSUED)
    with pytest.raises(InputError):
        yard.graft.levels(yard.product, "../x-any")


def test_sweeping_takes_away_what_was_left_half_made_and_nothing_else(yard: Yard) -> None:
    yard.stage(1)
    yard.swap(1)
    release = yard.path / "store/darkroom" / IDENTITY
    (release / ".2.0123456789ab.new/work").mkdir(parents=True)
    (release / ".1.0123456789ab.old").mkdir()
    yard.graft.sweep()
    assert yard.left() == ["1"]
    assert (yard.current(), yard.version()) == (1, "level 1")


def test_it_is_atomic_and_says_so(yard: Yard) -> None:
    assert yard.graft.atomic


# --- seen by others --------------------------------------------------------------------------------------------------

SEES = """
import sys
for line in sys.stdin:
    print(open(sys.argv[1]).read(), flush=True)
"""


def test_a_process_in_another_mount_namespace_sees_every_swap(yard: Yard) -> None:
    yard.stage(1)
    yard.stage(2)
    argv = [sys.executable, "-c", SEES, str(yard.seen() / "version")]
    apart = ["unshare", "-m", "--propagation", "slave"]
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no mount namespace can be made here")
    with subprocess.Popen([*apart, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for level in (0, 1, 2, 1, 0):
            yard.swap(level)
            other.stdin.write("\n")
            other.stdin.flush()
            assert other.stdout.readline().strip() == f"level {level}"
        other.stdin.close()


OPENER = """
import json, signal, sys
path, stop = sys.argv[1], []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
opens = errors = baseline = 0
print("ready", flush=True)
while not stop:
    opens += 1
    try:
        with open(path, "rb") as file: said = file.read()
    except OSError:
        errors += 1
        continue
    baseline += said not in (b"level 1", b"level 2")
print(json.dumps({"opens": opens, "errors": errors, "baseline": baseline}))
"""


@pytest.mark.slow
def test_a_thousand_swaps_under_a_loop_of_opens_never_fail_one_nor_show_the_baseline(yard: Yard) -> None:
    yard.stage(1)
    yard.stage(2)
    yard.swap(1)
    with subprocess.Popen(
        [sys.executable, "-c", OPENER, str(yard.seen() / "version")], stdout=subprocess.PIPE
    ) as opener:
        assert opener.stdout is not None
        opener.stdout.readline()
        for number in range(1000):
            yard.swap(2 if number % 2 == 0 else 1)
        opener.terminate()
        found = json.loads(opener.stdout.readline())
    assert (found["errors"], found["baseline"]) == (0, 0)
    assert found["opens"] > 1000


# --- crashes --------------------------------------------------------------------------------------------------------

CRASHING = """
import os, sys
sys.path[:0] = {path!r}
from pathlib import Path
import suture.adapters.mounts as mounts
from graft_yard import Yard
from graft_yard import IDENTITY
count = int(sys.argv[3])
def dying(place, name):
    real = getattr(place, name)
    def call(*a, **k):
        global count
        count -= 1
        if count == 0:
            os._exit(137)
        return real(*a, **k)
    setattr(place, name, call)
yard = Yard(Path(sys.argv[1]), sys.argv[2])
for name in ("mkdir", "rename", "symlink", "unlink", "rmdir", "fsync", "fchmod", "mknod"):
    dying(os, name)
dying(mounts, "_call")
for module in ("overlay_points", "overlay_place"):
    exec(f"import suture.agent.grafts.{{module}} as module")
    dying(module, "detach")
yard.graft.sweep()
yard.stage(1)
yard.swap(1)
yard.stage(2, "imaging")
yard.swap(2)
yard.swap(1)
yard.swap(0)
yard.graft.discard(yard.product, IDENTITY, 1)
yard.graft.discard(yard.product, IDENTITY, 2)
os._exit(0)
"""


def check_after_crash(yard: Yard) -> None:
    """Old or new for each component, said truly; and the next one rolls all forward, or all back."""
    graft = yard.open()
    shown = (yard.version(), yard.version("codec"))
    current = graft.current(yard.product, IDENTITY)
    truth = {("level 0", "level 0"): 0, ("level 1", "level 1"): 1, ("level 2", "level 0"): 2}
    assert current == truth.get(shown, BETWEEN)
    if not yard.is_overlay:
        assert current != BETWEEN
    graft.sweep()
    for level in graft.levels(yard.product, IDENTITY):
        layers = yard.layers(1) if level == 1 else yard.layers(2, "imaging")
        graft.verify(yard.product, IDENTITY, level, layers)
        graft.swap(yard.product, IDENTITY, level)
        assert graft.current(yard.product, IDENTITY) == level
        assert yard.version("codec") == ("level 1" if level == 1 else "level 0")
    graft.swap(yard.product, IDENTITY, 0)
    assert (yard.version(), yard.version("codec")) == ("level 0", "level 0")
    for level in graft.levels(yard.product, IDENTITY):
        graft.discard(yard.product, IDENTITY, level)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_before_any_change_it_goes_all_forward_or_all_back(yard: Yard) -> None:
    script = CRASHING.format(path=[str(Path(__file__).parent)])
    before = contents(yard.baseline)
    point, step, code = 1, {"overlay": 1, "switch": 3}.get(yard.kind, 7), 137
    between = 0
    while code != 0:
        argv = [sys.executable, "-c", script, str(yard.path), yard.kind, str(point)]
        code = subprocess.run(argv, check=False).returncode
        assert code in (0, 137)
        between += yard.open().current(yard.product, IDENTITY) == BETWEEN
        check_after_crash(yard)
        point += step
    assert contents(yard.baseline) == before
    assert between > 0 or yard.kind != "overlay"


def test_a_swap_that_fails_at_the_second_component_puts_the_first_one_back(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not yard.is_overlay:
        pytest.skip("one pointer holds all components of a switch graft")
    yard.stage(1)
    yard.stage(2)
    import suture.agent.grafts.overlay_points as points

    real = points.Points._show_one

    def failing(self: points.Points, one: points.Planned, *rest: object, **words: object) -> None:
        if one.point.name == "codec" and one.source is not None and "/2." in str(one.source):
            raise OSError(5, "the kernel says no")
        real(self, one, *rest, **words)  # type: ignore[arg-type]  # whatever the real one takes

    monkeypatch.setattr(points.Points, "_show_one", failing)
    with pytest.raises(StorageError, match="the kernel says no"):
        yard.swap(2)
    assert (yard.current(), yard.version(), yard.version("codec")) == (0, "level 0", "level 0")
    yard.swap(1)
    with pytest.raises(StorageError, match="the kernel says no"):
        yard.swap(2)
    assert (yard.current(), yard.version(), yard.version("codec")) == (1, "level 1", "level 1")


def test_the_namespaces_of_these_tests_are_their_own() -> None:
    if NO_MOUNTS:
        pytest.skip(NO_MOUNTS)
    before = Path("/proc/thread-self/mountinfo").read_text()
    with private_mounts():
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mount(b"none", b"/mnt", b"tmpfs", 0, None) == 0
    assert Path("/proc/thread-self/mountinfo").read_text() == before
