"""The mark that a package manager is at work: while it stands and its process lives, nothing is grafted over packages.

Written by dpkg's pre-invoke hook, taken away by its post-invoke hook. A package manager that dies leaves a mark of a
process that is no more, which counts for nothing.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import msgspec

from suture.adapters.files import host_errors, read_file_if_there, write_file
from suture.adapters.process import is_running, read_process
from suture.agent.places import Places
from suture.core.canonical import canonical_json
from suture.core.errors import BusyError, SutureError

_MAXIMUM_BYTES = 4096
_RETRY_SECONDS = 0.2
_MOST_ANCESTORS = 8
_PACKAGE_MANAGERS = frozenset({"dpkg"})


class PackageManager(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The process at work; `started` in clock ticks since boot."""

    pid: int
    started: int
    name: str


def _mark(places: Places) -> Path:
    return places.state / "run" / "package-manager.json"


def at_work(places: Places) -> PackageManager | None:
    """The package manager that is at work now, or None."""
    try:
        data = read_file_if_there(_mark(places), maximum_bytes=_MAXIMUM_BYTES)
        found = msgspec.json.decode(data, type=PackageManager) if data is not None else None
    except (SutureError, msgspec.DecodeError):
        return None  # a mark that cannot be read must not keep fixes away for ever
    return found if found is not None and is_running(found.pid, found.started) else None


def mark(places: Places, hook: int) -> PackageManager:
    """Leave the mark of who started the process `hook`: its nearest ancestor dpkg, else its parent.

    Raises:
        StorageError: (or a kind of it) it cannot be written.
    """
    own = read_process(hook)
    parent = chosen = read_process(own.parent) if own is not None else None
    for _ in range(_MOST_ANCESTORS):
        if parent is None or parent.pid <= 1:
            break
        if parent.name in _PACKAGE_MANAGERS:
            chosen = parent
            break
        parent = read_process(parent.parent)
    if chosen is None:
        chosen = own
    manager = (
        PackageManager(0, 0, "unknown") if chosen is None else PackageManager(chosen.pid, chosen.started, chosen.name)
    )
    write_file(_mark(places), canonical_json(msgspec.to_builtins(manager)), mode=0o644)
    return manager


def unmark(places: Places) -> None:
    """Take the mark away. Idempotent."""
    with host_errors("take the package manager's mark away"):
        _mark(places).unlink(missing_ok=True)


def refuse_while_packages_change(places: Places, *, wait_seconds: float = 0.0) -> None:
    """Package managers go first.

    Args:
        wait_seconds: how long to wait for one to end; call this without the device's lock then.

    Raises:
        BusyError: one is at work.
    """
    end = time.monotonic() + wait_seconds
    while (manager := at_work(places)) is not None:
        if time.monotonic() >= end:
            raise BusyError(
                f"cannot change grafts now: {manager.name} ({manager.pid}) is at work, and package managers go first",
                advice="wait until it has ended; grafts come back by themselves then",
            )
        with contextlib.suppress(InterruptedError):
            time.sleep(_RETRY_SECONDS)
