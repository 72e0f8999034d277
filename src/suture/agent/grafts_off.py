"""The switch that keeps every graft off: one word on the kernel's command line, or one file. For the worst morning."""

from __future__ import annotations

import contextlib
from pathlib import Path

from suture.adapters.files import read_file
from suture.agent.places import Places
from suture.core.errors import StorageError

KERNEL_COMMAND_LINE = Path("/proc/cmdline")
WORD = "suture.graft=off"
FILE = "grafts-off"
_MAXIMUM_BYTES = 1 << 16


def why_grafts_are_off(places: Places, command_line: Path | None = None) -> str:
    """What keeps every graft off, for people; empty where nothing does.

    Args:
        command_line: the kernel's own where it is left out.
    """
    with contextlib.suppress(StorageError):
        words = read_file(command_line or KERNEL_COMMAND_LINE, maximum_bytes=_MAXIMUM_BYTES).split()
        if WORD.encode() in words:
            return f"{WORD} is on the kernel's command line"
    file = places.configuration / FILE
    return f"there is a file {file}" if file.exists() else ""
