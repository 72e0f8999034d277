"""A process namespace of the demo's own (pid_namespaces(7)), for hosts on which even root may not read every process.

*Effective* means that no process uses the old files, and a process that may not be read counts as one that might. On
such a host (a container, a locked-down virtual machine) the whole demo runs apart, where every process is its own, and
says so. It also has the kernel end everything the moment the demo ends, whatever ended it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from suture.adapters.process import every_pid, read_process
from suture.core.errors import HostError

_CLONE_NEWNS, _CLONE_NEWPID = 0x00020000, 0x20000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_PR_SET_PDEATHSIG = 1


def unreadable_processes() -> tuple[str, ...]:
    """Names and ids of the processes whose maps this user may not read; kernel threads have none."""
    found = []
    for pid in every_pid():
        try:
            with open(f"/proc/{pid}/maps", "rb") as maps:
                maps.read(1)
        except PermissionError:
            state = read_process(pid)
            if state is not None and not state.is_kernel_thread:
                found.append(f"{state.name} ({pid})")
        except OSError:
            continue
    return tuple(found)


def run_apart(inside: Callable[[], int]) -> int:
    """Run `inside` in a child that is the first process of a namespace of its own; its exit code.

    Raises:
        HostError: the host does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWPID | _CLONE_NEWNS), "make a process namespace")
    _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "make its mounts private")
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
            _check(libc.mount(b"proc", b"/proc", b"proc", flags, None), "mount its /proc")
            code = inside()
        finally:
            sys.stdout.flush()
            os._exit(code)
    return _wait(child)


def _wait(child: int) -> int:
    """Pass SIGTERM on; the terminal sends SIGINT to both, and the child answers it."""

    def forward(number: int, _: FrameType | None) -> None:
        os.kill(child, number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, forward)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _check(result: int, doing: str) -> None:
    if result != 0:
        raise HostError(f"cannot {doing}: {os.strerror(ctypes.get_errno())}")
