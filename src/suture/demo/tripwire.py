"""A listener in the repository's place that counts who knocks, and the count of connects that strace saw."""

from __future__ import annotations

import re
import socket
import threading
import time
from pathlib import Path

from suture.core.errors import HostError

_CONNECT = re.compile(r"connect\(\d+, \{sa_family=AF_INET6?, sin6?_port=htons\((\d+)\)")
BIND_SECONDS = 10.0


class Tripwire:
    """Listens on a port, accepts, counts and closes."""

    def __init__(self, port: int) -> None:
        """Raises HostError where the port stays taken."""
        self.count = 0
        self._listening = _listen(port)
        self._listening.settimeout(0.1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                continue
            self.count += 1
            connection.close()

    def close(self) -> int:
        """Stop; the count of connections, those still in the accept queue included."""
        self._stop.set()
        self._thread.join()
        self._listening.settimeout(0.0)
        while True:
            try:
                self._listening.accept()[0].close()
            except BlockingIOError:
                break
            self.count += 1
        self._listening.close()
        return self.count


def _listen(port: int) -> socket.socket:
    deadline = time.monotonic() + BIND_SECONDS
    while True:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen(128)
            return listening
        except OSError as error:
            listening.close()
            if time.monotonic() > deadline:
                raise HostError(f"cannot listen on port {port} in the repository's place: {error}") from error
        time.sleep(0.05)


def connects_in(trace: Path, *, besides: int) -> int | None:
    """How many connects over IP an strace log shows, those to the port `besides` left out; None without a log."""
    if not trace.exists():
        return None
    ports = _CONNECT.findall(trace.read_text(encoding="utf-8", errors="replace"))
    return sum(1 for port in ports if int(port) != besides)
