"""Evidence first: what ran before a restart that would wipe its traces. Off unless the settings say `capture`.

Kept private to the agent, bounded in time and size, and never a reason not to restart: whatever cannot be had is named
in the evidence itself. It reads; it signals and stops nobody.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from suture.adapters.files import make_directory, write_file
from suture.adapters.process import epoch_of_ticks, every_pid, owner_of, read_process, run_bounded
from suture.agent.device import Device
from suture.agent.doors import ScanResult
from suture.agent.machine.state import Operation
from suture.core.errors import SutureError
from suture.wire.product import Product

CAPTURE_SECONDS = 5.0
CAPTURE_BYTES = 4 << 20
KEPT_CAPTURES = 10
_LOG_BYTES = 1 << 20
_LONGEST_WORDS = 2048
_MAXIMUM_PROCESSES = 5000
_BUFFER_BYTES = 1 << 20
_SOCKET_TABLES = ("tcp", "tcp6", "udp", "udp6", "unix")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class SeenProcess(msgspec.Struct, frozen=True):
    """One process as it was. `started`: seconds since the epoch."""

    pid: int
    parent: int
    user: int | None
    name: str
    started: float
    words: str
    uses: str = ""
    """How it used files that were replaced, where it did."""
    open_files: tuple[str, ...] = ()


class MappedFile(msgspec.Struct, frozen=True):
    """One mapping of a process that used replaced files. `digest` is empty where it could not be read in time."""

    pid: int
    path: str
    digest: str


class Evidence(msgspec.Struct, frozen=True):
    """What ``evidence.json`` holds. `missing` says what is not in it, and why."""

    product: str
    level: int
    at: str
    processes: tuple[SeenProcess, ...] = ()
    sockets: dict[str, str] = {}
    mapped: tuple[MappedFile, ...] = ()
    logs: dict[str, str] = {}
    missing: tuple[str, ...] = ()


class _Budget:
    """The time and the bytes that are left."""

    def __init__(self, seconds: float, size: int) -> None:
        self._end = time.monotonic() + seconds
        self.bytes = size

    def seconds(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def take(self, text: str) -> str:
        """As much of the text as may still be kept. JSON can spell a byte with six."""
        kept = text.encode("utf-8", "replace")[: max(0, self.bytes // 6)].decode("utf-8", "replace")
        self.bytes -= len(msgspec.json.encode(kept)) + 64
        return kept


def capture_evidence(
    device: Device, product: Product, operation: Operation, users: ScanResult, *, seconds: float = CAPTURE_SECONDS
) -> Path | None:
    """Keep what can be had within `seconds` and 4 MiB; the evidence's directory, or None where nothing could be kept.

    Args:
        device: whose state directory keeps it, in ``evidence/``, which nobody else may read.
        product: whose restart follows.
        operation: names the evidence.
        users: who uses the files that were replaced.
        seconds: the bound in time.
    """
    budget, missing = _Budget(seconds, CAPTURE_BYTES), list[str]()
    hows = {user.pid: user.how for user in users.users}

    def part(name: str, collect: Callable[[], None]) -> None:
        if budget.seconds() <= 0 or budget.bytes <= 0:
            missing.append(f"{name}: no {'time' if budget.seconds() <= 0 else 'room'} was left")
            return
        try:
            collect()
        except (OSError, SutureError) as error:
            missing.append(f"{name}: {error}")

    processes, mapped = list[SeenProcess](), list[MappedFile]()
    sockets, logs = dict[str, str](), dict[str, str]()
    part("processes", lambda: processes.extend(_processes(hows, budget)))
    part("sockets", lambda: sockets.update(_sockets(budget)))
    part("logs", lambda: logs.update(_logs({user.belongs_to for user in users.users}, budget)))
    part("mapped files", lambda: mapped.extend(_mapped(hows, budget)))
    if any(not one.digest for one in mapped):
        missing.append("mapped files: some could not be digested in time")
    evidence = Evidence(
        product.product, operation.level, device.now(), tuple(processes), sockets, tuple(mapped), logs, tuple(missing)
    )
    return _keep(device, product, operation, evidence)


def _keep(device: Device, product: Product, operation: Operation, evidence: Evidence) -> Path | None:
    home = device.places.state / "evidence"
    own = home / f"{product.product}-{operation.number:06d}"
    try:
        make_directory(home, mode=0o700)
        make_directory(own, mode=0o700)
        write_file(own / "evidence.json", msgspec.json.encode(evidence), mode=0o600)
        kept = sorted((one for one in home.iterdir() if one.is_dir()), key=lambda one: one.stat().st_mtime)
        for old in kept[:-KEPT_CAPTURES]:
            shutil.rmtree(old, ignore_errors=True)
    except (OSError, SutureError):
        return None  # a full disk must not keep a fix from taking effect
    return own


def _processes(hows: dict[int, str], budget: _Budget) -> Iterable[SeenProcess]:
    # Those that use the replaced files come first: where room or time ends, they are there.
    for pid in [*hows, *(pid for pid in every_pid() if pid not in hows)][:_MAXIMUM_PROCESSES]:
        state = read_process(pid)
        if state is None or state.is_kernel_thread:
            continue
        if budget.seconds() <= 0 or budget.bytes <= 0:
            return
        words, user = _read_words(pid), owner_of(pid)
        files = tuple(budget.take(one) for one in _open_files(pid)) if pid in hows else ()
        started = epoch_of_ticks(state.started)
        yield SeenProcess(pid, state.parent, user, state.name, started, budget.take(words), hows.get(pid, ""), files)
        budget.bytes -= 160


def _read_words(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(_LONGEST_WORDS).replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _open_files(pid: int) -> list[str]:
    found = []
    try:
        for name in os.listdir(f"/proc/{pid}/fd")[:200]:
            found.append(f"{name} {os.readlink(f'/proc/{pid}/fd/{name}')}")
    except OSError:
        pass
    return found


def _sockets(budget: _Budget) -> dict[str, str]:
    found = {}
    for table in _SOCKET_TABLES:
        with open(f"/proc/net/{table}", "rb") as file:
            found[table] = budget.take(file.read(CAPTURE_BYTES // 16).decode("ascii", "replace"))
    return found


def _logs(owners: set[str | None], budget: _Budget) -> dict[str, str]:
    found = {}
    journalctl = shutil.which("journalctl", path=_ENVIRONMENT["PATH"])
    for unit in sorted(name for name in owners if name is not None and name.endswith(".service")):
        if journalctl is None:
            return {"": "there is no journalctl here"}
        words = [journalctl, "--no-pager", "--lines=500", "--output=short-iso-precise", f"--unit={unit}"]
        seconds = min(2.0, max(0.1, budget.seconds()))
        result = run_bounded(words, environment=_ENVIRONMENT, timeout_seconds=seconds, tail_bytes=_LOG_BYTES)
        found[unit] = budget.take(result.tail)
    return found


def _mapped(hows: dict[int, str], budget: _Budget) -> Iterable[MappedFile]:
    digests: dict[tuple[int, int], str] = {}
    for pid in hows:
        try:
            ranges = os.listdir(f"/proc/{pid}/map_files")
        except OSError:
            continue
        seen: set[str] = set()
        for name in ranges:
            path = f"/proc/{pid}/map_files/{name}"
            try:
                link, status = os.readlink(path), os.stat(path)
            except OSError:
                continue
            if link in seen or budget.bytes <= 0:
                continue
            seen.add(link)
            key = (status.st_dev, status.st_ino)
            if key not in digests:
                digests[key] = _digest(path, budget)
            budget.bytes -= 160
            yield MappedFile(pid, budget.take(link), digests[key])


def _digest(path: str, budget: _Budget) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while part := file.read(_BUFFER_BYTES):
                if budget.seconds() <= 0:
                    return ""
                digest.update(part)
    except OSError:
        return ""
    return f"sha256:{digest.hexdigest()}"
