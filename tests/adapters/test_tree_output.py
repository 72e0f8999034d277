"""New files and trees: whole and in place, or gone; nothing that exists is lost."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from suture.adapters.tree_output import finish_tree, new_file, new_tree, open_new, write_directories
from suture.adapters.trees import scan_tree
from suture.core.digests import digest_bytes
from suture.core.errors import InputError
from suture.improvement.tree import DirectoryEntry, FileEntry, LinkEntry, Tree


def test_a_file_is_whole_with_its_mode(tmp_path: Path) -> None:
    with new_file(tmp_path / "out", mode=0o751) as file:
        file.write(b"data")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out").read_bytes() == b"data"
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o751
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def half_a_file() -> None:
        with new_file(tmp_path / "out") as file:
            file.write(b"half")
            raise RuntimeError

    def half_a_tree() -> None:
        with new_tree(tmp_path / "tree") as root:
            (root / "half").write_bytes(b"half")
            raise RuntimeError

    for half in (half_a_file, half_a_tree):
        with pytest.raises(RuntimeError):
            half()
    assert list(tmp_path.iterdir()) == []


def test_one_that_comes_meanwhile_wins(tmp_path: Path) -> None:
    def write_too_late() -> None:
        with new_file(tmp_path / "out") as file:
            file.write(b"ours")
            (tmp_path / "out").write_bytes(b"theirs")

    with pytest.raises(InputError, match="it exists"):
        write_too_late()
    assert (tmp_path / "out").read_bytes() == b"theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_force_replaces_a_file_a_link_or_a_tree_and_follows_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for name in ("link", "link-for-tree"):
        (tmp_path / name).symlink_to(victim)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "before").write_bytes(b"")
    with new_file(tmp_path / "link", force=True) as file:
        file.write(b"new")
    for name in ("link-for-tree", "tree"):
        with new_tree(tmp_path / name, force=True) as root:
            (root / "after").write_bytes(b"")
        assert [path.name for path in (tmp_path / name).iterdir()] == ["after"]
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "link").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "link-for-tree", "tree", "victim"]


def test_a_tree_written_is_the_tree_scanned_even_where_directories_are_read_only(tmp_path: Path) -> None:
    tree = Tree(
        (
            DirectoryEntry("d", "0555"),
            FileEntry("d/a", "0444", 1, digest_bytes(b"a")),
            LinkEntry("d/l", "a"),
            DirectoryEntry("d/s", "0500"),
        )
    )
    with new_tree(tmp_path / "out") as root:
        write_directories(root, tree)
        with open_new(root / "d" / "a") as file:
            file.write(b"a")
        with pytest.raises(FileExistsError):
            open_new(root / "d" / "a")
        finish_tree(root, tree)
    assert scan_tree(tmp_path / "out").tree == tree
