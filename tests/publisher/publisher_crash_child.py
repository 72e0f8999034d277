"""Run one ``suture`` command and die by SIGKILL just before its n-th change of the file system.

``python publisher_crash_child.py N WORKSHOP words…``: an audit hook counts renames, removals, new directories and
opens for writing below WORKSHOP, so the program under test knows nothing of it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from suture.cli.main import main

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}


def run() -> int:
    """Count, and die in time."""
    stop, workshop, words = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            path, _, flags = arguments
            counts = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
        else:
            path, counts = (arguments[0] if arguments else None), event in CHANGES
        # Removals below a directory descriptor have relative names: they are ours too.
        name = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
        if counts and (name.startswith(workshop) or (name and not name.startswith("/"))):
            seen += 1
            if seen == stop:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return main(words)


if __name__ == "__main__":
    sys.exit(run())
