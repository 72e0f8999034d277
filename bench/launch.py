"""Run one command and say what it cost: whole-process accounting by the kernel, with the memory sampled beside it.

A process of its own, small on purpose (`python -I -S`, about 9 MiB): wait4(2)'s peak remembers the memory of whoever
called exec, so no peak below the launcher's own can be seen. Anonymous memory has no peak in the kernel's books, so it
is sampled from /proc/PID/status (RssAnon), over the whole process tree.

    python -I -S launch.py RESULT.json OUTPUT -- COMMAND…
"""

import json
import os
import sys
import threading
import time

SAMPLE_SECONDS = 0.002


def read_kib(pid: int) -> dict[str, int]:
    """VmHWM and RssAnon of a process in KiB; empty where it has gone (proc(5))."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            lines = [line.split() for line in file]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if line and line[0] in ("VmHWM:", "RssAnon:")}


def read_children(pid: int) -> list[int]:
    """The process and all below it."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            below = [int(word) for word in file.read().split()]
    except OSError:
        below = []
    return [pid, *(one for child in below for one in read_children(child))]


class Sampler(threading.Thread):
    """Peaks of a process tree in KiB until `ended` is set: the largest VmHWM, and the sum of RssAnon."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.ended = pid, threading.Event()
        self.peak = self.anonymous = self.samples = 0

    def run(self) -> None:
        while not self.ended.is_set():
            # Between fork and exec the process still has our memory.
            if os.path.exists(f"/proc/{self.pid}/exe") and not self._is_us():
                rows = [read_kib(pid) for pid in read_children(self.pid)]
                self.peak = max([self.peak, *(row.get("VmHWM:", 0) for row in rows)])
                self.anonymous = max(self.anonymous, sum(row.get("RssAnon:", 0) for row in rows))
                self.samples += 1
            self.ended.wait(SAMPLE_SECONDS)

    def _is_us(self) -> bool:
        try:
            with open(f"/proc/{self.pid}/cmdline", "rb") as file:
                return b"launch.py" in file.read()
        except OSError:
            return True


def main() -> None:
    """Run it, write the figures."""
    result, output = sys.argv[1:3]
    command = sys.argv[4:]
    sink = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    began = time.perf_counter()
    pid = os.posix_spawnp(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, sink, 1), (os.POSIX_SPAWN_DUP2, sink, 2)]
    )
    sampler = Sampler(pid)
    sampler.start()
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - began
    sampler.ended.set()
    sampler.join()
    # What is smaller than this launcher cannot be told from it by the kernel's peak: then the figure is our own size,
    # an upper bound, since sampling may have missed the top of so quick a process.
    peak = max(usage.ru_maxrss, sampler.peak)
    figures = {
        "code": os.waitstatus_to_exitcode(status),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": wall,
        "peak_mebibytes": peak / 1024,
        "anonymous_mebibytes": sampler.anonymous / 1024,
        "samples": sampler.samples,
    }
    with open(result, "w", encoding="ascii") as file:
        json.dump(figures, file)


if __name__ == "__main__":
    main()
