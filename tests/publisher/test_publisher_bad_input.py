"""What a vendor may get wrong: each ends in a clear error and an exit code, and changes nothing on disk."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from publisher_workshop import DESCRIPTION, IDENTITY, Bench, write_tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: devices, owners, mounts")


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """A bench with an initialised workshop."""
    bench = Bench(tmp_path, capsys)
    bench.init()
    return bench


def make_socket(path: Path) -> None:
    """A socket's name, by a short relative path: sun_path holds 108 bytes."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(before)


def spoil_hard_link(tree: Path) -> None:
    os.link(tree / "module.py", tree / "second.py")


def spoil_case_twin(tree: Path) -> None:
    (tree / "Module.py").write_text("twin")


BAD_TREES: dict[str, tuple[Callable[[Path], object], str]] = {
    "fifo": (lambda tree: os.mkfifo(tree / "pipe"), "bad-tree"),
    "socket": (lambda tree: make_socket(tree / "socket"), "bad-tree"),
    "hard link": (spoil_hard_link, "bad-tree"),
    "absolute link": (lambda tree: (tree / "link").symlink_to("/etc/passwd"), "bad-tree"),
    "escaping link": (lambda tree: (tree / "link").symlink_to("../outside"), "bad-tree"),
    "escaping deep link": (lambda tree: (tree / "lib" / "link").symlink_to("../../outside"), "bad-tree"),
    "newline": (lambda tree: (tree / "two\nlines").write_text(""), "bad-tree"),
    "no UTF-8": (lambda tree: Path(os.fsdecode(os.fsencode(tree) + b"/\xff")).write_text(""), "bad-tree"),
    "case twins": (spoil_case_twin, "bad-tree"),
    "set-user-id": (lambda tree: (tree / "tool").chmod(0o4755), "unsupported-metadata"),
    "set-group-id": (lambda tree: (tree / "tool").chmod(0o2755), "unsupported-metadata"),
    "sticky": (lambda tree: (tree / "lib").chmod(0o1755), "unsupported-metadata"),
}


@pytest.mark.parametrize("name", BAD_TREES)
def test_a_tree_that_no_layer_may_hold(bench: Bench, name: str) -> None:
    spoil, code = BAD_TREES[name]
    spoil(bench.new)
    bench.refused("build", *bench.build_words(), code=code)


@pytest.mark.root
@needs_root
def test_devices_owners_and_capabilities(bench: Bench) -> None:
    device = bench.new / "null"
    os.mknod(device, 0o600 | 0o020000, os.makedev(1, 3))
    bench.refused("build", *bench.build_words(), code="bad-tree", exit_code=46)
    device.unlink()
    os.chown(bench.new / "tool", 1, 1)
    bench.refused("build", *bench.build_words(), code="unsupported-metadata", exit_code=45)
    os.chown(bench.new / "tool", 0, 0)
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(bench.new / "tool", "security.capability", capability)
    bench.refused("build", *bench.build_words(), code="unsupported-metadata", exit_code=45)


def test_missing_trees_and_files_for_trees(bench: Bench) -> None:
    shutil.rmtree(bench.new)
    bench.refused("build", *bench.build_words(), code="storage")
    bench.new.write_text("no directory")
    bench.refused("build", *bench.build_words(), code="storage")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read(bench: Bench) -> None:
    (bench.new / "module.py").chmod(0)
    bench.refused("build", *bench.build_words(), code="no-rights", exit_code=14)


def test_equal_trees_are_no_improvement(bench: Bench) -> None:
    bench.refused("build", *bench.build_words(new=bench.old), code="bad-improvement", exit_code=40)


def test_an_improvement_without_a_cve(bench: Bench) -> None:
    what = ["--component", "imaging", "--old", str(bench.old), "--new", str(bench.new)]
    message = bench.refused("build", "--baseline", IDENTITY, *what, code="bad-manifest")
    assert "CVE" in message


