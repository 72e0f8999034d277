"""Every process that the demo starts: its log, its end, and the proof that none is left.

The demo makes itself the adopter of its orphans (prctl(2), PR_SET_CHILD_SUBREAPER), so that whatever its processes
started is found again and ended by process id. It never ends a process that it did not start.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from suture.adapters.process import ProcessState, every_pid, is_running, read_process
from suture.core.errors import HostError, ServiceError

_PR_SET_CHILD_SUBREAPER = 36
STOP_SECONDS = 30.0
KILL_SECONDS = 5.0
TAIL_BYTES = 4000


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended. `started` is CLOCK_MONOTONIC; `seconds` how long it took."""

    argv: tuple[str, ...]
    code: int
    output: str
    errors: str
    started: float
    seconds: float


@dataclass(slots=True)
class Running:
    """A long-running process and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self) -> str:
        """The last lines of its log."""
        return tail_of(self.log)


def tail_of(log: Path, lines: int = 6) -> str:
    """The last lines of a log, indented."""
    data = log.read_bytes()[-TAIL_BYTES:] if log.exists() else b""
    return "\n".join("    " + line for line in data.decode(errors="replace").splitlines()[-lines:])


@dataclass(slots=True)
class Processes:
    """Starts, watches and ends the demo's processes.

    Args:
        logs: a directory for one log a process.
        environment: the whole environment of each.
    """

    logs: Path
    environment: Mapping[str, str]
    running: dict[str, Running] = field(default_factory=dict)
    finite: dict[str, Running] = field(default_factory=dict)
    """What ends by itself; `end_all` ends it too."""

    def adopt_orphans(self) -> None:
        """Become the parent of everything whose own parent ends before it."""
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise HostError(f"cannot adopt orphans: {os.strerror(ctypes.get_errno())}")

    def start(self, name: str, argv: Sequence[str | Path]) -> Running:
        """Start a long-running process in a session of its own, its output in ``logs/NAME.log``."""
        log = self.logs / f"{name}.log"
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                start_new_session=True,
            )
        self.running[name] = Running(name, process, log)
        return self.running[name]

    def run(self, name: str, argv: Sequence[str | Path], *, timeout_seconds: float = 120) -> Done:
        """Run a command to its end; its words and output go to ``logs/NAME.log`` too.

        Raises:
            ServiceError: it did not end in time.
        """
        words = tuple(str(word) for word in argv)
        started = time.monotonic()
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=dict(self.environment),
                start_new_session=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ServiceError(f"cannot wait any longer for `{' '.join(words[:6])} …`: {timeout_seconds} s") from error
        seconds = time.monotonic() - started
        output, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        with (self.logs / f"{name}.log").open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(words)}\n{output}{errors}[exit {done.returncode}, {seconds:.2f} s]\n\n")
        return Done(words, done.returncode, output, errors, started, seconds)

    def check_alive(self) -> None:
        """Every long-running process still runs.

        Raises:
            ServiceError: one ended by itself; with the end of its log.
        """
        for running in self.running.values():
            code = running.process.poll()
            if code is not None:
                raise ServiceError(
                    f"cannot go on: the demo's process {running.name!r} ended by itself with {code}:\n{running.tail()}",
                    advice=f"look at {running.log}",
                )

    def stop(self, name: str) -> int:
        """SIGTERM to one process, and wait; its exit code.

        Raises:
            ServiceError: it did not end; it was then killed.
        """
        running = self.running.pop(name)
        running.process.terminate()
        try:
            return running.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            kill_tree(running.process.pid)
            running.process.wait()
            raise ServiceError(f"cannot stop {name!r} with SIGTERM within {STOP_SECONDS:.0f} s") from error

    def end_all(self) -> tuple[str, ...]:
        """End everything, newest first, politely, then by force; the names of what had to be forced."""
        forced = []
        for finite in self.finite.values():
            kill_tree(finite.process.pid)
            finite.process.wait()
        for name in reversed(list(self.running)):
            try:
                self.stop(name)
            except ServiceError:
                forced.append(name)
        for left in descendants(os.getpid()):
            forced.append(left.name)
            kill_tree(left.pid)
        reap_orphans()
        return tuple(forced)


def own_pid() -> int:
    """This process."""
    return os.getpid()


def descendants(pid: int) -> list[ProcessState]:
    """Every live process below `pid` (adopted orphans among this one's); zombies do not count."""
    children: dict[int, list[ProcessState]] = {}
    for number in every_pid():
        state = read_process(number)
        if state is not None and not state.is_zombie:
            children.setdefault(state.parent, []).append(state)
    found: list[ProcessState] = []
    todo = [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += [state.pid for state in below]
    return found


def kill_tree(pid: int) -> None:
    """SIGKILL to a process that we started and to everything below it, and wait until they are gone."""
    top = read_process(pid)
    targets = [*descendants(pid), *([top] if top is not None else [])]
    for state in targets:
        if is_running(state.pid, state.started):
            with contextlib.suppress(ProcessLookupError):
                os.kill(state.pid, signal.SIGKILL)
    deadline = time.monotonic() + KILL_SECONDS
    while any(is_running(state.pid, state.started) for state in targets) and time.monotonic() < deadline:
        time.sleep(0.02)


def reap_orphans() -> None:
    """Collect the exit codes of adopted processes. Only for the end: it takes any child's."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return
