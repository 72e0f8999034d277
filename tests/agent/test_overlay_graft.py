"""The overlay graft beyond the contract: rights, single files, strangers' mounts, images that were changed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from graft_yard import IDENTITY, ISSUED, Yard
from mount_world import needs_mounts, private_mounts, unmount_below

from suture.adapters.erofs import make_image, mount_image
from suture.adapters.mounts import attributes_of, mounts
from suture.agent.grafts.overlay import OverlayGraft
from suture.agent.grafts.overlay_hidden import HiddenTrees, Ways
from suture.agent.grafts.overlay_points import is_grafted
from suture.agent.product_rules import check_neighbours, check_product
from suture.core.errors import (
    DigestMismatchError,
    DiskFullError,
    HostError,
    InputError,
    MetadataError,
    NotAllowedError,
    RefusedError,
    StorageError,
    TreeError,
)
from suture.improvement.layer import Layer
from suture.improvement.tree import DirectoryEntry, FileEntry, LinkEntry
from suture.wire.product import Product, ProductComponent

pytestmark = [pytest.mark.root, needs_mounts]


@pytest.fixture
def yard() -> Iterator[Yard]:
    path = Path(tempfile.mkdtemp(prefix="suture-overlay-"))
    path.chmod(0o755)
    try:
        with private_mounts():
            try:
                yield Yard(path, "overlay").build()
            finally:
                unmount_below(path)
    finally:
        shutil.rmtree(path)


def stage(yard: Yard, *entries: FileEntry | LinkEntry | DirectoryEntry, removed: tuple[str, ...] = ()) -> None:
    layers = {"imaging": Layer(tuple(sorted(entries, key=lambda one: one.path)), removed)}
    yard.graft.stage(yard.product, IDENTITY, 1, layers, yard.new_file, ISSUED)
    yard.graft.verify(yard.product, IDENTITY, 1, layers)


# --- rights ----------------------------------------------------------------------------------------------------------


def test_owner_set_id_capability_acl_and_attributes_are_the_baselines(yard: Yard) -> None:
    old = yard.baseline / "lib/imaging/version"
    os.chown(old, 1234, 4321)
    old.chmod(0o6755)
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(old, "security.capability", capability)
    os.setxattr(old, "trusted.mark", b"kept")
    os.setxattr(old, "user.note", b"not a right")
    stage(yard, yard.entry("version", b"level 1", "0755"))
    yard.swap(1)
    new = yard.seen() / "version"
    found = new.stat()
    assert new.read_text() == "level 1"
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 4321, 0o6755)
    assert os.getxattr(new, "security.capability") == capability
    assert os.getxattr(new, "trusted.mark") == b"kept"
    assert "user.note" not in os.listxattr(new)


@pytest.mark.skipif(shutil.which("setfacl") is None, reason="needs setfacl (package acl)")
def test_access_control_lists_are_kept_or_the_level_is_refused(yard: Yard) -> None:
    old = yard.baseline / "lib/imaging/version"
    subprocess.run(["setfacl", "-m", "u:1234:r", str(old)], check=True)
    listed = os.getxattr(old, "system.posix_acl_access")
    mode = f"{stat.S_IMODE(old.stat().st_mode):04o}"
    with pytest.raises(MetadataError, match="access control list"):
        stage(yard, yard.entry("version", b"level 1", "0700"))
    assert yard.left() == []
    stage(yard, yard.entry("version", b"level 1", mode))
    yard.swap(1)
    assert os.getxattr(yard.seen() / "version", "system.posix_acl_access") == listed


def test_a_signature_over_the_old_bytes_is_refused(yard: Yard) -> None:
    old = yard.baseline / "lib/imaging/version"
    try:
        os.setxattr(old, "security.ima", b"\x01" + b"x" * 20)
    except OSError as error:
        pytest.skip(f"this kernel keeps no security.ima: {error}")
    with pytest.raises(MetadataError, match=r"security\.ima"):
        stage(yard, yard.entry("version", b"level 1"))
    assert yard.left() == []


def test_rights_that_changed_since_staging_are_seen(yard: Yard) -> None:
    stage(yard, yard.entry("version", b"level 1"))
    os.chown(yard.baseline / "lib/imaging/version", 7, 7)
    layers = {"imaging": Layer((yard.entry("version", b"level 1"),))}
    with pytest.raises(MetadataError, match="version"):
        yard.graft.verify(yard.product, IDENTITY, 1, layers)


def test_directories_above_a_changed_file_stay_as_they_are(yard: Yard) -> None:
    place = yard.baseline / "lib/imaging/sub"
    os.chown(place, 55, 66)
    place.chmod(0o2750)
    stage(yard, yard.entry("sub/x.py", b"x = 1\n"))
    yard.swap(1)
    found = (yard.seen() / "sub").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (55, 66, 0o2750)


def test_a_set_id_program_keeps_its_power_where_the_baseline_has_it_and_only_there(yard: Yard) -> None:
    program = yard.baseline / "lib/imaging/who"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    os.chown(program, 0, 0)
    program.chmod(0o4755)
    yard.baseline.chmod(0o755)
    data = program.read_bytes()
    stage(yard, yard.entry("who", data + b"\0", "0755"), yard.entry("version", b"level 1"))

    def runs_as() -> str:
        argv = [str(yard.seen() / "who"), "-u"]
        return subprocess.run(argv, user=1234, check=True, capture_output=True, text=True).stdout.strip()

    before = runs_as()
    yard.swap(1)
    assert (yard.seen() / "who").stat().st_size == len(data) + 1
    assert runs_as() == before
    yard.swap(0)
    subprocess.run(["mount", "--bind", str(yard.path), str(yard.path)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,nosuid", str(yard.path)], check=True)
    graft = OverlayGraft(yard.path / "store", yard.path / "grafts")
    graft.swap(yard.product, IDENTITY, 1)
    assert (yard.seen() / "version").read_text() == "level 1"
    with (yard.seen() / "who").open("rb") as file:
        assert attributes_of(file.fileno()) & 2, "a graft over a nosuid mount is nosuid"


# --- kinds of files --------------------------------------------------------------------------------------------------


def test_files_directories_and_links_may_change_into_one_another(yard: Yard) -> None:
    stage(
        yard,
        LinkEntry("added", "version"),
        yard.entry("link", b"was a link"),
        DirectoryEntry("same.so", "0755"),
        yard.entry("same.so/inner", b"inner"),
        yard.entry("sub", b"was a directory"),
        removed=("sub/__pycache__", "sub/__pycache__/x.cpython-311.pyc", "sub/x.py"),
    )
    yard.swap(1)
    seen = yard.seen()
    assert (seen / "link").read_bytes() == b"was a link"
    assert not (seen / "link").is_symlink()
    assert (seen / "same.so/inner").read_bytes() == b"inner"
    assert (seen / "sub").read_bytes() == b"was a directory"
    assert os.readlink(seen / "added") == "version"


def test_a_whole_directory_can_be_gone(yard: Yard) -> None:
    stage(yard, removed=("sub", "sub/__pycache__", "sub/__pycache__/x.cpython-311.pyc", "sub/x.py"))
    yard.swap(1)
    assert sorted(os.listdir(yard.seen())) == ["gone.txt", "link", "same.so", "version"]


def test_bytecode_of_an_unchanged_source_stays(yard: Yard) -> None:
    (yard.baseline / "lib/imaging/sub/y.py").write_text("y = 0\n")
    (yard.baseline / "lib/imaging/sub/__pycache__/y.cpython-311.pyc").write_text("fine")
    stage(yard, yard.entry("sub/x.py", b"x = 1\n"))
    yard.swap(1)
    assert os.listdir(yard.seen() / "sub/__pycache__") == ["y.cpython-311.pyc"]


@pytest.mark.parametrize("path", ["../escape", "/etc/x", "a//b", "a/../../b", "."])
def test_a_path_that_leaves_the_component_is_refused(yard: Yard, path: str) -> None:
    with pytest.raises(TreeError):
        stage(yard, yard.entry(path, b"evil"))
    assert yard.left() == []


def test_a_link_in_the_baseline_is_not_followed_out_of_the_component(yard: Yard) -> None:
    outside = yard.path / "outside"
    outside.mkdir()
    (yard.baseline / "lib/imaging/door").symlink_to(outside)
    with pytest.raises(StorageError):
        stage(yard, yard.entry("door/file", b"evil"))
    assert list(outside.iterdir()) == []
    assert yard.left() == []


# --- single files ----------------------------------------------------------------------------------------------------


def with_files(yard: Yard, *files: str) -> Product:
    component = ProductComponent("imaging", "lib/imaging", files)
    yard.product = msgspec.structs.replace(yard.product, components=(component, yard.product.components[1]))
    return yard.product


def test_single_files_of_a_shared_directory_are_grafted_alone(yard: Yard) -> None:
    with_files(yard, "version", "same.so")
    stage(yard, yard.entry("version", b"level 1", "0755"))
    yard.swap(1)
    (yard.baseline / "lib/imaging/another.so").write_bytes(b"somebody else's, still writable")
    assert (yard.version(), yard.current()) == ("level 1", 1)
    assert [one.point for one in mounts() if one.point.startswith(str(yard.baseline))] == [str(yard.seen() / "version")]
    with pytest.raises(OSError, match="busy"):
        (yard.baseline / "lib/imaging/another.so").rename(yard.seen() / "version")
    layers = {"imaging": Layer((yard.entry("same.so", b"other"), yard.entry("version", b"level 2")))}
    yard.graft.stage(yard.product, IDENTITY, 2, layers, yard.new_file, ISSUED)
    for level in (2, 1, 2, 0, 1):
        yard.swap(level)
        assert (yard.version(), yard.current()) == (f"level {level}", level)
        assert ((yard.seen() / "same.so").read_bytes() == b"other") == (level == 2)
    yard.swap(0)
    assert not is_grafted(yard.product)


@pytest.mark.parametrize("wrong", ["unlisted", "link", "removed"])
def test_what_is_no_listed_file_is_refused_in_a_shared_directory(yard: Yard, wrong: str) -> None:
    with_files(yard, "version")
    entries: list[FileEntry | LinkEntry] = []
    if wrong != "removed":
        entries = [yard.entry("same.so", b"other") if wrong == "unlisted" else LinkEntry("version", "same.so")]
    with pytest.raises(NotAllowedError, match="listed files"):
        stage(yard, *entries, removed=("version",) if wrong == "removed" else ())
    assert yard.left() == []


def test_the_rules_of_the_product_file(yard: Yard) -> None:
    state = yard.path / "state"
    check_product(yard.product, state=state, is_root=True)
    check_product(with_files(yard, "version"), state=state, is_root=True)
    with pytest.raises(InputError, match="root"):
        check_product(yard.product, state=state, is_root=False)
    with pytest.raises(InputError, match="pointer"):
        check_product(msgspec.structs.replace(yard.product, pointer="/opt/x/current"), state=state, is_root=True)
    for files in (("missing",), ("link",), ("version", "version"), ("../codec/version",), ("sub",)):
        with pytest.raises(InputError, match=r"components\[0\]\.files"):
            check_product(with_files(yard, *files), state=state, is_root=True)
    whole = ProductComponent("everything", "lib/imaging")
    both = msgspec.structs.replace(with_files(yard, "version"), components=(*yard.product.components, whole))
    with pytest.raises(InputError, match="overlaps"):
        check_product(both, state=state, is_root=True)
    switch = msgspec.structs.replace(yard.product, graft="switch", pointer=str(yard.path / "current"))
    with pytest.raises(InputError, match="overlay alone"):
        check_product(switch, state=state, is_root=True)


def test_two_products_may_share_a_directory_but_not_a_file(yard: Yard) -> None:
    one = with_files(yard, "version")
    other = msgspec.structs.replace(
        with_files(yard, "same.so"), product="another", components=yard.product.components[:1]
    )
    check_neighbours(other, [one])
    with pytest.raises(InputError, match="overlaps"):
        check_neighbours(msgspec.structs.replace(one, product="another"), [one])


# --- strangers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["lib/imaging", "lib/imaging/sub"])
def test_a_strangers_mount_is_neither_covered_nor_taken_away(yard: Yard, where: str) -> None:
    yard.stage(1)
    subprocess.run(["mount", "-t", "tmpfs", "stranger", str(yard.baseline / where)], check=True)
    with pytest.raises(RefusedError, match="stranger"):
        yard.swap(1)
    assert [one.source for one in mounts() if one.point.startswith(str(yard.baseline))] == ["stranger"]
    assert yard.version("codec") == "level 0"


def test_a_mount_over_a_graft_is_said_and_left(yard: Yard) -> None:
    yard.stage(1)
    yard.swap(1)
    subprocess.run(["mount", "-t", "tmpfs", "stranger", str(yard.seen())], check=True)
    with pytest.raises(RefusedError, match="somebody else mounted stranger"):
        yard.current()
    subprocess.run(["umount", str(yard.seen())], check=True)
    assert yard.current() == 1


def test_a_shared_root_does_not_bring_the_graft_into_its_own_lower_layer(yard: Yard) -> None:
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    for level in (1, 2, 3):
        yard.stage(level)
        yard.swap(level)
        assert (yard.version(), yard.version("codec")) == (f"level {level}", f"level {level}")
        base = yard.graft.tree(yard.product, IDENTITY, 0)
        assert (base / "lib/imaging/version").read_text() == "level 0"
    assert not [one for one in mounts() if one.point.startswith(str(yard.baseline) + "/lib/imaging/")]


def test_hidden_mounts_are_for_root_alone(yard: Yard) -> None:
    yard.stage(1)
    place = yard.path / "grafts"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    argv = ["cat", str(yard.graft.tree(yard.product, IDENTITY, 1) / "codec/version")]
    assert subprocess.run(argv, user=1234, check=False, capture_output=True).returncode != 0


def test_nothing_can_be_written_through_a_graft_or_a_hidden_baseline(yard: Yard) -> None:
    yard.stage(1)
    yard.swap(1)
    for place in (yard.seen(), yard.graft.tree(yard.product, IDENTITY, 0) / "lib/imaging"):
        with pytest.raises(OSError, match="Read-only"):
            (place / "version").write_text("evil")


def test_a_hidden_tree_that_somebody_unmounted_is_made_again(yard: Yard) -> None:
    yard.stage(1)
    tree = yard.graft.tree(yard.product, IDENTITY, 1)
    subprocess.run(["umount", str(tree / "lib/imaging")], check=True)
    yard.swap(1)
    assert yard.version() == "level 1"


def test_a_baseline_that_changed_under_a_level_gets_a_new_overlay(yard: Yard) -> None:
    yard.stage(1)
    yard.swap(1)
    yard.swap(0)
    (yard.baseline / "lib/imaging/plugin.so").write_bytes(b"new in the baseline")
    yard.graft.verify(yard.product, IDENTITY, 1, yard.layers(1))
    yard.swap(1)
    assert (yard.seen() / "plugin.so").read_bytes() == b"new in the baseline"
    assert [level for level, _ in yard.graft.trees(yard.product, IDENTITY)] == [0, 1, 1]


# --- images ----------------------------------------------------------------------------------------------------------


def test_the_same_tree_gives_the_same_image(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        for file in ("b", "a") if name == "one" else ("a", "b"):
            (tmp_path / name / "deep" / file).write_bytes(file.encode() * 5000)
        make_image(tmp_path / name, tmp_path / f"{name}.erofs", seconds=1_700_000_000)
    assert (tmp_path / "one.erofs").read_bytes() == (tmp_path / "two.erofs").read_bytes()
    assert stat.S_IMODE((tmp_path / "one.erofs").stat().st_mode) == 0o400


def test_what_is_no_image_is_not_mounted(tmp_path: Path) -> None:
    (tmp_path / "no.erofs").write_bytes(b"\0" * 8192)
    for file_backed in (True, False):
        with pytest.raises(HostError):
            mount_image(tmp_path / "no.erofs", file_backed=file_backed)


def test_no_loop_device_is_left_behind(yard: Yard) -> None:
    def used() -> list[str]:
        found = []
        for path in Path("/sys/block").glob("loop*/loop/backing_file"):
            found += [path.read_text().strip()]
        return [one for one in found if one.startswith(str(yard.path))]

    graft = OverlayGraft(yard.path / "store", yard.path / "grafts", Ways(file_backed=False))
    layers = yard.layers(1)
    graft.stage(yard.product, IDENTITY, 1, layers, yard.new_file, ISSUED)
    graft.swap(yard.product, IDENTITY, 1)
    assert len(used()) == 2
    graft.swap(yard.product, IDENTITY, 0)
    graft.discard(yard.product, IDENTITY, 1)
    assert used() == []


def test_without_mkfs_the_advice_names_the_package(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suture.adapters.erofs._PATH", str(yard.path))
    with pytest.raises(HostError, match=r"mkfs\.erofs is not installed") as caught:
        yard.stage(1)
    assert "erofs-utils" in caught.value.advice
    assert yard.left() == []


@pytest.mark.slow
def test_a_full_disk_leaves_nothing(yard: Yard) -> None:
    store = yard.path / "store"
    store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(store)], check=True)
    with pytest.raises(DiskFullError):
        stage(yard, yard.entry("version", os.urandom(400_000)))
    assert yard.left() == []
    assert yard.current() == 0


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("{}"), lambda path: path.write_bytes(b"")])
def test_a_seal_that_was_spoilt_is_no_seal(yard: Yard, spoil: Callable[[Path], None]) -> None:
    yard.stage(1)
    spoil(yard.path / "store/darkroom" / IDENTITY / "1/sealed.json")
    with pytest.raises(DigestMismatchError):
        yard.graft.verify(yard.product, IDENTITY, 1, yard.layers(1))
    with pytest.raises((DigestMismatchError, StorageError)):
        yard.swap(1)
    yard.stage(1)
    yard.swap(1)
    assert yard.version() == "level 1"


def test_the_check_is_made_before_anything_is_attached(yard: Yard) -> None:
    yard.stage(1)
    hidden = HiddenTrees(yard.path / "elsewhere", Ways())
    images = {"imaging": yard.path / "store/darkroom" / IDENTITY / "1/imaging.erofs"}

    def refuse(_: ProductComponent, made: int) -> None:
        assert "version" in os.listdir(f"/proc/self/fd/{made}")
        raise DigestMismatchError("cannot use it")

    with pytest.raises(DigestMismatchError):
        hidden.make(yard.product, IDENTITY, 1, images, refuse)
    assert hidden.trees(yard.product, IDENTITY) == ()
    assert not [one for one in mounts() if "elsewhere" in one.point and one.kind == "overlay"]
    assert sys.platform == "linux"
