"""The switch graft on real trees: what it builds, what it refuses, and what is left on disk when it is killed."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from suture.agent.doors import Graft
from suture.agent.grafts.switch import SwitchGraft
from suture.core.digests import digest_bytes
from suture.core.errors import (
    BaselineMismatchError,
    DigestMismatchError,
    DiskFullError,
    InputError,
    MetadataError,
    RefusedError,
    StorageError,
    TreeError,
)
from suture.improvement.layer import Layer
from suture.improvement.manifest import Pin
from suture.improvement.tree import DirectoryEntry, FileEntry, LinkEntry
from suture.wire.product import FixedRelease, Product, ProductComponent

ISSUED = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
IDENTITY = "1.0-x86_64"


def product_at(tmp_path: Path, *components: tuple[str, str]) -> Product:
    return Product(
        format="suture-product/1",
        product="darkroom",
        title="Darkroom",
        vendor="Acme",
        release=FixedRelease("1.0"),
        root=str(tmp_path / "baseline"),
        components=tuple(ProductComponent(*one) for one in components or (("imaging", "lib/imaging"),)),
        repositories=("http://127.0.0.1/",),
        first_root="sha256:" + "0" * 64,
        pointer=str(tmp_path / "current"),
    )


class Desk:
    """A baseline, a store and a pointer."""

    def __init__(self, tmp_path: Path) -> None:
        self.path, self.component = tmp_path, tmp_path / "baseline/lib/imaging"
        self.component.mkdir(parents=True)
        (self.component / "old.so").write_bytes(b"old" * 1000)
        (self.component / "same.so").write_bytes(b"same" * 1000)
        (self.component / "same.so").chmod(0o755)
        (self.component / "gone.txt").write_bytes(b"gone")
        (self.component / "sub/__pycache__").mkdir(parents=True)
        (self.component / "sub/__pycache__/x.pyc").write_bytes(b"stale")
        (self.component / "sub/x.py").write_bytes(b"x = 1\n")
        (self.component / "link").symlink_to("same.so")
        os.utime(self.component / "same.so", (1e9, 1e9))
        (tmp_path / "new").mkdir()
        self.graft: Graft = SwitchGraft(tmp_path / "store")
        self.product = product_at(tmp_path)
        self.layer = Layer(
            entries=(
                self.new("added/deep.txt", b"deep", parents=True),
                self.new("old.so", b"new" * 999, mode="0755"),
                self.new("sub/x.py", b"x = 2\n"),
            ),
            removed=("gone.txt",),
        )
        self.layer = Layer((DirectoryEntry("added", "0750"), *self.layer.entries), self.layer.removed)

    def new(self, path: str, data: bytes, *, mode: str = "0644", parents: bool = False) -> FileEntry:
        digest = digest_bytes(data)
        (self.path / "new" / digest[7:]).write_bytes(data)
        return FileEntry(path, mode, len(data), digest)

    def new_file(self, component: str, entry: FileEntry) -> Path:
        assert component == "imaging"
        return self.path / "new" / entry.digest[7:]

    def stage(self, level: int = 1, layer: Layer | None = None) -> Path:
        layers = {"imaging": layer or self.layer}
        return self.graft.stage(self.product, IDENTITY, level, layers, self.new_file, ISSUED)

    def left(self) -> list[str]:
        release = self.path / "store/darkroom" / IDENTITY
        return sorted(os.listdir(release)) if release.exists() else []


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
    }


def test_a_staged_level_is_the_baseline_with_the_layer_in_its_place(desk: Desk) -> None:
    before = snapshot(desk.path / "baseline")
    tree = desk.stage()
    assert tree == desk.path / "store/darkroom" / IDENTITY / "1/tree"
    made = tree / "lib/imaging"
    assert (made / "old.so").read_bytes() == b"new" * 999
    assert (made / "old.so").stat().st_mtime == ISSUED.timestamp()
    assert stat.S_IMODE((made / "old.so").stat().st_mode) == 0o755
    assert (made / "same.so").read_bytes() == b"same" * 1000
    assert stat.S_IMODE((made / "same.so").stat().st_mode) == 0o755
    assert (made / "same.so").stat().st_mtime == 1e9
    assert (made / "same.so").stat().st_ino != (desk.component / "same.so").stat().st_ino
    assert (made / "same.so").stat().st_nlink == 1
    assert not (made / "same.so").is_symlink()
    assert os.readlink(made / "link") == "same.so"
    assert not (made / "gone.txt").exists()
    assert not (made / "sub/__pycache__").exists()
    assert (made / "sub/x.py").read_bytes() == b"x = 2\n"
    assert (made / "added/deep.txt").read_bytes() == b"deep"
    assert stat.S_IMODE((made / "added").stat().st_mode) == 0o750
    assert snapshot(desk.path / "baseline") == before
    assert desk.graft.levels(desk.product, IDENTITY) == (1,)


def test_services_can_read_the_store_whatever_the_umask_is(desk: Desk) -> None:
    old = os.umask(0o077)
    try:
        tree = desk.stage()
    finally:
        os.umask(old)
    for path in (tree, *list(tree.parents)[:4], tree / "lib"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755, path


def test_swapping_there_and_back(desk: Desk) -> None:
    pointer = desk.path / "current"
    pointer.symlink_to(desk.product.root)
    desk.stage()
    assert desk.graft.current(desk.product, IDENTITY) == 0
    assert desk.graft.swap(desk.product, IDENTITY, 1) > 0
    assert desk.graft.current(desk.product, IDENTITY) == 1
    assert (pointer / "lib/imaging/old.so").read_bytes() == b"new" * 999
    with pytest.raises(RefusedError, match="programs see it now"):
        desk.graft.discard(desk.product, IDENTITY, 1)
    desk.graft.swap(desk.product, IDENTITY, 1)
    desk.graft.swap(desk.product, IDENTITY, 0)
    assert desk.graft.current(desk.product, IDENTITY) == 0
    assert pointer.is_symlink()
    desk.graft.discard(desk.product, IDENTITY, 1)
    desk.graft.discard(desk.product, IDENTITY, 1)
    assert desk.left() == []
    with pytest.raises(StorageError, match="no directory"):
        desk.graft.swap(desk.product, IDENTITY, 1)


def test_a_level_staged_twice_is_made_once_and_a_spoilt_one_is_made_again(desk: Desk) -> None:
    tree = desk.stage()
    inode = tree.stat().st_ino
    assert desk.stage() == tree
    assert tree.stat().st_ino == inode
    (tree / "lib/imaging/old.so").write_bytes(b"evil" * 999)
    with pytest.raises(DigestMismatchError, match=r"old\.so"):
        desk.graft.verify(desk.product, IDENTITY, 1, {"imaging": desk.layer})
    desk.stage()
    desk.graft.verify(desk.product, IDENTITY, 1, {"imaging": desk.layer})
    assert desk.left() == ["1"]


def test_a_level_that_runs_and_was_tampered_with_is_not_taken_away_under_it(desk: Desk) -> None:
    tree = desk.stage()
    desk.graft.swap(desk.product, IDENTITY, 1)
    (tree / "lib/imaging/old.so").write_bytes(b"evil" * 999)
    with pytest.raises(DigestMismatchError):
        desk.stage()
    assert (tree / "lib/imaging/old.so").exists()


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"!")


def _relink(path: Path) -> None:
    path.rename(path.with_name("away"))
    path.symlink_to("away")


@pytest.mark.parametrize("spoil", [Path.unlink, _append, _relink, lambda path: path.chmod(0o600)])
def test_verify_sees_every_way_to_spoil_a_file(desk: Desk, spoil: Callable[[Path], None]) -> None:
    tree = desk.stage()
    spoil(tree / "lib/imaging/old.so")
    with pytest.raises(DigestMismatchError, match=r"old\.so"):
        desk.graft.verify(desk.product, IDENTITY, 1, {"imaging": desk.layer})


def test_verify_sees_a_removed_file_that_came_back(desk: Desk) -> None:
    (desk.stage() / "lib/imaging/gone.txt").write_bytes(b"back")
    with pytest.raises(DigestMismatchError, match="should be gone"):
        desk.graft.verify(desk.product, IDENTITY, 1, {"imaging": desk.layer})


def test_bytes_that_changed_between_verification_and_staging_leave_nothing(desk: Desk) -> None:
    (desk.path / "new" / digest_bytes(b"new" * 999)[7:]).write_bytes(b"bad" * 999)
    with pytest.raises(DigestMismatchError):
        desk.stage()
    assert desk.left() == []


def test_files_directories_and_links_may_change_into_one_another(desk: Desk) -> None:
    layer = Layer(
        entries=(
            LinkEntry("added", "old.so"),
            self_file := desk.new("link", b"was a link"),
            DirectoryEntry("same.so", "0755"),
            desk.new("same.so/inner", b"inner"),
            desk.new("sub", b"was a directory"),
        ),
        removed=("sub/x.py",),
    )
    made = desk.stage(layer=layer) / "lib/imaging"
    assert (made / "link").read_bytes() == b"was a link"
    assert self_file.size == 10
    assert not (made / "link").is_symlink()
    assert (made / "same.so/inner").read_bytes() == b"inner"
    assert (made / "sub").read_bytes() == b"was a directory"
    assert os.readlink(made / "added") == "old.so"


def test_a_read_only_directory_is_carried_and_can_be_discarded(desk: Desk) -> None:
    (desk.component / "sub").chmod(0o555)
    tree = desk.stage()
    assert stat.S_IMODE((tree / "lib/imaging/sub").stat().st_mode) == 0o555
    desk.graft.swap(desk.product, IDENTITY, 0)
    desk.graft.discard(desk.product, IDENTITY, 1)
    assert desk.left() == []
    (desk.component / "sub").chmod(0o755)


@pytest.mark.parametrize("path", ["../escape", "/etc/x", "a//b", "a/../../b", "."])
def test_a_path_that_leaves_the_component_is_refused(desk: Desk, path: str) -> None:
    with pytest.raises(TreeError):
        desk.stage(layer=Layer((desk.new(path, b"evil"),)))
    assert desk.left() == []
    assert not (desk.path / "escape").exists()


def test_a_link_in_the_baseline_is_not_followed_out_of_the_tree(desk: Desk) -> None:
    outside = desk.path / "outside"
    outside.mkdir()
    (desk.component / "door").symlink_to(outside)
    with pytest.raises(StorageError):
        desk.stage(layer=Layer((desk.new("door/file", b"evil"),)))
    assert list(outside.iterdir()) == []
    assert desk.left() == []


def test_a_link_planted_in_the_store_is_not_followed(desk: Desk) -> None:
    outside = desk.path / "outside"
    outside.mkdir()
    (desk.path / "store").mkdir()
    (desk.path / "store/darkroom").symlink_to(outside)
    with pytest.raises(StorageError):
        desk.stage()
    assert list(outside.iterdir()) == []


def test_a_component_that_the_product_does_not_list_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="does not list"):
        desk.graft.stage(desk.product, IDENTITY, 1, {"kernel": Layer()}, desk.new_file, ISSUED)


@pytest.mark.parametrize("identity", ["../x-any", "1.0", "1.0-../x", "-x86_64", "1.0-X"])
def test_an_identity_that_is_no_file_name_is_refused(desk: Desk, identity: str) -> None:
    with pytest.raises(InputError):
        desk.graft.tree(desk.product, identity, 1)


def test_a_set_id_file_is_refused_wherever_it_is(desk: Desk) -> None:
    (desk.component / "same.so").chmod(0o4755)
    with pytest.raises(MetadataError, match="set-id"):
        desk.stage()
    assert desk.left() == []


def test_a_socket_in_the_baseline_is_refused_by_name(desk: Desk) -> None:
    os.mkfifo(desk.component / "pipe")
    with pytest.raises(TreeError, match="pipe"):
        desk.stage()
    assert desk.left() == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file a capability or another owner")
def test_root_refuses_capabilities_and_keeps_owners(desk: Desk) -> None:
    os.chown(desk.component / "old.so", 65534, 65534)
    os.chown(desk.component / "same.so", 65534, 65534)
    made = desk.stage() / "lib/imaging"
    assert (made / "old.so").stat().st_uid == 65534
    assert (made / "same.so").stat().st_uid == 65534
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(desk.component / "same.so", "security.capability", capability)
    with pytest.raises(MetadataError, match=r"security\.capability"):
        desk.stage(level=2)
    assert desk.left() == ["1"]


def pin(path: str, data: bytes) -> Pin:
    return Pin(path, len(data), digest_bytes(data))


def test_pins(desk: Desk) -> None:
    desk.graft.verify_pins(desk.product, {"imaging": [pin("old.so", b"old" * 1000), pin("gone.txt", b"gone")]})
    for bad in (pin("old.so", b"olc" * 1000), pin("old.so", b"old"), pin("missing", b""), pin("link", b"x")):
        with pytest.raises(BaselineMismatchError, match=bad.path):
            desk.graft.verify_pins(desk.product, {"imaging": [bad]})


@pytest.mark.parametrize(
    "target", ["/somewhere/else", "store/darkroom/1.0-x86_64/1", "store/darkroom/2.0-x86_64/1/tree"]
)
def test_a_pointer_that_names_something_unknown_is_said(desk: Desk, target: str) -> None:
    (desk.path / "current").symlink_to(desk.path / target)
    with pytest.raises(StorageError, match="cannot tell the level") as caught:
        desk.graft.current(desk.product, IDENTITY)
    assert "symbolic link to" in caught.value.advice


def test_a_directory_in_the_pointers_place_is_left_alone(desk: Desk) -> None:
    (desk.path / "current").mkdir()
    (desk.path / "current/file").touch()
    with pytest.raises(StorageError, match="no symbolic link"):
        desk.graft.swap(desk.product, IDENTITY, 0)
    assert (desk.path / "current/file").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("suture.agent.grafts.switch.sync_filesystem", full)
    with pytest.raises(DiskFullError):
        desk.stage()
    assert desk.left() == []


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_really_full_file_system_leaves_nothing(desk: Desk) -> None:
    store = desk.path / "store"
    store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(store)], check=True)
    try:
        with pytest.raises(DiskFullError):
            desk.stage(layer=Layer((desk.new("old.so", os.urandom(200_000)),)))
        assert desk.left() == []
    finally:
        subprocess.run(["umount", str(store)], check=True)


CRASHING = """
import os, sys
sys.path[:0] = {path!r}
from pathlib import Path
import test_graft_switch as t
count = int(sys.argv[2])
def dying(name):
    real = getattr(os, name)
    def call(*a, **k):
        global count
        count -= 1
        if count == 0:
            os._exit(137)
        return real(*a, **k)
    setattr(os, name, call)
