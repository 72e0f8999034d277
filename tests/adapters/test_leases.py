"""A write lease answers for every process: open, mapped, mapped then closed; and never for a file that nobody uses."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from suture.adapters.leases import is_in_use

HOLDER = """
import mmap, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
if sys.argv[2] == "mapped":
    mapping = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    os.close(descriptor)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["open", "mapped"])
def test_a_file_that_another_process_holds_is_in_use_until_it_ends(tmp_path: Path, how: str) -> None:
    file = tmp_path / "old.so"
    file.write_bytes(b"old" * 4096)
    if is_in_use(file) is None:
        pytest.skip("this file system grants no leases")
    with subprocess.Popen(
        [sys.executable, "-I", "-c", HOLDER, str(file), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"ready\n"
        assert is_in_use(file) is True
        holder.stdin.close()
        holder.wait()
    assert is_in_use(file) is False


def test_our_own_mapping_counts_too(tmp_path: Path) -> None:
    file = tmp_path / "old.so"
    file.write_bytes(b"old" * 4096)
    if is_in_use(file) is None:
        pytest.skip("this file system grants no leases")
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ):
        assert is_in_use(file) is True
    assert is_in_use(file) is False


def test_what_cannot_be_asked_is_not_called_unused(tmp_path: Path) -> None:
    assert is_in_use(tmp_path / "missing") is None
    (tmp_path / "link").symlink_to("/etc/hostname")
    assert is_in_use(tmp_path / "link") is None
