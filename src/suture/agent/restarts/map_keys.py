"""How this kernel names a file in /proc/PID/maps: not what stat(2) says.

Overlay file systems and btrfs show another device in maps than in stat, old kernels the lower layer's inode; and
"(deleted)" finds one way of replacing a file out of six. So each old file is mapped here, and our own maps line is read
(measured right in every case, 6.1 to 6.18).
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import stat
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from suture.core.errors import HostError

Key = tuple[str, int]
"""The device as maps spells it (``fe:00``) and the inode."""
_AT_ONCE = 400
"""Far below vm.max_map_count (65,530) and the usual limit of 1,024 open files."""


def stat_key(found: os.stat_result) -> Key:
    """What stat(2) says, spelt as in maps: right for open files, and on plain file systems for mapped ones."""
    return f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}", found.st_ino


def keys_of(paths: Iterable[Path]) -> frozenset[Key]:
    """All keys of these files, as mapped and as opened. What is missing or no regular file is left out.

    Raises:
        HostError: /proc/self/maps cannot be read.
    """
    waiting, keys = iter(paths), set[Key]()
    while batch := list(islice(waiting, _AT_ONCE)):
        keys |= _keys_of_batch(batch)
    return frozenset(keys)


def _keys_of_batch(paths: Sequence[Path]) -> set[Key]:
    keys: set[Key] = set()
    with contextlib.ExitStack() as stack:
        addresses: list[int] = []
        for path in paths:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                with contextlib.suppress(OSError):  # ours to name even where it is not ours to read
                    found = os.lstat(path)
                    if stat.S_ISREG(found.st_mode):
                        keys.add(stat_key(found))
                continue
            try:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode):
                    continue
                keys.add(stat_key(found))
                if found.st_size:
                    mapping = mmap.mmap(descriptor, 1, access=mmap.ACCESS_COPY)
                    stack.callback(mapping.close)
                    addresses.append(_address_of(mapping))
            except (OSError, ValueError):
                continue  # it cannot be mapped here, so nobody maps it by this name
            finally:
                os.close(descriptor)
        keys |= _keys_at(addresses)
    return keys


def _address_of(mapping: mmap.mmap) -> int:
    byte = ctypes.c_char.from_buffer(mapping)
    try:
        return ctypes.addressof(byte)
    finally:
        del byte  # or the mapping could not be closed


def _keys_at(addresses: Sequence[int]) -> set[Key]:
    if not addresses:
        return set()
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            lines = [line.split(None, 5) for line in file]
    except OSError as error:
        raise HostError(f"cannot read /proc/self/maps: {error.strerror}") from error
    lines = [line for line in lines if len(line) > 4]
    ranges = [tuple(int(end, 16) for end in line[0].split("-")) for line in lines]
    starts = [start for start, _ in ranges]
    keys: set[Key] = set()
    for address in addresses:
        place = bisect_right(starts, address) - 1
        if place >= 0 and address < ranges[place][1] and int(lines[place][4]):
            keys.add((lines[place][3], int(lines[place][4])))
    return keys