@pytest.mark.parametrize(
    "change",
    [
        ("--cve", "CVE-2023-486", "bad-input"),
        ("--cve", "GHSA-j7hp-h8jx-5ppr", "bad-input"),
        ("--severity", "catastrophic", "usage"),
        ("--purl", "pillow 10.0.1", "bad-input"),
        ("--purl", "pkg:", "bad-improvement"),
        ("--title", "", "bad-input"),
        ("--title", "x" * 501, "bad-input"),
        ("--baseline", "../1.0", "bad-input"),
        ("--baseline", "", "bad-input"),
        ("--component", "wallpaper", "bad-input"),
        ("--component", "../imaging", "bad-input"),
        ("--restart-service", "sshd", "bad-input"),
        ("--restart-service", "x" * 65, "bad-input"),
        ("--issued", "yesterday", "bad-input"),
        ("--issued", "2026-02-30T00:00:00Z", "bad-input"),
    ],
    ids=lambda change: f"{change[0]}={change[1][:20]}",
)
def test_words_that_do_not_fit(bench: Bench, change: tuple[str, str, str]) -> None:
    option, value, code = change
    words = bench.build_words()
    words[words.index(option) + 1] = value
    bench.refused("build", *words, code=code)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--restart-unit", "ssh.service"], "bad-input"),
        (["--health", "http:other"], "bad-input"),
        (["--health", "command:rm"], "bad-input"),
        (["--health", "stays-up:0"], "bad-input"),
        (["--health", "stays-up:long"], "bad-input"),
        (["--health", "prayer:1"], "bad-input"),
        (["--full-by", "2026-02-01T00:00:00Z"], "bad-manifest"),
        (["--level", "0"], "bad-input"),
        (["--level", "100001"], "bad-input"),
        (["--also-from", "7"], "not-known"),
        (["--new", "/nowhere"], "usage"),
        (["--title", "second"], "usage"),
        (["--unknown"], "usage"),
    ],
)
def test_further_words_that_do_not_fit(bench: Bench, words: list[str], code: str) -> None:
    answer = bench.run("build", *bench.build_words(*words), "--json")
    error = answer.json["error"]
    assert error["message"].startswith("cannot ")
    assert answer.code != 0
    assert error["code"] in (code, "bad-improvement")
    assert list((bench.workshop / "staging").iterdir()) == []


def test_a_level_number_is_never_used_twice(bench: Bench) -> None:
    bench.build()
    third = bench.root / "third"
    write_tree(third, version=3)
    bench.refused("build", *bench.build_words("--level", "1", new=third), code="digest-mismatch")
    bench.release(1)
    message = bench.refused("build", *bench.build_words("--level", "1", "--replace", new=third), code="bad-input")
    assert "twice" in message
    manifest = bench.workshop / "staging" / IDENTITY / "1" / "manifest.json"
    forged = json.loads(manifest.read_bytes())
    forged["issued"] = "2026-03-01T12:00:01Z"
    manifest.write_bytes(json.dumps(forged).encode())
    message = bench.refused("release", "1", *bench.passphrases, code="bad-input")
    assert "twice" in message


def test_a_level_never_goes_backwards(bench: Bench) -> None:
    bench.build("--level", "3")
    bench.build("--level", "2")
    bench.release(3)
    message = bench.refused("release", "2", *bench.passphrases, code="bad-input")
    assert "backwards" in message
    bench.refused("build", *bench.build_words("--level", "1"), code="bad-input")
    bench.refused("build", *bench.build_words("--issued", "2026-02-01T00:00:00Z"), code="bad-input")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "suture-workshop/2"}', "\xff", "{" * 10_000])
def test_a_damaged_settings_file(bench: Bench, text: str) -> None:
    (bench.workshop / "workshop.json").write_text(text, encoding="latin-1")
    bench.refused("status", code="bad-input")


@pytest.mark.parametrize(
    "change",
    [
        {"first_root": "sha256:" + "0" * 64},
        {"product": "../darkroom"},
        {"product": None},
        {"components": []},
        {"components": [{"name": "a", "path": "/etc"}]},
        {"components": [{"name": "a", "path": "a/../../etc"}]},
        {"components": [{"name": "a", "path": "x"}, {"name": "b", "path": "x/y"}]},
        {"components": [{"name": "a", "path": "x"}, {"name": "a", "path": "y"}]},
        {"repositories": ["ftp://updates.example.org"]},
        {"urls": [{"name": "thumbs", "url": "http://internal.example.org/"}]},
        {"surprise": 1},
    ],
    ids=lambda change: json.dumps(change)[:40],
)
def test_a_product_file_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    bench = Bench(tmp_path, capsys)
    bench.description.write_text(json.dumps({**DESCRIPTION, **change}))
    answer = bench.run("init", "--describe", str(bench.description), *bench.passphrases, "--json")
    assert answer.code == 2, answer
    assert answer.json["error"]["code"] == "bad-input"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["describe.json", "new", "offline", "old", "online"]


def test_init_never_takes_over_a_directory(bench: Bench) -> None:
    bench.refused("init", "--describe", str(bench.description), *bench.passphrases, code="bad-input")
