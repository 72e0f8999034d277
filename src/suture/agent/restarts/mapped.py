"""Proof that what runs is what was signed: the bytes of a mapped file of the active level have the manifest's digest.

A scan says that nobody holds old bytes. This says that the new ones are the right ones: each mapping is digested
through /proc/PID/map_files, which leads to the mapped inode itself whatever its path says by now. Where that is not
allowed, the mapping must be of the very inode that the path has, and that file is digested.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from suture.agent.restarts.map_keys import Key, keys_of

_BUFFER_BYTES = 1 << 20
_MAXIMUM_KNOWN = 10_000
_Stamp = tuple[int, int, int, int, int]
"""Device, inode, size and both times: while it stays, so do the bytes, unless root turned the clock back."""


class MappedDigests:
    """Digests of files, each computed once as long as the file stays as it is."""

    def __init__(self) -> None:
        self._known: dict[_Stamp, str] = {}

    def wrong(self, mappings: Iterable[tuple[int, bytes]], expected: Mapping[Path, str]) -> dict[int, Path]:
        """Processes that map other bytes than the level's, with one file each.

        Args:
            mappings: a pid and the bytes of its /proc/PID/maps.
            expected: digests by the paths of the active level's changed files.

        Raises:
            HostError: our own maps cannot be read.
        """
        by_name = {os.fsencode(path): path for path in expected}
        by_key: dict[Key, Path] = {}
        for path in expected:
            by_key.update(dict.fromkeys(keys_of([path]), path))
        found: dict[int, Path] = {}
        for pid, data in mappings:
            for line in data.split(b"\n"):
                fields = line.split(None, 5)
                if len(fields) < 6:
                    continue
                key = (fields[3].decode("ascii", "replace"), int(fields[4]))
                mapped = by_name.get(fields[5].removesuffix(b" (deleted)")) or by_key.get(key)
                if mapped is None or pid in found:
                    continue
                if not self._is_right(pid, fields[0], key, mapped, expected[mapped]):
                    found[pid] = mapped
        return found

    def _is_right(self, pid: int, span: bytes, key: Key, path: Path, digest: str) -> bool:
        try:
            return self._digest(f"/proc/{pid}/map_files/{_canonical(span)}") == digest
        except (FileNotFoundError, ProcessLookupError):
            return True  # it ended, or unmapped the file: the next look sees what it has now
        except OSError:
            pass  # not root, or a kernel without map_files
        try:
            return key in keys_of([path]) and self._digest(str(path)) == digest
        except OSError:
            return False

    def _digest(self, path: str) -> str:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if stamp not in self._known:
                digest = hashlib.sha256()
                while part := os.read(descriptor, _BUFFER_BYTES):
                    digest.update(part)
                if len(self._known) >= _MAXIMUM_KNOWN:
                    self._known.clear()
                self._known[stamp] = f"sha256:{digest.hexdigest()}"
            return self._known[stamp]
        finally:
            os.close(descriptor)


def _canonical(span: bytes) -> str:
    """The name of a mapping in map_files has no leading zeros, the line in maps may."""
    return "-".join(f"{int(end, 16):x}" for end in span.split(b"-"))
