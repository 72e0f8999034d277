"""One look at one process: how it uses old files, if it does. Everything is read as bytes, bounded, and not trusted.

A process says what it likes in its command line and environment; that can only make it a user, never clear it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from suture.adapters.process import ProcessState, epoch_of_ticks
from suture.agent.doors import OldFiles
from suture.agent.restarts.map_keys import Key, stat_key

_LONGEST_TEXT_BYTES = 2 << 20
"""ARG_MAX's usual value: arguments and environment together."""
_MOST_DIRECTORIES = 16
_ROOT_VARIABLE = b"SUTURE_PRODUCT_ROOT"
_LOADER_VARIABLES = frozenset(
    {
        _ROOT_VARIABLE,
        b"LD_LIBRARY_PATH",
        b"LD_PRELOAD",
        b"PYTHONPATH",
        b"PYTHONHOME",
        b"PERL5LIB",
        b"RUBYLIB",
        b"NODE_PATH",
        b"CLASSPATH",
        b"GI_TYPELIB_PATH",
        b"QT_PLUGIN_PATH",
    }
)
"""Where programs will look for code that they load later."""
_NO_FILE = ("socket:", "pipe:", "anon_inode:", "/dev/", "/proc/", "/memfd:")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for, ready for comparing bytes.

    Attributes:
        keys: old files as maps and stat name them. inodes: their inodes as maps spells them, a quick first filter.
        roots: old roots. pointers: links that led to one of them until the swap.
        swapped_at: seconds since the epoch.
        active: files of the level in place, whose mappings are to be kept for proof.
    """

    keys: frozenset[Key]
    inodes: tuple[bytes, ...]
    map_keys: frozenset[tuple[bytes, bytes]]
    roots: tuple[bytes, ...]
    pointers: tuple[bytes, ...]
    swapped_at: float
    active: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, old: OldFiles, pointers: tuple[Path, ...]) -> Wanted:
        """From the door's form."""
        inodes = {str(inode).encode() for _, inode in old.keys}
        return cls(
            keys=old.keys,
            inodes=tuple(b" " + inode + b" " for inode in sorted(inodes)),
            map_keys=frozenset((device.encode(), str(inode).encode()) for device, inode in old.keys),
            roots=tuple(os.fsencode(root) for root in old.roots),
            pointers=tuple(os.fsencode(pointer) for pointer in pointers),
            swapped_at=old.swapped_at,
            active=_directories_of([os.fsencode(path) for path, _ in old.active]),
        )

    def is_below(self, path: bytes) -> bool:
        """The path is an old root or lies below one."""
        return any(path == root or path.startswith(root + b"/") for root in self.roots)

    def is_below_pointer(self, path: bytes) -> bool:
        """The path goes through a pointer that has been swapped since."""
        return any(path == pointer or path.startswith(pointer + b"/") for pointer in self.pointers)

    def is_old_root(self, text: str) -> bool:
        """A product's root that is, or holds, an old root (where old roots are given as components)."""
        path = os.fsencode(text)
        return any(root == path or root.startswith(path.rstrip(b"/") + b"/") for root in self.roots)

    def holds_pointer(self, text: str) -> bool:
        """A product's root below which something has been grafted since."""
        path = os.fsencode(text).rstrip(b"/") + b"/"
        return any(pointer.startswith(path) for pointer in self.pointers)


def _directories_of(paths: list[bytes]) -> tuple[bytes, ...]:
    """A few directories that hold all the paths: a filter, so rather too high up than too many."""
    found = {os.path.dirname(path) for path in paths}
    while len(found) > _MOST_DIRECTORIES:
        found = {os.path.dirname(path) for path in found}
    return tuple(sorted(found))


def how_it_uses(state: ProcessState, wanted: Wanted, mappings: dict[int, bytes] | None = None) -> str | None:
    """The strongest way in which a process uses old files, or None.

    Args:
        state: the process.
        wanted: what to look for.
        mappings: gets its /proc/PID/maps where that may name a file of the level in place.

    Raises:
        PermissionError: it may not be inspected. FileNotFoundError, ProcessLookupError: it ended.
    """
    base = f"/proc/{state.pid}"
    if state.is_zombie:
        thread = _living_thread(state.pid)  # its first thread ended, the others may run on
        if thread is None:
            return None
        base = f"/proc/{state.pid}/task/{thread}"
    data = _read_all(f"{base}/maps", 64 << 20)
    if mappings is not None and any(name in data for name in wanted.active):
        mappings[state.pid] = data
    if _maps(data, wanted):
        return "mapped"
    for link, how in (("exe", "runs from the old files"), ("cwd", "working directory"), ("root", "root directory")):
        if wanted.is_below(_read_link(f"{base}/{link}")):
            return how
    return _opens(base, wanted) or _was_told(base, state, wanted)


def _living_thread(pid: int) -> int | None:
    for name in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{name}/stat", "rb") as file:
                data = file.read(4096)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if data[data.rfind(b")") + 2 : data.rfind(b")") + 3] not in (b"Z", b"X"):
            return int(name)
    return None


def _read_all(path: str, bound: int) -> bytes:
    # Unbuffered reads of one page each would be slower: proc(5) files are read in one go where they fit.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while bound > 0 and (part := os.read(descriptor, min(bound, 1 << 18))):
            parts.append(part)
            bound -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(descriptor)


def _maps(data: bytes, wanted: Wanted) -> bool:
    if not wanted.inodes or not any(inode in data for inode in wanted.inodes):
        return False
    for line in data.split(b"\n"):
        fields = line.split(None, 5)
        if len(fields) > 4 and (fields[3], fields[4]) in wanted.map_keys:
            return True
    return False


def _read_link(path: str) -> bytes:
    try:
        return os.readlink(path.encode()).removesuffix(b" (deleted)")
    except (FileNotFoundError, ProcessLookupError):
        return b""  # it ended meanwhile, or the kernel has none to show


def _opens(base: str, wanted: Wanted) -> str | None:
    directory = f"{base}/fd"
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        try:
            link = os.readlink(path)
            if link.startswith(_NO_FILE):
                continue
            found = os.stat(path)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if stat_key(found) in wanted.keys:
            return "open"
        if (found.st_mode & 0o170000) == 0o040000 and wanted.is_below(os.fsencode(link)):
            return "open directory"
    return None


def _was_told(base: str, state: ProcessState, wanted: Wanted) -> str | None:
    """Read once and closed: no trace in the kernel but where the process was told to read from."""
    is_older = epoch_of_ticks(state.started) <= wanted.swapped_at
    for assignment in _read_all(f"{base}/environ", _LONGEST_TEXT_BYTES).split(b"\0"):
        name, _, value = assignment.partition(b"=")
        if name not in _LOADER_VARIABLES:
            continue
        root = os.fsdecode(value) if name == _ROOT_VARIABLE else ""
        if root and (wanted.is_old_root(root) or (is_older and wanted.holds_pointer(root))):
            return "started from the old files"
        for path in value.split(b":"):
            if path and (wanted.is_below(path) or (is_older and wanted.is_below_pointer(path))):
                return f"environment ({name.decode('ascii')})"
    if is_older and names_old_files(base, wanted):
        return "command line"
    return None


def names_old_files(base: str, wanted: Wanted) -> bool:
    """The command line names something below an old root, or reached through a pointer that was swapped since."""
    words = _read_all(f"{base}/cmdline", _LONGEST_TEXT_BYTES).split(b"\0")
    return any(word.startswith(b"/") and (wanted.is_below(word) or wanted.is_below_pointer(word)) for word in words)
