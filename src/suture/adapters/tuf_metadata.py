"""A directory of verified TUF metadata, and the private copy of it in which one refresh runs.

Each file is adopted atomically and durably, roots first. Nothing here verifies a signature: `tuf_workflow` does, by
`tuf.ngclient`, and adopts only what came out of it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from suture.adapters.files import (
    PRIVATE_DIRECTORY,
    host_errors,
    read_file_if_there,
    sync_directory,
    write_file,
)
from suture.core.errors import StorageError
from suture.core.limits import MIB

MAXIMUM_METADATA_BYTES = 5 * MIB
"""The largest of python-tuf's own bounds (`UpdaterConfig.targets_max_length`)."""
HISTORY = "root_history"
_REFRESH_PREFIX = ".refresh-"


@dataclass(frozen=True, slots=True)
class MetadataDirectory:
    """Verified metadata in `metadata`, one file a role; refreshes run in private directories under `home`."""

    home: Path
    metadata: Path

    def clear_refreshes(self) -> None:
        """Remove what a killed refresh left behind. Only under the lock."""
        with host_errors(f"clear {self.home}"):
            for entry in os.scandir(self.home):
                if entry.name.startswith(_REFRESH_PREFIX) and entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)

    def begin_refresh(self) -> Path:
        """A private copy of the metadata for one refresh. The caller removes it with `end_refresh`."""
        with host_errors(f"work in {self.home}"):
            working = Path(tempfile.mkdtemp(prefix=_REFRESH_PREFIX, dir=self.home))
            (working / HISTORY).mkdir(mode=PRIVATE_DIRECTORY)
        for source in (*files_of(self.metadata), *files_of(self.metadata / HISTORY)):
            data = read_tolerant(source, MAXIMUM_METADATA_BYTES)
            if data is not None:
                with host_errors(f"write in {working}"):
                    copy = working / source.relative_to(self.metadata)
                    copy.touch(mode=0o600, exist_ok=False)
                    copy.write_bytes(data)
        return working

    def adopt_refresh(self, working: Path, *, roles: tuple[str, ...]) -> None:
        """Take verified metadata over: roots first, timestamp last, each file atomic and on disk.

        A crash in between leaves a mixture of verified files, which the next refresh verifies again as a whole.
        """
        named = [working / role_file(role) for role in roles]
        self.adopt_files(working, [source for source in named if source.is_file()])

    def adopt_files(self, working: Path, sources: Sequence[Path]) -> None:
        """The same, for files of the private directory."""
        for source in files_of(working / HISTORY):
            self._adopt(source, self.metadata / HISTORY / source.name)
        for source in sources:
            self._adopt(source, self.metadata / source.name)

    def end_refresh(self, working: Path) -> None:
        """Throw the private copy away."""
        shutil.rmtree(working, ignore_errors=True)
        sync_directory(self.home)

    def _adopt(self, source: Path, destination: Path) -> None:
        data = read_file_if_there(source, maximum_bytes=MAXIMUM_METADATA_BYTES)
        if data is not None and read_tolerant(destination, MAXIMUM_METADATA_BYTES) != data:
            write_file(destination, data)


def role_file(role: str) -> str:
    """The file name of a role in a metadata directory, as `tuf.ngclient` spells it."""
    return quote(role, "") + ".json"


def files_of(directory: Path) -> tuple[Path, ...]:
    """The metadata files directly in a directory; links are none. (A role's name may begin with a dot.)"""
    with host_errors(f"read {directory}"):
        entries = list(os.scandir(directory))
    named = [entry for entry in entries if entry.name.endswith(".json")]
    return tuple(sorted(Path(entry.path) for entry in named if entry.is_file(follow_symlinks=False)))


def read_tolerant(path: Path, maximum_bytes: int) -> bytes | None:
    """A cached file, or None where it cannot be used: what is missing is fetched and verified anew."""
    try:
        return read_file_if_there(path, maximum_bytes=maximum_bytes)
    except StorageError:
        return None
