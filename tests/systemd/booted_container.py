"""A real systemd for tests: this machine's own tree, booted as a throw-away container by systemd-nspawn.

An overlay over / whose upper layer lies in a tmpfs of its own, so nothing inside changes the machine, and every path
(the checkout, its virtual environment) is the same inside. What is written stays from one boot to the next, as on a
disk; all of it goes with `close`. The network is the machine's own: a repository on 127.0.0.1 can be reached.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
TOOLS = ("systemd-nspawn", "systemctl", "nsenter", "script", "mount", "umount")
BOOT_SECONDS = 60
ENVIRONMENT = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TERM=dumb", "SYSTEMD_PAGER=")
ENTER = """
import os, sys
for path in sys.argv[1].split(":"):
    open(path + "/cgroup.procs", "w").write(str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Enters the container's own control groups, then becomes nspawn's console."""
_NUMBERS = itertools.count(1)


class CannotBootError(Exception):
    """Why there can be no systemd here."""


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait on a real event, looking every 20 ms."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
        time.sleep(0.02)


CHECKOUT = Path(__file__).resolve().parents[2]


class BootedContainer:
    """One container. `boot` it, `run` commands in it, `power_cut` or `reboot` it, always `close` it.

    Args:
        shared: directories that lie at the same path inside, writable from both sides.
    """

    def __init__(self, shared: Sequence[Path] = ()) -> None:
        missing = [tool for tool in TOOLS if shutil.which(tool) is None]
        if os.geteuid() != 0 or missing:
            raise CannotBootError("it needs root" if os.geteuid() != 0 else f"it needs {', '.join(missing)}")
        self.name = f"suture-test-{os.getpid()}-{next(_NUMBERS)}"
        self.shared = tuple(shared)
        self.place = Path(tempfile.mkdtemp(prefix="suture-systemd-"))
        self.root = self.place / "root"
        self.console = self.place / "console.log"
        self.cgroups: list[Path] = []
        self.script: subprocess.Popen[bytes] | None = None
        self.leader = 0
        try:
            self._mount()
            self._make_cgroups()
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            said = getattr(error, "stderr", b"") or b""
            raise CannotBootError(f"{error}: {said.decode(errors='replace').strip()}") from error

    # --- its world ---------------------------------------------------------------------------------------------------

    def _mount(self) -> None:
        upper = self.place / "memory"
        for directory in (upper, self.root):
            directory.mkdir()
        _run("mount", "-t", "tmpfs", "-o", "mode=755,size=2g", "suture-test", str(upper))
        (upper / "upper").mkdir()
        (upper / "work").mkdir()
        options = f"lowerdir=/,upperdir={upper}/upper,workdir={upper}/work"
        _run("mount", "-t", "overlay", "-o", options, "suture-test", str(self.root))
        (self.root / "etc/machine-id").write_text("")
        wanted = self.root / "etc/systemd/system/multi-user.target.wants"
        for link in wanted.iterdir() if wanted.is_dir() else ():
            link.unlink()
        for unit in ("systemd-networkd-wait-online.service", "apt-daily.timer", "apt-daily-upgrade.timer"):
            mask = self.root / "etc/systemd/system" / unit
            mask.unlink(missing_ok=True)
            mask.symlink_to("/dev/null")

    def _make_cgroups(self) -> None:
        """A control group of its own in every hierarchy, or nspawn would take the machine's."""
        hierarchies = [CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else sorted(CGROUPS.iterdir())
        for hierarchy in hierarchies:
            if hierarchy.is_symlink() or not (hierarchy / "cgroup.procs").exists():
                continue
            own = hierarchy / self.name
            own.mkdir()
            self.cgroups.append(own)
            for kept in ("cpuset.cpus", "cpuset.mems"):
                if (hierarchy / kept).exists() and (own / kept).exists() and hierarchy != CGROUPS:
                    (own / kept).write_text((hierarchy / kept).read_text())

    # --- its life ----------------------------------------------------------------------------------------------------

    def boot(self) -> float:
        """Start it and wait until systemd is up; seconds that took.

        Raises:
            CannotBootError: it did not come up; the console's last words say why.
        """
        began = time.monotonic()
        binds = [f"--bind={path}" for path in self.shared]
        # Whatever lies on another mount, or below /tmp (which is the container's own), has to be handed in.
        binds += [f"--bind-ro={path}" for path in sorted({str(CHECKOUT), sys.prefix, sys.base_prefix})]
        nspawn = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", f"--machine={self.name}"]
        nspawn += [
            f"--directory={self.root}",
            "--kill-signal=SIGRTMIN+3",
            "--resolv-conf=off",
            "--timezone=off",
            *binds,
        ]
        groups = ":".join(map(str, self.cgroups))
        console = ["script", "--quiet", "--flush", "--return", "--command", " ".join(nspawn), str(self.console)]
        self.script = subprocess.Popen(
            [sys.executable, "-S", "-c", ENTER, groups, *console],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait_until_up()
        except AssertionError as error:
            words = self.console.read_text(errors="replace")[-1500:] if self.console.exists() else ""
            raise CannotBootError(f"{error}; the console's last words: {words}") from error
        return time.monotonic() - began

    def _wait_until_up(self) -> None:
        wait_until(lambda: self._find_leader() or self._has_ended(), "the container's first process", BOOT_SECONDS)
        assert not self._has_ended(), "nspawn ended at once"
        up = ("running", "degraded")
        wait_until(lambda: self.try_run("systemctl", "is-system-running")[1].strip() in up, "systemd", BOOT_SECONDS)

    def _has_ended(self) -> bool:
        return self.script is not None and self.script.poll() is not None

    def _find_leader(self) -> bool:
        """nspawn's child that is process 1 inside."""
        nspawn = _descendant(self.script.pid if self.script else 0, "systemd-nspawn")
        for pid in _children(nspawn) if nspawn else ():
            with contextlib.suppress(OSError):
                inside = Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2].split("\n")[0].split()
                if inside[-1] == "1" and Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                    self.leader = pid
                    return True
        return False

    def power_cut(self) -> None:
        """Kill process 1 and with it everything at once, as a lost supply does (the page cache is kept)."""
        os.kill(self.leader, signal.SIGKILL)
        self._wait_for_the_end()

    def reboot(self) -> None:
        """`systemctl reboot` from inside, and up again (with --keep-unit nspawn leaves the second start to us)."""
        self.try_run("systemctl", "reboot")
        self._wait_for_the_end()
        self.boot()

    def power_off(self) -> None:
        """An orderly end, or a kill where there is none in time."""
        if self.script is None or self._has_ended():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.leader or self.script.pid, signal.SIGRTMIN + 4)
        try:
            self.script.wait(timeout=20)
        except subprocess.TimeoutExpired:
            if self.leader:
                os.kill(self.leader, signal.SIGKILL)
            os.killpg(self.script.pid, signal.SIGKILL)
            self.script.wait()

    def _wait_for_the_end(self) -> None:
        assert self.script is not None
        self.script.wait(timeout=30)
        self.script = None

    def close(self) -> None:
        """End it and take everything of it away."""
        self.power_off()
        for own in self.cgroups:
            groups = sorted((Path(found) for found, _, _ in os.walk(own)), key=lambda one: -len(one.parts))
            for group in groups:
                with contextlib.suppress(OSError):
                    group.rmdir()
        for mounted in (self.root, self.place / "memory"):
            subprocess.run(["umount", "--lazy", str(mounted)], check=False, capture_output=True)
        shutil.rmtree(self.place, ignore_errors=True)

    # --- inside ------------------------------------------------------------------------------------------------------

    def command(self, *words: str) -> list[str]:
        """The host's words that run `words` inside."""
        namespaces = ["-m", "-u", "-i", "-p", "-C", "-n", "-r", "-w"]
        return ["nsenter", "-t", str(self.leader), *namespaces, "--", *ENVIRONMENT, *words]

    def try_run(self, *words: str, seconds: float = 60, errors: int = subprocess.STDOUT) -> tuple[int, str]:
        """Run a command inside: its exit code and its output, with what it says on standard error unless told."""
        done = subprocess.run(
            self.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            timeout=seconds, check=False, errors="replace",
        )  # fmt: skip
        return done.returncode, done.stdout

    def run(self, *words: str, seconds: float = 60) -> str:
        """Run a command inside that must end well; its output."""
        code, said = self.try_run(*words, seconds=seconds)
        assert code == 0, f"{' '.join(words)} ended with {code}: {said}"
        return said

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", "--", unit).strip()

    def write(self, path: str, text: str) -> None:
        """A file inside, at its path inside."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def log(self, unit: str) -> str:
        """The last lines of a unit's journal."""
        return self.try_run("journalctl", "--no-pager", "--lines=80", "--output=short-precise", f"--unit={unit}")[1]


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _descendant(pid: int, name: str) -> int:
    for child in _children(pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text().strip() == name:
                return child
        found = _descendant(child, name)
        if found:
            return found
    return 0
