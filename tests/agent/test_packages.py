"""Package managers go first: the real dpkg and apt-get, in a throw-away copy of this machine's own tree."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mount_world import NO_MOUNTS, needs_mounts, private_mounts, unmount_below

from suture.agent.package_marker import at_work, mark, refuse_while_packages_change, unmark
from suture.agent.packages import hooks, install_hooks, remove_hooks
from suture.agent.places import SYSTEM_PLACES, Places
from suture.core.errors import BusyError

HERE = Path(__file__).parent


@contextlib.contextmanager
def machine_copy() -> Iterator[Path]:
    """This machine's tree, whose changes go to memory and are gone afterwards."""
    with private_mounts():
        place = Path(tempfile.mkdtemp(prefix="suture-machine-"))
        root = place / "memory/root"
        try:
            (place / "memory").mkdir()
            _mount("-t", "tmpfs", "tmpfs", str(place / "memory"))
            for name in ("upper", "work", "root"):
                (place / "memory" / name).mkdir()
            layers = f"lowerdir=/,upperdir={place}/memory/upper,workdir={place}/memory/work"
            _mount("-t", "overlay", "overlay", "-o", layers, str(root))
            for name in ("proc", "sys", "dev"):
                _mount("--rbind", f"/{name}", str(root / name))
            for needed in (HERE.parents[1], Path(sys.prefix)):
                if not (root / str(needed)[1:]).is_dir() or not any((root / str(needed)[1:]).iterdir()):
                    (root / str(needed)[1:]).mkdir(parents=True, exist_ok=True)
                    _mount("--bind", str(needed), str(root / str(needed)[1:]))
            yield root
        finally:
            unmount_below(place)
            (place / "memory").rmdir()
            place.rmdir()


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(400)
@needs_mounts
@pytest.mark.skipif(
    shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None, reason="needs dpkg and apt-get"
)
def test_dpkg_and_apt_go_first_and_grafts_come_back_or_leave() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "SUTURE_STORY_PORT": str(port), "PYTHONPATH": str(HERE), "HOME": "/root"}
    with machine_copy() as root:
        argv = ["chroot", str(root), sys.executable, "-B", str(HERE / "package_story.py")]
        done = subprocess.run(argv, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("the whole story\n")


def places_at(path: Path) -> Places:
    (path / "state/run").mkdir(parents=True)
    return Places(path / "state", path / "etc")


def test_a_mark_holds_as_long_as_its_process_lives(tmp_path: Path) -> None:
    places = places_at(tmp_path)
    assert at_work(places) is None
    with subprocess.Popen(["sleep", "60"]) as manager:
        with subprocess.Popen(["true"]) as hook:
            hook.wait()
        mark(places, os.getpid())
        assert at_work(places) is not None
        (tmp_path / "state/run/package-manager.json").write_text(
            f'{{"name":"dpkg","pid":{manager.pid},"started":{_started(manager.pid)}}}'
        )
        with pytest.raises(BusyError, match="package managers go first"):
            refuse_while_packages_change(places, wait_seconds=0.3)
        manager.kill()
    assert at_work(places) is None
    refuse_while_packages_change(places)
    unmark(places)
    unmark(places)


def _started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


@pytest.mark.parametrize("text", ["", "{", '{"pid": -1}', '{"name":"dpkg","pid":1,"started":-5}'])
def test_a_mark_that_cannot_be_read_keeps_no_fix_away(tmp_path: Path, text: str) -> None:
    places = places_at(tmp_path)
    (tmp_path / "state/run/package-manager.json").write_text(text)
    assert at_work(places) is None


def test_hooks_are_written_whole_and_name_other_places(tmp_path: Path) -> None:
    file = tmp_path / "dpkg.cfg.d/suture"
    install_hooks("/opt/py thon", Places(Path("/a b"), Path("/c")), file)
    text = file.read_text()
    assert text == hooks("/opt/py thon", Places(Path("/a b"), Path("/c")))
    assert "--state-directory '/a b'" in text
    assert all(line.startswith(("#", "pre-invoke=", "post-invoke=")) for line in text.splitlines())
    assert "--state-directory" not in hooks("/usr/bin/python3", SYSTEM_PLACES)
    assert remove_hooks(file)
    assert not remove_hooks(file)


def test_only_a_busy_device_stops_dpkg() -> None:
    shell = hooks("/bin/false", SYSTEM_PLACES)
    before = next(line for line in shell.splitlines() if line.startswith("pre-invoke=")).removeprefix("pre-invoke=")
    for code, expected in ((0, 0), (1, 0), (3, 0), (60, 0), (BusyError.exit_code, 1)):
        line = before.replace("/bin/false -I -m suture graft pre-invoke", f"sh -c 'exit {code}'")
        assert subprocess.run(["sh", "-c", line], check=False).returncode == expected
    assert NO_MOUNTS is not None
