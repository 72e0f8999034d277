"""Scanning a tree: every bad entry is refused by name and reason, and no link is ever followed."""

from __future__ import annotations

import mmap
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from suture.adapters.trees import open_member, read_member, scan_tree
from suture.core.digests import digest_bytes
from suture.core.errors import RightsError, StorageError, TreeError
from suture.improvement.tree import DirectoryEntry, FileEntry, LinkEntry


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "lib").mkdir(parents=True, mode=0o755)
    (tree / "lib" / "a.so").write_bytes(b"library")
    (tree / "lib" / "a.so").chmod(0o644)
    return tree


def refused(root: Path, name: str, reason: str) -> None:
    with pytest.raises(TreeError, match=reason) as caught:
        scan_tree(root)
    assert name in caught.value.message


def test_files_directories_and_links_with_modes_and_digests(root: Path) -> None:
    (root / "run").write_bytes(b"#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "lib" / "link").symlink_to("../run")
    (root / "empty").mkdir(mode=0o700)
    scanned = scan_tree(root)
    assert scanned.tree.entries == (
        DirectoryEntry("empty", "0700"),
        DirectoryEntry("lib", "0755"),
        FileEntry("lib/a.so", "0644", 7, digest_bytes(b"library")),
        LinkEntry("lib/link", "../run"),
        FileEntry("run", "0755", 10, digest_bytes(b"#!/bin/sh\n")),
    )
    assert set(scanned.metadata) == {"", "empty", "lib", "lib/a.so", "lib/link", "run"}
    assert scanned.metadata["run"].owner == os.getuid()
    assert scan_tree(root) == scanned


def test_order_is_that_of_the_paths_bytes(root: Path) -> None:
    for name in ("lib.txt", "lib-1", "é", "z"):
        (root / name).write_bytes(b"")
    paths = [entry.path for entry in scan_tree(root).tree.entries]
    assert paths == sorted(paths, key=str.encode)


def test_a_named_pipe(root: Path) -> None:
    os.mkfifo(root / "lib" / "pipe")
    refused(root, "lib/pipe", "named pipe")


def test_a_socket(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("door")
        refused(root, "door", "socket")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="making a device needs root")
@pytest.mark.parametrize(("kind", "words"), [(stat.S_IFCHR, "character device"), (stat.S_IFBLK, "block device")])
def test_a_device(root: Path, kind: int, words: str) -> None:
    try:
        os.mknod(root / "null", kind | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this container lets nobody make devices")
    refused(root, "null", words)


def test_a_hard_link(root: Path) -> None:
    os.link(root / "lib" / "a.so", root / "lib" / "b.so")
    refused(root, "lib/a.so", "hard link")
    assert len(scan_tree(root, hard_links="allow").tree.entries) == 3


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/etc/passwd", "absolute"),
        ("../../outside", "leads outside"),
        ("..", None),
        ("../lib/../../..", "after a name"),
        ("a\nb", "control character"),
        ("a//b", "empty"),
        ("x" * 256, "longer than 255"),
    ],
)
def test_a_link_that_leads_outside_or_is_bad(root: Path, target: str, reason: str | None) -> None:
    (root / "lib" / "link").symlink_to(target)
    if reason is None:
        assert scan_tree(root).tree.by_path()["lib/link"] == LinkEntry("lib/link", target)
    else:
        refused(root, "lib/link", reason)


@pytest.mark.parametrize(
    "name", [b"new\nline", b"bell\x07", b"del\x7f", b"\xff\xfe", "c1\x85".encode(), "ls\u2028".encode()]
)
def test_a_name_that_no_line_can_hold(root: Path, name: bytes) -> None:
    (Path(os.fsdecode(os.fsencode(root) + b"/" + name))).write_bytes(b"")
    with pytest.raises(TreeError, match="control character or no valid UTF-8") as caught:
        scan_tree(root)
    assert caught.value.message.isprintable()


