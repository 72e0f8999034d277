"""The demo's client: a steady load of thumbnail requests, each recorded, none retried.

A process of its own (``python -m suture.demo.load …``), so that nothing in the demo can slow or spare it. A request
counts only if every byte of its thumbnail is the one made beforehand. Half of the threads keep their connection, half
open one for each request; two more ask for slow answers only, so that some request is in flight at any moment. Times
are CLOCK_MONOTONIC seconds, which every process of the machine shares.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import itertools
import json
import math
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

TIMEOUT_SECONDS = 15
DWELL_SECONDS = 0.35
SLOW_THREADS = 2
"""Threads that ask for one slow answer after the other, besides the steady ones: at any moment one is in flight."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it went. `served_by` is the service's own word about its versions; `reason` is empty where ok."""

    start: float
    end: float
    ok: bool
    name: str
    size: int
    dwell: float
    served_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A thumbnail and the SHA-256 (hex) of its bytes."""

    name: str
    size: int
    digest: str


def wanted_from(expectations: Path) -> list[Wanted]:
    """Every thumbnail of the file that picture_maker wrote."""
    pictures = json.loads(expectations.read_text(encoding="utf-8"))["pictures"]
    return [
        Wanted(name, int(size), digest)
        for name, about in sorted(pictures.items())
        for size, digest in about["thumbnails"].items()
    ]


class Client:
    """One thread's client."""

    def __init__(self, host: str, port: int, *, keeps: bool) -> None:
        self._host, self._port, self._keeps = host, port, keeps
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, wanted: Wanted, dwell: float) -> Request:
        """Make one request; whatever goes wrong is in the record, and nothing is asked twice."""
        start = time.monotonic()
        served_by = reason = ""
        try:
            status, served_by, body = self._exchange(f"/thumbnail/{wanted.name}?size={wanted.size}&dwell={dwell}")
            if status != 200:
                reason = f"status {status}: {body[:200].decode(errors='replace')}"
            elif hashlib.sha256(body).hexdigest() != wanted.digest:
                reason = "other pixels"
        except (OSError, http.client.HTTPException) as error:
            reason = f"{type(error).__name__}: {error}"
            self.close()
        return Request(start, time.monotonic(), not reason, wanted.name, wanted.size, dwell, served_by, reason)

    def _exchange(self, path: str) -> tuple[int, str, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        self._connection.request("GET", path, headers={} if self._keeps else {"Connection": "close"})
        answer = self._connection.getresponse()
        body = answer.read()
        if not self._keeps or answer.will_close:
            self.close()
        return answer.status, answer.headers.get("X-Darkroom", ""), body

    def close(self) -> None:
        """Close the connection, if one is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def schedule(wanted: list[Wanted], offset: int) -> Iterator[Wanted]:
    """An endless round of every thumbnail, started at a thread's own place, neighbours far apart."""
    stride = next(number for number in itertools.count(31) if math.gcd(number, len(wanted)) == 1)
    for number in itertools.count():
        yield wanted[(offset + number * stride) % len(wanted)]


def run_thread(client: Client, turns: Iterator[Wanted], gap: float, dwell: float, record: Recorder) -> None:
    """Ask, record, wait for the next beat of `gap` seconds; a late beat is not made up for."""
    beat = time.monotonic()
    for wanted in turns:
        record.put(client.ask(wanted, dwell))
        beat = max(beat + gap, time.monotonic())
        if record.stop.wait(beat - time.monotonic()):
            break
    client.close()


class Recorder:
    """Writes one JSON line a request, as they end."""

    def __init__(self, path: Path) -> None:
        self.stop = threading.Event()
        self._queue: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._file = path.open("w", encoding="utf-8", buffering=1)
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def put(self, request: Request) -> None:
        """Record one request."""
        self._queue.put(request)

    def close(self) -> None:
        """Write what is left."""
        self._queue.put(None)
        self._thread.join()
        self._file.close()

    def _write(self) -> None:
        while (request := self._queue.get()) is not None:
            self._file.write(json.dumps(asdict(request)) + "\n")


def read_requests(path: Path) -> list[Request]:
    """Every request of a record, also while it is being written (an unfinished last line is left out)."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [Request(**json.loads(line)) for line in lines]


def in_flight_at(requests: list[Request], moment: float) -> int:
    """How many requests had begun and not ended at `moment` (CLOCK_MONOTONIC seconds)."""
    return sum(1 for request in requests if request.start < moment < request.end)


def main(words: list[str] | None = None) -> int:
    """Run until SIGTERM (or for --seconds); the exit code is 0 however the requests went: the record tells."""
    parser = argparse.ArgumentParser(description="a steady load on the demo's thumbnail service")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--expectations", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rate", type=float, default=32.0, help="requests a second, all steady threads together")
    parser.add_argument("--seconds", type=float, default=None)
    given = parser.parse_args(words)
    wanted = wanted_from(given.expectations)
    record = Recorder(given.record)
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before the threads: they inherit it, and none is interrupted
    threads = []
    for number in range(given.threads + SLOW_THREADS):
        client = Client(given.host, given.port, keeps=number % 2 == 0)
        pace = (given.threads / given.rate, 0.0) if number < given.threads else (0.0, DWELL_SECONDS)
        turns = schedule(wanted, number * 11)
        threads.append(threading.Thread(target=run_thread, args=(client, turns, *pace, record)))
    for thread in threads:
        thread.start()
    if given.seconds is None:
        signal.sigwait(ends)
    else:
        signal.sigtimedwait(ends, given.seconds)
    record.stop.set()
    for thread in threads:
        thread.join()
    record.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
