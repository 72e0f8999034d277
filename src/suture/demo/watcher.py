"""Watches, a few hundred times a second, what anybody on the device may see: where the product's pointer points, what
the supervisor says of itself and what the status file says. For the time line: it decides nothing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

INTERVAL_SECONDS = 0.004


@dataclass(frozen=True, slots=True)
class Sight:
    """A change that was seen at `at` (CLOCK_MONOTONIC). `what`: ``pointer``, ``service`` or ``state``."""

    at: float
    what: str
    value: str
    detail: str = ""


class Watcher:
    """A thread that notes changes.

    Args:
        pointer: the product's pointer.
        supervised: the supervisor's file about the service.
        status: the device's status file.
    """

    def __init__(self, pointer: Path, supervised: Path, status: Path) -> None:
        self.sights: list[Sight] = []
        self._looks: tuple[tuple[str, Callable[[], tuple[str, str]]], ...] = (
            ("pointer", lambda: (str(pointer.readlink()), "")),
            ("service", _Reader(supervised, _service_of).read),
            ("state", _Reader(status, _state_of).read),
        )
        self._last: dict[str, tuple[str, str]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self._look()

    def _look(self) -> None:
        for what, look in self._looks:
            try:
                seen = look()
            except (OSError, ValueError, KeyError, IndexError):
                continue
            if seen != self._last.get(what):
                self._last[what] = seen
                self.sights.append(Sight(time.monotonic(), what, *seen))

    def swaps(self) -> list[Sight]:
        """Every change of the pointer after the first sight of it."""
        return [sight for sight in list(self.sights) if sight.what == "pointer"][1:]

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()


class _Reader:
    """Reads a JSON file again only when it was replaced."""

    def __init__(self, path: Path, choose: Callable[[object], tuple[str, str]]) -> None:
        self._path, self._choose = path, choose
        self._inode = (0, 0)
        self._value = ("", "")

    def read(self) -> tuple[str, str]:
        about = self._path.stat()
        if (about.st_ino, about.st_mtime_ns) != self._inode:
            self._value = self._choose(json.loads(self._path.read_bytes()))
            self._inode = (about.st_ino, about.st_mtime_ns)
        return self._value


def _service_of(said: object) -> tuple[str, str]:
    assert isinstance(said, dict)  # noqa: S101  the supervisor's own file; anything else is not looked at
    return f"{said['worker_pid']} {said['generation']} {said['outcome']}", str(said["root"])


def _state_of(said: object) -> tuple[str, str]:
    assert isinstance(said, dict)  # noqa: S101  as above
    product = said["products"][0]
    settled = product["effective"] or product["state"] != "baseline"
    return f"{product['level']} {product['state'] if settled else 'on its way'}", product["display"]
