"""The demo's wheels: the table of pairs is sound, and no archive writes outside its directory or beyond its bounds."""

from __future__ import annotations

import hashlib
import io
import re
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suture.core.errors import DigestMismatchError, NotKnownError, TreeError
from suture.demo import wheels
from suture.demo.pairs import PAIRS, pair_for
from suture.improvement.manifest import Severity


def archive_of(entries: list[tuple[str, bytes, int]]) -> bytes:
    """A zip archive of (name, content, mode with its type) entries."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return held.getvalue()


PLAIN = stat.S_IFREG | 0o644


def test_every_pair_of_the_table_is_whole() -> None:
    assert len({pair.python for pair in PAIRS}) == len(PAIRS)
    for pair in PAIRS:
        assert re.fullmatch(r"CVE-\d{4}-\d{4,}", pair.fix.cve)
        assert Severity(pair.fix.severity)
        assert pair.fix.source.startswith("https://")
        assert pair.old != pair.new
        digests = [digest for both in pair.digests.values() for digest in both]
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests)
    every = [digest for pair in PAIRS for both in pair.digests.values() for digest in both]
    assert len(set(every)) == len(every)


def test_a_python_without_a_pair_is_told_which_have_one() -> None:
    with pytest.raises(NotKnownError, match=r"cannot run the demo on Python 2\.7 \(vax\).*3\.11"):
        pair_for((2, 7), "vax")


def test_plain_files_keep_their_bytes_and_their_executable_bit(tmp_path: Path) -> None:
    data = archive_of([("a/b.so", b"\x7fELF", stat.S_IFREG | 0o755), ("a/c.py", b"x = 1\n", PLAIN), ("d", b"", 0)])
    wheels.unpack_archive(data, tmp_path / "out")
    assert (tmp_path / "out/a/b.so").read_bytes() == b"\x7fELF"
    assert stat.S_IMODE((tmp_path / "out/a/b.so").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "out/a/c.py").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "name", ["../escape", "/absolute", "a/../../escape", "..", "a\\..\\escape", "a\nb", "x" * 600, "a/./../../b"]
)
def test_a_name_that_escapes_is_refused_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    data = archive_of([("good", b"x", PLAIN), (name, b"evil", PLAIN)])
    with pytest.raises(TreeError, match="cannot unpack the archive"):
        wheels.unpack_archive(data, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(TreeError, match="no plain file"):
        wheels.unpack_archive(archive_of([("link", b"/etc/passwd", kind | 0o777)]), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_names_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match="comes twice"):
        wheels.unpack_archive(archive_of([("Name", b"1", PLAIN), ("name", b"2", PLAIN)]), tmp_path / "out")


def test_a_bomb_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    data = archive_of([("zeros", bytes(3_000_000), PLAIN)])
    assert len(data) < 10_000
    with pytest.raises(TreeError, match="more than 1,000,000 bytes"):
        wheels.unpack_archive(data, tmp_path / "out", maximum_bytes=1_000_000)
    assert list(tmp_path.iterdir()) == []


def test_an_entry_that_lies_about_its_size_leaves_nothing(tmp_path: Path) -> None:
    data = bytearray(archive_of([("good", b"x", PLAIN), ("zeros", bytes(100_000), PLAIN)]))
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = (10).to_bytes(4, "little")  # APPNOTE 4.3.12: uncompressed size
    with pytest.raises(TreeError):
        wheels.unpack_archive(bytes(data), tmp_path / "out", maximum_bytes=1_000_000)
    assert list(tmp_path.iterdir()) == []


@given(damage=st.data())
def test_a_damaged_archive_never_ends_in_another_error(
    damage: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(archive_of([("a/b", b"hello" * 50, PLAIN), ("c", b"", PLAIN)]))
    place = damage.draw(st.integers(0, len(data) - 1))
    data[place] ^= damage.draw(st.integers(1, 255))
    out = tmp_path_factory.mktemp("damaged") / "out"
    try:
        wheels.unpack_archive(bytes(data), out)
    except TreeError:
        assert not out.exists()


def test_a_cached_wheel_with_another_digest_is_not_used(tmp_path: Path) -> None:
    pair = PAIRS[0]
    machine = next(iter(pair.digests))
    for version in (pair.old, pair.new):
        (tmp_path / version).mkdir()
        (tmp_path / version / "Pillow.whl").write_bytes(b"not it")
    with pytest.raises(DigestMismatchError, match="pinned is"):
        wheels.fetch_wheels(pair, tmp_path, machine=machine)


def test_a_wheel_that_changes_after_its_check_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    data = archive_of([("a", b"x", PLAIN)])
    path.write_bytes(data)
    wheel = wheels.Wheel(path, "1", hashlib.sha256(data).hexdigest(), pinned=True)
    path.write_bytes(archive_of([("a", b"y", PLAIN)]))
    with pytest.raises(DigestMismatchError, match="changed since"):
        wheels.unpack_wheel(wheel, tmp_path / "out")
    assert not (tmp_path / "out").exists()
