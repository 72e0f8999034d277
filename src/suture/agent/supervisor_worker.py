"""One worker of a supervised service: how it is started and how it is told to end.

The child is made with posix_spawn (no Python runs between fork and exec), in a session of its own, with the listening
socket as descriptor 3. A short shim then becomes the command: only the child itself can know its pid, which
sd_listen_fds(3) wants in LISTEN_PID. The shim also asks the kernel to end the worker when its supervisor dies, so that
no worker is left that nobody drains.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from suture.adapters.process import boot_seconds, kill_group, read_process
from suture.adapters.sockets import NotifySocket
from suture.core.errors import RestartError

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START, sd_listen_fds(3)."""

_SHIM = """
import os, signal, sys
parent, coerced, argv = int(sys.argv[1]), sys.argv[2] == "1", sys.argv[3:]
if coerced:
    os.environ.pop("LC_CTYPE", None)
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)
except (ImportError, OSError, AttributeError):
    pass
if os.getppid() != parent:
    sys.exit(0)
if "LISTEN_FDS" in os.environ:
    os.environ["LISTEN_PID"] = str(os.getpid())
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
try:
    os.execvp(argv[0], argv)
except OSError as error:
    print("cannot start " + argv[0] + ": " + error.strerror, file=sys.stderr)
    sys.exit(127)
"""


@dataclass(slots=True)
class Worker:
    """A started worker. Times in seconds; `started` in clock ticks since boot; `status` once it ended, as
    os.waitstatus_to_exitcode gives it (minus a signal's number)."""

    pid: int
    started: int
    root: str | None
    notify: NotifySocket
    began_boottime: float = field(default_factory=boot_seconds)
    began: float = field(default_factory=time.monotonic)
    status: int | None = None
    kill_at: float | None = None
    killed: bool = False

    def terminate(self, grace_seconds: float) -> None:
        """SIGTERM to its whole process group; SIGKILL is due after the grace."""
        if self.kill_at is None:
            self.kill_at = time.monotonic() + grace_seconds
            kill_group(self.pid, signal.SIGTERM)
            kill_group(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to its whole process group."""
        self.killed = True
        kill_group(self.pid, signal.SIGKILL)

    def is_gone(self) -> bool:
        """It was reaped and nobody is left in its process group."""
        return self.status is not None and not kill_group(self.pid, 0)

    def ending(self) -> str:
        """How it ended, for people."""
        if self.status is None:
            return "it still runs"
        if self.status < 0:
            return f"it was ended by {signal.Signals(-self.status).name}"
        hint = " (the command was not found or could not be started)" if self.status == 127 else ""
        return f"it ended with exit code {self.status}{hint}"


def worker_environment(
    inherited: Mapping[str, str],
    *,
    notify: NotifySocket,
    root: str | None,
    product: str | None,
    name: str,
    listens: bool,
) -> dict[str, str]:
    """The environment of a worker: the supervisor's own, without another service manager's words, and ours."""
    dropped = (
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "MAINPID",
    )
    environment = {key: value for key, value in inherited.items() if key not in dropped}
    environment["NOTIFY_SOCKET"] = notify.address
    environment["SUTURE_SERVICE"] = name
    if listens:
        environment |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": name}
    environment.pop("SUTURE_PRODUCT_ROOT", None)
    environment.pop("SUTURE_PRODUCT", None)
    if root is not None:
        environment["SUTURE_PRODUCT_ROOT"] = root
    if product is not None:
        environment["SUTURE_PRODUCT"] = product
    return environment


def start_worker(
    argv: Sequence[str], *, environment: Mapping[str, str], listener: int | None, root: str | None, notify: NotifySocket
) -> Worker:
    """Start a worker.

    Args:
        argv: the command; ``{root}`` in a word becomes the product's root, resolved once for this start.
        environment: the whole environment, from `worker_environment`.
        listener: the listening socket's descriptor, which becomes descriptor 3; None for a service without one.

    Raises:
        RestartError: the host cannot make a process.
    """
    words = [word.replace("{root}", root) if root is not None else word for word in argv]
    coerced = "0" if "LC_CTYPE" in environment else "1"
    shim = [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), coerced, *words]
    actions = [] if listener is None else [(os.POSIX_SPAWN_DUP2, listener, FIRST_DESCRIPTOR)]
    try:
        pid = os.posix_spawn(
            sys.executable,
            shim,
            environment,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGHUP, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT),
        )
    except (OSError, ValueError) as error:
        raise RestartError(f"cannot start a worker: {getattr(error, 'strerror', None) or error}") from error
    state = read_process(pid)
    return Worker(pid=pid, started=state.started if state else 0, root=root, notify=notify)
