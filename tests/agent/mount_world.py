"""A private mount namespace for one test, so that a failing test leaves no mounts on the machine."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from suture.adapters.mounts import mounts

_CLONE_NEWNS = 0x20000
_MNT_DETACH = 2
_MS_REC, _MS_PRIVATE, _MS_SHARED = 0x4000, 1 << 18, 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


def _call(result: int, doing: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{doing}: {os.strerror(ctypes.get_errno())}")


def why_no_mounts() -> str:
    """Why tests with real mounts cannot run here; empty where they can."""
    if os.geteuid() != 0:
        return "needs root: overlay grafts are mounts"
    if shutil.which("mkfs.erofs", path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        return "needs mkfs.erofs (package erofs-utils)"
    kinds = Path("/proc/filesystems").read_text().split()
    missing = [kind for kind in ("erofs", "overlay") if kind not in kinds]
    if missing:
        return f"this kernel has no {', '.join(missing)}"
    try:
        with private_mounts():
            pass
    except OSError as error:
        return f"needs a mount namespace of its own: {error}"
    return ""


@contextlib.contextmanager
def private_mounts(*, shared: bool = False) -> Iterator[None]:
    """This thread in a mount namespace of its own, whose mounts reach nobody outside.

    Args:
        shared: inside it, let mounts reach namespaces that are made from it later, as on a machine with systemd.
    """
    before, place = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC), os.getcwd()
    try:
        _call(_libc.unshare(_CLONE_NEWNS), "unshare")
        try:
            _call(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "make private")
            if shared:
                _call(_libc.mount(b"none", b"/", None, _MS_REC | _MS_SHARED, None), "make shared")
            yield
        finally:
            _call(_libc.setns(before, _CLONE_NEWNS), "setns")
            os.chdir(place)
    finally:
        os.close(before)


def unmount_below(root: Path) -> None:
    """Detach everything that is mounted below a directory, innermost first."""
    for one in sorted((one for one in mounts() if root in Path(one.point).parents), key=lambda one: -one.number):
        _libc.umount2(os.fsencode(one.point), _MNT_DETACH)


NO_MOUNTS = why_no_mounts()
needs_mounts = pytest.mark.skipif(bool(NO_MOUNTS), reason=NO_MOUNTS or "mounts work here")
