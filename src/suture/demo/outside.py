"""What the demo sees from the outside: the service's answers, /proc, and the files' digests.

It must never ask Suture, nor read what only Suture's own code could explain: these are the second witness of each
claim.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from suture.adapters.process import every_pid, read_process
from suture.core.errors import ServiceError
from suture.demo.processes import descendants

ANSWER_SECONDS = 10
MAXIMUM_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Versions:
    """The service's own word about what it runs on."""

    pillow: str
    libwebp: str
    root: str
    pid: int
    main_pid: int


def ask(port: int, path: str) -> tuple[int, bytes]:
    """GET `path` from the service on this machine, on a connection of its own: status and body.

    Raises:
        ServiceError: no answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(MAXIMUM_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise ServiceError(f"cannot get {path} from the service: {error}") from error
    finally:
        connection.close()


def ask_versions(port: int) -> Versions:
    """What the service says it runs on."""
    status, body = ask(port, "/version")
    if status != 200:
        raise ServiceError(f"cannot read the service's version: it answered {status}")
    return Versions(**json.loads(body))


def digest_of_tree(root: Path) -> str:
    """One SHA-256 (hex) over every path, mode, link and byte below `root`, times left out."""
    state = hashlib.sha256()
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted([*files, *names]):
            path = Path(directory, name)
            about = path.lstat()
            state.update(f"{path.relative_to(root)}\0{about.st_mode:o}\0{about.st_uid}:{about.st_gid}\0".encode())
            if stat.S_ISLNK(about.st_mode):
                state.update(str(path.readlink()).encode() + b"\0")
            elif stat.S_ISREG(about.st_mode):
                state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def service_pids(main_pid: int) -> tuple[int, ...]:
    """The service's main process and its workers."""
    if read_process(main_pid) is None:
        raise ServiceError(f"cannot find the service's process {main_pid}")
    return (main_pid, *(state.pid for state in descendants(main_pid)))


def mapped_files(pid: int) -> frozenset[Path]:
    """The files that a process maps (proc_pid_maps(5)); none where it is gone."""
    found = set()
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and parts[5].startswith("/"):
            found.add(Path(parts[5].removesuffix(" (deleted)")))
    return frozenset(found)


def users_of(directory: Path) -> dict[int, int]:
    """Which processes of the whole machine map files below `directory`, and how many files each."""
    real = directory.resolve()
    users = {}
    for pid in every_pid():
        count = sum(1 for path in mapped_files(pid) if path.is_relative_to(real))
        if count:
            users[pid] = count
    return users
