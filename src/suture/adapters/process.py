"""Processes of the host, as proc(5) shows them, and commands run bounded. No shell, ever; nothing is decided here.

A process is its pid *and* its start time: a pid alone may by now be somebody else (RAUC, PackageKit: TOCTOU by pid).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from suture.core.errors import HostError, InputError, NotKnownError

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PROCFS = "/proc"


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One line of /proc/PID/stat. `started` is in clock ticks since boot (proc_pid_stat(5), field 22)."""

    pid: int
    name: str
    state: str
    parent: int
    group: int
    session: int
    flags: int
    started: int
    footprint: tuple[bytes, ...] = field(default=(), compare=False)
    """Page faults, processor time, threads and size: a process that has done anything of note has another one."""

    @property
    def is_zombie(self) -> bool:
        """It ended; only its exit status is left."""
        return self.state in "ZX"

    @property
    def is_kernel_thread(self) -> bool:
        """PF_KTHREAD of the kernel's sched.h: it has no files of ours."""
        return bool(self.flags & 0x00200000)


def read_process(pid: int) -> ProcessState | None:
    """What the kernel says of `pid`, or None where there is no such process."""
    try:
        # Not open(): a whole scan of the system is mostly this, and a buffered file costs twice as much.
        descriptor = os.open(f"{_PROCFS}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, 4096)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError as error:
        raise HostError(f"cannot read the state of process {pid}: {error.strerror}") from error
    opening, closing = data.find(b"("), data.rfind(b")")
    fields = data[closing + 2 :].split()
    if opening < 0 or closing < 0 or len(fields) < 20:
        return None
    return ProcessState(
        pid=pid,
        name=data[opening + 1 : closing].decode("utf-8", "replace"),
        state=fields[0].decode("ascii"),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        flags=int(fields[6]),
        started=int(fields[19]),
        footprint=(*fields[7:17:2], fields[11], fields[17], *fields[20:21]),
    )


def is_running(pid: int, started: int) -> bool:
    """The process `pid` that started then (clock ticks since boot) still runs, and is no zombie."""
    state = read_process(pid)
    return state is not None and state.started == started and not state.is_zombie


def own_identity() -> tuple[int, int]:
    """This process's pid and start time in clock ticks since boot."""
    state = read_process(os.getpid())
    if state is None:
        raise HostError("cannot read /proc/self: process identities need a mounted proc file system")
    return state.pid, state.started


def boot_seconds() -> float:
    """Seconds since boot, sleep included: the clock that start times are on."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def epoch_of_ticks(started: int) -> float:
    """Seconds since the epoch of a start time in clock ticks since boot."""
    return time.time() - boot_seconds() + started / TICKS_A_SECOND


def owner_of(pid: int) -> int | None:
    """Effective user id of a process, or None where it is gone."""
    try:
        return os.stat(f"{_PROCFS}/{pid}").st_uid
    except OSError:
        return None


def every_pid() -> list[int]:
    """The pids that can be seen now."""
    try:
        return [int(name) for name in os.listdir(_PROCFS) if name.isdigit()]
    except OSError as error:
        raise HostError(f"cannot list processes: {error.strerror}") from error


def kill_group(group: int, number: int) -> bool:
    """Signal a process group; False where nobody is left in it (or, number 0, just asks)."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True, slots=True)
class Account:
    """A user that a command runs as."""

    name: str
    user: int
    group: int
    home: str


def account_of(name: str) -> Account:
    """Look a user up.

    Raises:
        NotKnownError: no such user on this host.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        raise NotKnownError(f"cannot run a command as {name!r}: there is no such user on this host") from error
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended. `status` is its exit code, minus a signal's number, or None where time ran out."""

    status: int | None
    tail: str
    milliseconds: float


def run_bounded(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    timeout_seconds: float,
    account: Account | None = None,
    directory: str = "/",
    tail_bytes: int = 4096,
) -> CommandResult:
    """Run a command in a session of its own: no input, bounded output, and nothing of it left at the deadline.

    Args:
        argv: the program and its words, never a shell's line.
        environment: the whole environment; nothing is inherited.
        timeout_seconds: then its process group is killed.
        account: the user to become first, with no supplementary groups; needs root.
        directory: where it runs.
        tail_bytes: the last bytes of standard output and error together that are kept.

    Raises:
        InputError: the program cannot be started.
    """
    began = time.monotonic()
    child = _start(argv, environment, account, directory)
    with child:
        try:
            tail, ended = _drain(child, began + timeout_seconds, tail_bytes)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, began + timeout_seconds - time.monotonic()) if ended else 0.0)
        finally:
            status = child.poll()  # before the kill, or one that ran out of time might look like one that was killed
            kill_group(child.pid, signal.SIGKILL)
            child.wait()
    return CommandResult(status, tail.decode("utf-8", "replace"), (time.monotonic() - began) * 1000)


def _start(
    argv: Sequence[str], environment: Mapping[str, str], account: Account | None, directory: str
) -> subprocess.Popen[bytes]:
    identity = {} if account is None else {"user": account.user, "group": account.group, "extra_groups": []}
    try:
        child: subprocess.Popen[bytes] = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
            close_fds=True,
            umask=0o077,
            **identity,  # type: ignore[call-overload]  # three keyword arguments or none
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InputError(f"cannot start {argv[0]}: {getattr(error, 'strerror', None) or error}") from error
    return child


def _drain(child: subprocess.Popen[bytes], deadline: float, tail_bytes: int) -> tuple[bytes, bool]:
    """The last bytes it wrote, and whether it closed its output before the deadline.

    A child's grandchild may keep the pipe: when the child itself has ended, what is there is enough.
    """
    assert child.stdout is not None  # noqa: S101  # asked for above
    descriptor, kept = child.stdout.fileno(), b""
    os.set_blocking(descriptor, False)
    ending = os.pidfd_open(child.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            selector.register(ending, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                ready = {key.fd for key, _ in selector.select(left)}
                if descriptor in ready:
                    chunk = os.read(descriptor, 65536)
                    if not chunk:
                        return kept, True
                    kept = (kept + chunk)[-tail_bytes:]
                elif ending in ready:
                    return kept, True
        return kept, False
    finally:
        os.close(ending)
