"""`suture delta`: new outputs whole or not at all, clear errors, JSON, for files and for trees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from suture.adapters.trees import scan_tree
from suture.cli.main import main

Captured = pytest.CaptureFixture[str]


def suture(*words: object) -> int:
    return main(["delta", *map(str, words)])


def answer(capsys: Captured) -> dict[str, Any]:
    value = json.loads(capsys.readouterr().out)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old", tmp_path / "new"
    for root, version in ((old, "1"), (new, "2")):
        (root / "lib").mkdir(parents=True)
        (root / "lib" / f"libx-aaaaaa{version}1.so.{version}").write_bytes(bytes(range(256)) * 20 + version.encode())
        (root / "same").write_bytes(b"same" * 200)
        (root / "link").symlink_to("same")
    (old / "gone").write_bytes(b"gone")
    (new / "run").write_bytes(b"#!/bin/sh\n")
    (new / "run").chmod(0o755)
    (new / "lib").chmod(0o750)
    return old, new


def nothing_left_beside(directory: Path, *expected: str) -> None:
    assert sorted(path.name for path in directory.iterdir()) == sorted(expected)


def test_two_trees_there_and_back(trees: tuple[Path, Path], tmp_path: Path, capsys: Captured) -> None:
    old, new = trees
    patch, out = tmp_path / "patch", tmp_path / "out"
    assert suture("encode", old, new, patch, "--json") == 0
    encoded = answer(capsys)
    assert encoded["patch_bytes"] == patch.stat().st_size < 2000
    assert suture("apply", old, patch, out, "--json") == 0
    assert answer(capsys)["digest"] == encoded["digest"]
    assert scan_tree(out).tree == scan_tree(new).tree
    assert suture("inspect", patch, "--json") == 0
    inspected = answer(capsys)
    assert (inspected["kind"], inspected["result"]) == ("tree", encoded["digest"])
    assert {file["path"]: file["delta"]["engine"] for file in inspected["files"]} == {
        "lib/libx-aaaaaa21.so.2": "executable",
        "run": "solid",
    }
    assert len(inspected["groups"]) == 1
    assert suture("inspect", patch) == 0
    assert "group 1: 1 file" in capsys.readouterr().out
    nothing_left_beside(tmp_path, "old", "new", "patch", "out")


def test_equal_trees_make_a_patch_of_a_few_bytes(trees: tuple[Path, Path], tmp_path: Path) -> None:
    assert suture("encode", trees[0], trees[0], tmp_path / "patch") == 0
    assert (tmp_path / "patch").stat().st_size < 70


def test_two_files_there_and_back(tmp_path: Path, capsys: Captured) -> None:
    old, new, patch, out = (tmp_path / name for name in ("old", "new", "patch", "out"))
    numbers = b"".join(b"%d " % (number * number) for number in range(300))
    for before, after, mode in ((numbers, numbers + b"y", 0o755), (b"", b"", 0o600), (b"same", b"same", 0o644)):
        old.write_bytes(before)
        new.write_bytes(after)
        new.chmod(mode)
        assert suture("encode", old, new, patch, "--force") == 0
        assert suture("apply", old, patch, out, "--force") == 0
        assert suture("inspect", patch) == 0
        assert out.read_bytes() == after
        assert out.stat().st_mode & 0o777 == mode
    assert "executable" in capsys.readouterr().out


def test_nothing_that_exists_is_replaced_without_force(
    trees: tuple[Path, Path], tmp_path: Path, capsys: Captured
) -> None:
    old, new = trees
    patch = tmp_path / "patch"
    patch.write_bytes(b"mine")
    assert suture("encode", old, new, patch) == 2
    assert "it exists" in capsys.readouterr().err
    assert patch.read_bytes() == b"mine"
    assert suture("encode", old, new, patch, "--force") == 0
    before = scan_tree(new)
    assert suture("apply", old, patch, old) == 2
    assert suture("apply", old, patch, new, "--force") == 0
    assert scan_tree(new).tree == before.tree
    nothing_left_beside(tmp_path, "old", "new", "patch")


def test_a_wrong_old_tree_is_named_so_and_leaves_nothing(
    trees: tuple[Path, Path], tmp_path: Path, capsys: Captured
) -> None:
    old, new = trees
    suture("encode", old, new, tmp_path / "patch")
    (old / "same").write_bytes(b"same" * 199 + b"SAME")  # a file that the patch leaves alone
    assert suture("apply", old, tmp_path / "patch", tmp_path / "out", "--json") == 44
    assert '"baseline-mismatch"' in capsys.readouterr().out
    nothing_left_beside(tmp_path, "old", "new", "patch")


def test_every_byte_flipped_gives_the_right_file_or_our_error_and_nothing_else(
    tmp_path: Path, capsys: Captured
) -> None:
    old, new, patch, out = (tmp_path / name for name in ("old", "new", "patch", "out"))
    old.write_bytes(bytes(range(200)))
    new.write_bytes(bytes(range(100)) + b"changed" + bytes(range(90, 200)))
    suture("encode", old, new, patch)
    whole = patch.read_bytes()
    damaged = [whole[:end] for end in range(0, len(whole), 7)]
    damaged += [whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole))]
    for bad in damaged:
        patch.write_bytes(bad)
        code = suture("apply", old, patch, out)
        if code == 0:
            assert out.read_bytes() == new.read_bytes()
            out.unlink()
        else:
            assert code in (2, 43, 44, 46), capsys.readouterr().err
        nothing_left_beside(tmp_path, "old", "new", "patch")


@pytest.mark.parametrize("action", ["encode", "apply"])
def test_a_file_and_a_tree_do_not_mix(trees: tuple[Path, Path], tmp_path: Path, capsys: Captured, action: str) -> None:
    old, new = trees
    suture("encode", old, new, tmp_path / "patch")
    words = (
        (old, new / "run", tmp_path / "out")
        if action == "encode"
        else (old / "same", tmp_path / "patch", tmp_path / "out")
    )
    assert suture(action, *words) == 2
    assert "cannot" in capsys.readouterr().err
    nothing_left_beside(tmp_path, "old", "new", "patch")


@pytest.mark.parametrize(
    "words", [("encode", "none", "none", "out"), ("apply", "none", "none", "out"), ("inspect", "none")]
)
def test_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert suture(*words) == 2
    assert "none" in capsys.readouterr().err
    nothing_left_beside(tmp_path)


def test_a_bad_tree_is_refused_by_name(trees: tuple[Path, Path], tmp_path: Path, capsys: Captured) -> None:
    old, new = trees
    os.mkfifo(new / "pipe")
    assert suture("encode", old, new, tmp_path / "patch") == 46
    assert "pipe" in capsys.readouterr().err
    nothing_left_beside(tmp_path, "old", "new")


def test_no_directory_for_the_output(trees: tuple[Path, Path], tmp_path: Path, capsys: Captured) -> None:
    assert suture("encode", *trees, tmp_path / "none" / "patch") == 2
    assert "does not exist" in capsys.readouterr().err


def test_progress_goes_to_standard_error_only_when_asked(trees: tuple[Path, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "suture.cli.main", "delta", "encode", *map(str, trees), str(tmp_path / "patch")]
    quiet = subprocess.run(command, capture_output=True, text=True, check=True)
    loud = subprocess.run([*command, "--force", "--progress"], capture_output=True, text=True, check=True)
    assert quiet.stderr == ""
    assert "file 1 of 2" in loud.stderr
    assert "file 1 of 2" not in loud.stdout