def test_twins_that_differ_only_in_case(root: Path) -> None:
    (root / "Readme").write_bytes(b"")
    (root / "README").write_bytes(b"")
    refused(root, "README", "only in case")


def test_directories_that_are_twins(root: Path) -> None:
    (root / "LIB").mkdir()
    refused(root, "LIB", "only in case")


def test_a_path_longer_than_a_device_holds(root: Path) -> None:
    deep = root
    for _ in range(6):
        deep = deep / ("d" * 200)
    deep.mkdir(parents=True)
    refused(root, "dddd", "path is longer than 1024")


def test_bytecode_is_left_out_when_asked(root: Path) -> None:
    (root / "lib" / "__pycache__").mkdir()
    (root / "lib" / "__pycache__" / "a.pyc").write_bytes(b"stale")
    assert len(scan_tree(root).tree.entries) == 4
    assert len(scan_tree(root, skip_bytecode=True).tree.entries) == 2


def test_more_entries_than_allowed(root: Path) -> None:
    with pytest.raises(TreeError, match="more than 1 entries"):
        scan_tree(root, maximum_entries=1)


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Root reads everything: be somebody else meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_file_and_directory_are_named(as_nobody: None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "lib").mkdir()
        (root / "lib" / "a.so").write_bytes(b"secret")
        (root / "lib" / "a.so").chmod(0)
        with pytest.raises(RightsError, match=r"lib/a\.so"):
            scan_tree(root)
        (root / "lib").chmod(0)
        with pytest.raises(RightsError, match="lib"):
            scan_tree(root)
        (root / "lib").chmod(0o700)


def test_a_root_that_is_missing_a_file_or_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    for path in (tmp_path / "none", root / "lib" / "a.so", tmp_path / "link"):
        with pytest.raises(StorageError):
            scan_tree(path)


def test_set_id_bits_are_metadata_and_no_mode(root: Path) -> None:
    (root / "lib" / "a.so").chmod(0o4755)
    scanned = scan_tree(root)
    entry = scanned.tree.by_path()["lib/a.so"]
    assert isinstance(entry, FileEntry)
    assert entry.mode == "0755"
    assert scanned.metadata["lib/a.so"].special_mode == 0o4000


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="file capabilities need root")
def test_capabilities_are_metadata(root: Path) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep, revision 2
    try:
        os.setxattr(root / "lib" / "a.so", "security.capability", capability)
    except OSError as error:
        pytest.skip(f"this file system takes no capabilities: {error}")
    assert dict(scan_tree(root).metadata["lib/a.so"].attributes)["security.capability"] == capability


def test_reading_a_member_maps_it(root: Path) -> None:
    data = read_member(root, "lib/a.so")
    assert isinstance(data, mmap.mmap)
    assert bytes(data) == b"library"
    data.close()
    (root / "empty").write_bytes(b"")
    assert read_member(root, "empty") == b""


@pytest.mark.parametrize("path", ["../tree/lib/a.so", "/etc/passwd", "lib//a.so", "", "lib/./a.so", "lib/a\0.so"])
def test_reading_a_bad_path_is_refused(root: Path, path: str) -> None:
    with pytest.raises(TreeError):
        read_member(root, path)


def test_reading_never_follows_a_link_nor_opens_what_is_no_file(root: Path) -> None:
    (root / "to-file").symlink_to("lib/a.so")
    (root / "to-directory").symlink_to("lib")
    os.mkfifo(root / "pipe")
    for path in ("to-file", "to-directory/a.so", "lib", "pipe", "lib/a.so/below"):
        with pytest.raises(TreeError):
            read_member(root, path)
    with pytest.raises(StorageError, match="No such file"):
        read_member(root, "lib/none")


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    scan_tree(root)
    with open_member(root, "lib/a.so"):
        pass
    with pytest.raises(TreeError):
        read_member(root, "lib")
    assert len(os.listdir("/proc/self/fd")) == before