desk = t.Desk.__new__(t.Desk)
base = Path(sys.argv[1])
desk.path, desk.component, desk.graft = base, base / "baseline/lib/imaging", t.SwitchGraft(base / "store")
desk.product = t.product_at(base)
desk.layer = t.Layer((t.FileEntry("old.so", "0755", 2997, t.digest_bytes(b"new" * 999)),), ("gone.txt",))
for name in ("mkdir", "rename", "symlink", "unlink", "rmdir", "fsync", "fchmod", "utime", "open", "fchown"):
    dying(name)
desk.graft.sweep()
desk.stage()
desk.graft.swap(desk.product, t.IDENTITY, 1)
desk.graft.swap(desk.product, t.IDENTITY, 0)
desk.graft.discard(desk.product, t.IDENTITY, 1)
os._exit(0)
"""


@pytest.mark.slow
def test_killed_before_any_change_it_recovers_to_the_old_or_the_new_level(desk: Desk) -> None:
    script = CRASHING.format(path=[str(Path(__file__).parent)])
    (desk.path / "current").symlink_to(desk.product.root)
    for point in range(1, 1000):
        code = subprocess.run([sys.executable, "-c", script, str(desk.path), str(point)], check=False).returncode
        assert desk.graft.current(desk.product, IDENTITY) in (0, 1)
        assert (desk.path / "current/lib/imaging/old.so").read_bytes() in (b"old" * 1000, b"new" * 999)
        layer = Layer((desk.new("old.so", b"new" * 999, mode="0755"),), ("gone.txt",))
        if 1 in desk.graft.levels(desk.product, IDENTITY):
            desk.graft.verify(desk.product, IDENTITY, 1, {"imaging": layer})
        if code == 0:
            break
        assert code == 137
    desk.graft.sweep()
    assert desk.left() == []
    assert point > 40
