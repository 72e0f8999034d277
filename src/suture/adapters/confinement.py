"""A child process takes its own rights away: limits, privileges, network, file system. One way, before hostile bytes.

What every kernel has is demanded (resource limits, `no_new_privs`, another user where we are root); what a kernel may
lack (its own empty network, Landlock) is used where it is there, and the caller is told what took hold.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import struct
from dataclasses import dataclass

from suture.core.errors import HostError

_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWNET = 0x40000000
_CLONE_NEWUSER = 0x10000000
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_CREATE_RULESET_VERSION = 1
_FILE_SYSTEM_RIGHTS_OF_ABI_1 = (1 << 13) - 1
"""Every right of Landlock's first version (linux/landlock.h): with no rule beneath, nothing can be opened by path."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one child. Sizes in bytes, CPU in seconds."""

    memory_bytes: int
    file_bytes: int
    cpu_seconds: int
    open_files: int = 64


def confine(limits: Limits) -> tuple[str, ...]:
    """Take this process's rights away for good.

    Args:
        limits: its bounds (setrlimit(2)).

    Returns:
        What took hold, as words: ``limits``, ``no-new-privileges``, ``nobody``, ``no-network``, ``landlock``.

    Raises:
        HostError: something that must hold could not be set.
    """
    held: list[str] = []
    try:
        if _enter_empty_network():
            held.append("no-network")
        if os.geteuid() == 0:
            _become_nobody()
            held.append("nobody")
        _call(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "drop privileges for good")
        held.append("no-new-privileges")
        if _close_file_system():
            held.append("landlock")
        _set_limits(limits)
        held.append("limits")
    except OSError as error:
        raise HostError(f"cannot confine the child that applies patches: {error.strerror}") from error
    return tuple(held)


def _call(result: int, doing: str) -> None:
    if result != 0:
        raise HostError(f"cannot {doing}: {os.strerror(ctypes.get_errno())}")


def _enter_empty_network() -> bool:
    """A network namespace without a way out; as a user, through a user namespace where the host allows one."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
    return int(libc.unshare(flags)) == 0


def _become_nobody() -> None:
    entry = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    if os.geteuid() == 0:
        raise HostError("cannot confine the child that applies patches: it stayed root")


def _close_file_system() -> bool:
    """Landlock with no rule: no path can be opened from here on; descriptors that are open stay."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION) < 1:
        return False
    attributes = struct.pack("<Q", _FILE_SYSTEM_RIGHTS_OF_ABI_1)
    ruleset = libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        return int(libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)) == 0
    finally:
        os.close(ruleset)


def _set_limits(limits: Limits) -> None:
    for which, bound in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(which)
        lower = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(which, (lower, lower))
