"""When a new worker is ready: it says READY=1, or a URL answers 200, or a command ends with 0.

READY=1 is the only one of the three that surely comes from the new worker: old and new share one listening socket, so a
URL may be answered by the old one. An answer with a ``Suture-Worker: PID`` field is believed only for that worker.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from suture.adapters.process import kill_group
from suture.adapters.sockets import ask_loopback
from suture.core.errors import HostError

_PAUSE_SECONDS = 0.1
_ASK_SECONDS = 2.0


class Said:
    """Ready when the worker has said READY=1; nothing to do meanwhile."""

    ready = False
    problem = "it did not say READY=1 (sd_notify(3)) on the socket that NOTIFY_SOCKET names"

    def due(self) -> float | None:
        """When `look` wants to be called next, on the monotonic clock."""
        return None

    def look(self) -> None:
        """Take the next step."""

    def ended(self, pid: int, status: int) -> bool:  # noqa: ARG002  # the others start processes
        """A child of the supervisor ended; True where it was ours."""
        return False

    def stop(self) -> None:
        """Nobody waits any more."""


class UrlAnswers(Said):
    """Ready when a loopback URL answers 200. Asked in a thread, since the supervisor must never block."""

    def __init__(self, url: str, worker_pid: int, wake: Callable[[], None]) -> None:
        self.problem = f"{url} did not answer 200"
        self._url, self._worker, self._wake = url, str(worker_pid), wake
        self._over = threading.Event()
        threading.Thread(target=self._ask, name="ready-url", daemon=True).start()

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                answer = ask_loopback(self._url, timeout_seconds=_ASK_SECONDS)
            except HostError as error:
                self.problem = error.message
            else:
                if answer.worker not in (None, self._worker):
                    self.problem = f"{self._url} was answered by worker {answer.worker}, not by the new one"
                elif answer.status == 200:
                    self.ready = True
                    self._wake()
                    return
                else:
                    self.problem = f"{self._url} answered {answer.status}"
            self._over.wait(_PAUSE_SECONDS)

    def stop(self) -> None:
        """The thread ends after its question in flight."""
        self._over.set()


class CommandAgrees(Said):
    """Ready when a command ends with 0; it is started again until then. It learns SUTURE_WORKER_PID."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], worker_pid: int) -> None:
        self.problem = f"{argv[0]} did not end with 0"
        self._argv = list(argv)
        self._environment = {**environment, "SUTURE_WORKER_PID": str(worker_pid)}
        for word in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_FDNAMES"):
            self._environment.pop(word, None)
        self._pid: int | None = None
        self._next = time.monotonic()

    def due(self) -> float | None:
        """The next start, or None while it runs."""
        return None if self._pid is not None or self.ready else self._next

    def look(self) -> None:
        """Start it where it is due."""
        if self._pid is not None or self.ready or time.monotonic() < self._next:
            return
        nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        silent = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
        try:
            self._pid = os.posix_spawnp(
                self._argv[0],
                self._argv,
                self._environment,
                file_actions=[nothing, silent],
                setsid=True,
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )
        except OSError as error:
            self.problem = f"{self._argv[0]} could not be started: {error.strerror}"
            self._next = time.monotonic() + 1.0

    def ended(self, pid: int, status: int) -> bool:
        """Its status is the answer."""
        if pid != self._pid:
            return False
        self._pid, self.ready = None, status == 0
        self.problem = f"{self._argv[0]} ended with {status}"
        self._next = time.monotonic() + _PAUSE_SECONDS
        return True

    def stop(self) -> None:
        """Kill it where it still runs."""
        if self._pid is not None:
            kill_group(self._pid, signal.SIGKILL)
