"""Doors to files: whole or not at all, never through a link, never more than asked for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from suture.adapters.files import (
    exclusive_lock,
    host_errors,
    make_directory,
    read_file,
    read_file_if_there,
    write_file,
)
from suture.core.errors import BusyError, DiskFullError, ReadOnlyError, RightsError, StorageError


def test_written_whole_with_its_mode_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_file(path, b"one", mode=0o644)
    write_file(path, b"two", mode=0o640)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_changes_nothing_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status.json"
    write_file(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFullError):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_replaces_a_link_and_never_what_it_points_at(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(victim)
    write_file(tmp_path / "link", b"new")
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "link").is_symlink()


def test_reading_is_bounded_and_follows_no_link(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, maximum_bytes=5) == b"12345"
    with pytest.raises(StorageError, match="larger than 4 bytes"):
        read_file(path, maximum_bytes=4)
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    for bad in ("link", "pipe", ".", "none"):
        with pytest.raises(StorageError):
            read_file(tmp_path / bad, maximum_bytes=5)


def test_a_missing_file_is_none_and_a_dangling_link_is_an_error(tmp_path: Path) -> None:
    assert read_file_if_there(tmp_path / "none", maximum_bytes=1) is None
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(StorageError):
        read_file_if_there(tmp_path / "dangling", maximum_bytes=1)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EROFS, ReadOnlyError),
        (errno.EACCES, RightsError),
        (errno.EIO, StorageError),
    ],
)
def test_the_hosts_errors_in_our_words(number: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="cannot write it"), host_errors("write it"):
        raise OSError(number, os.strerror(number))


def test_directories_get_their_mode_and_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    make_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o755)
    make_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        make_directory(tmp_path / "file" / "below")


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with exclusive_lock(path, doing="install"):
        with pytest.raises(BusyError, match="cannot install"), exclusive_lock(path, doing="install"):
            pass
    with exclusive_lock(path, doing="install"):
        pass
