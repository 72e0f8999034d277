"""Mounts by descriptor: made detached, attached where nobody can look in between, and read back from mountinfo.

The system calls of Linux's newer mount interface, which the C library of older distributions does not wrap. Nothing
here decides anything, and nothing here runs a program.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
"""The same on every architecture (asm-generic/unistd.h)."""
_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_OPEN_TREE_CLONE: Final = 1
_FROM_EMPTY_PATH, _TO_EMPTY_PATH, _BENEATH = 0x4, 0x40, 0x200
_SET_FLAG, _SET_STRING, _SET_FD, _CREATE = 0, 1, 5, 6
_MNT_DETACH: Final = 2
_MS_PRIVATE: Final = 1 << 18
_ATTRIBUTES: Final = {0x1: 0x1, 0x2: 0x2, 0x4: 0x4, 0x8: 0x8, 0x2000: 0x200000}
"""statvfs(3)'s flags (read-only, nosuid, nodev, noexec, nosymfollow) as mount_setattr(2) spells them."""
READ_ONLY: Final = 0x1
NO_SET_ID: Final = 0x2
NO_DEVICES: Final = 0x4

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)); `device` is ``major:minor``."""

    number: int
    parent: int
    device: str
    root: str
    point: str
    kind: str
    source: str


def _call(number: int, *arguments: int | bytes | None) -> int:
    words = [one if isinstance(one, bytes) or one is None else ctypes.c_long(one) for one in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def clone_of(path: Path | str, *, read_only: bool = False) -> int:
    """A detached, private bind of what is at `path`, without the mounts below it (open_tree(2)).

    Private, or what is attached over the original later would come into the clone too.

    Args:
        path: links in it are followed.
        read_only: nothing can be written through the clone, whatever the original allows.
    """
    descriptor = _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    try:
        make_private(descriptor, and_set=READ_ONLY if read_only else 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_private(descriptor: int, *, and_set: int = 0) -> None:
    """Let the mount neither send nor receive what is attached below it (mount_setattr(2), MS_PRIVATE).

    Args:
        and_set: attributes that it gets too, such as `READ_ONLY`.
    """
    words = struct.pack("=QQQQ", and_set, 0, _MS_PRIVATE, 0)
    _call(_MOUNT_SETATTR, descriptor, b"", _AT_EMPTY_PATH, words, len(words))


def attributes_of(descriptor: int) -> int:
    """How the mount that a descriptor lies in is mounted: `READ_ONLY` and the like."""
    flags = os.fstatvfs(descriptor).f_flag
    return sum(attribute for flag, attribute in _ATTRIBUTES.items() if flags & flag)


def _new(kind: str, options: Sequence[tuple[int, bytes, bytes | None, int]], attributes: int) -> int:
    context = _call(_FSOPEN, kind.encode(), 1)
    try:
        for command, key, value, auxiliary in options:
            _call(_FSCONFIG, context, command, key, value, auxiliary)
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        return _call(_FSMOUNT, context, 1, attributes)
    except OSError as error:
        raise OSError(error.errno, _complaint(context, kind, error)) from error
    finally:
        os.close(context)


def _complaint(context: int, kind: str, error: OSError) -> str:
    """The kernel's own words, where it left some (fsopen(2): read from the descriptor)."""
    said = b""
    with contextlib.suppress(OSError):
        said = os.read(context, 400)
    return f"{kind}: {error.strerror}" + (f" ({said.decode('utf-8', 'replace').strip()})" if said else "")


def new_erofs(source: str) -> int:
    """A detached, read-only EROFS of an image file or of a block device; programs with set-id bits have none here."""
    options = [(_SET_STRING, b"source", os.fsencode(source), 0), (_SET_FLAG, b"ro", None, 0)]
    return _new("erofs", options, READ_ONLY | NO_SET_ID | NO_DEVICES)


def new_tmpfs(name: str, *, mode: int) -> int:
    """A detached, empty tmpfs for directories alone: nothing of size fits in."""
    options = [
        (_SET_STRING, b"source", name.encode(), 0),
        (_SET_STRING, b"mode", f"{mode:o}".encode(), 0),
        (_SET_STRING, b"size", b"1m", 0),
    ]
    return _new("tmpfs", options, NO_SET_ID | NO_DEVICES)


def new_overlay(name: str, layers: Sequence[int], attributes: int) -> int:
    """A detached overlay of directories given by descriptor, the topmost first (FSCONFIG_SET_FD ``lowerdir+``)."""
    options: list[tuple[int, bytes, bytes | None, int]]
    options = [(_SET_FD, b"lowerdir+", None, layer) for layer in layers]
    return _new("overlay", [*options, (_SET_STRING, b"source", name.encode(), 0)], attributes)


def new_overlay_of_paths(name: str, layers: Sequence[Path], attributes: int) -> int:
    """As `new_overlay`, for kernels that take layers by path alone; each must be attached in this namespace."""
    escaped = [re.sub(r"([\\:,])", r"\\\1", str(layer)) for layer in layers]
    options = [(_SET_STRING, b"lowerdir", os.fsencode(":".join(escaped)), 0)]
    return _new("overlay", [*options, (_SET_STRING, b"source", name.encode(), 0)], attributes)


def attach(mount: int, target: int, *, beneath: bool = False) -> None:
    """Attach a detached mount at the file or directory `target` (a descriptor), on top of what is mounted there.

    Args:
        beneath: directly under the topmost mount there, whose root `target` must be (MOVE_MOUNT_BENEATH).
    """
    flags = _FROM_EMPTY_PATH | _TO_EMPTY_PATH | (_BENEATH if beneath else 0)
    _call(_MOVE_MOUNT, mount, b"", target, b"", flags)


def detach(target: int) -> None:
    """Take away the mount whose root `target` is; who has files of it open keeps them (umount2(2), MNT_DETACH)."""
    if _libc.umount2(f"/proc/self/fd/{target}".encode(), _MNT_DETACH) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def mounts() -> tuple[Mount, ...]:
    """Every mount of this thread's namespace."""
    with open("/proc/thread-self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return tuple(_parsed(line) for line in file)


def _parsed(line: str) -> Mount:
    fields = line.split(" ")
    kind, source = fields[fields.index("-") + 1 :][:2]
    return Mount(
        int(fields[0]), int(fields[1]), fields[2], _plain(fields[3]), _plain(fields[4]), kind, _plain(source.strip())
    )


def _plain(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field)


def mount_number_of(descriptor: int) -> int:
    """The `Mount.number` of the mount that a descriptor lies in (proc_pid_fdinfo(5))."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        for line in file:
            if line.startswith("mnt_id:"):
                return int(line.split()[1])
    raise OSError("the kernel does not say which mount a descriptor lies in")
