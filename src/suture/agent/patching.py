"""The parent of the child that applies a patch: it opens every file itself and digests every result again.

Old files are opened without following links below the component; new ones below a private directory, named by their
digests, so no name from a patch ever becomes a path. A child that dies, hangs or lies ends in our error.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from suture.adapters.files import host_errors, make_directory, sync_directory
from suture.adapters.trees import open_member
from suture.agent.patch_child import Asked, Empty, Task, Wire
from suture.core.digests import Digest, digest_from_hex, hex_of
from suture.core.errors import DigestMismatchError, DiskFullError, HostError, PatchError
from suture.core.limits import MIB
from suture.improvement.layer import Layer
from suture.improvement.manifest import Manifest
from suture.improvement.tree import FileEntry

BASE_MEMORY_BYTES = 512 * MIB
"""Address space of the interpreter, its libraries and the decompressor's window; the old file and patch come on top."""
SOLID_MEMORY_BYTES = 192 * MIB
"""A group's prefix (64 MiB of old files and 4 MiB of lines, twice while the decoder takes it) and its 32 MiB window."""
BASE_CPU_SECONDS = 10
BYTES_A_CPU_SECOND = 20 * MIB
"""A tenth of what zstd decodes on a slow machine."""


def new_file_name(entry: FileEntry) -> str:
    """What a new file is called in the destination: its digest's hex digits, never its own name."""
    return hex_of(Digest(entry.digest))


class ChildPatchApplier:
    """Applies patches in a confined child process (see `suture.adapters.confinement`)."""

    def __init__(self) -> None:
        self.confined: tuple[str, ...] = ()
        """What took hold in the last child."""

    def apply(self, manifest: Manifest, component: str, patch: Path, old: Path, destination: Path) -> None:
        """Write the layer's files.

        Args:
            manifest: verified.
            component: the name of one of its components.
            patch: the verified patch file.
            old: the component's tree at the patch's from-level.
            destination: a private directory; files are named by their digest's hex digits.

        Raises:
            PatchError, DigestMismatchError: the patch does not give the signed files.
            HostError: (or a kind of it) the child could not be run, or the disk is full.
        """
        layer = next(change.layer for change in manifest.components if change.name == component)
        make_directory(destination)
        with _child() as (wire, process):
            try:
                self._converse(wire, layer, patch, old, destination)
            except (EOFError, BrokenPipeError, ConnectionResetError, TimeoutError) as error:
                process.kill()
                raise _died(process) from error
        for entry in layer.files():
            _verify(destination / new_file_name(entry), entry)
        sync_directory(destination)

    def _converse(self, wire: Wire, layer: Layer, patch: Path, old: Path, destination: Path) -> None:
        with host_errors(f"read {patch}"):
            descriptor = os.open(patch, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            wire.send(_task(layer, os.fstat(descriptor).st_size), descriptor)
        finally:
            os.close(descriptor)
        awaited = iter(layer.files())
        while True:
            data, _ = wire.receive()
            asked = msgspec.json.decode(data, type=Asked)
            if asked.done:
                self.confined = asked.confined
                return
            if asked.error is not None:
                code, _, message = asked.error.partition("|")
                raise (DigestMismatchError if code == DigestMismatchError.code else PatchError)(message[:500])
            if asked.old is not None:
                with open_member(old, asked.old) as member:
                    wire.send(Empty(), member)
            elif asked.new is not None:
                self._hand_new(wire, next(awaited, None), asked.new, destination)

    def _hand_new(self, wire: Wire, entry: FileEntry | None, path: str, destination: Path) -> None:
        if entry is None or entry.path != path:
            raise PatchError("cannot apply the patch: its child asked for a file out of turn")
        target = destination / new_file_name(entry)
        with host_errors(f"write {target}"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(target, flags, 0o600)
        try:
            wire.send(Empty(), descriptor)
        finally:
            os.close(descriptor)


def _task(layer: Layer, patch_bytes: int) -> Task:
    largest = max((entry.size for entry in layer.files()), default=0)
    total = sum(entry.size for entry in layer.files()) + patch_bytes
    # Old file and output window of the largest file, each at most as large as the file's own signed size and a half.
    memory = BASE_MEMORY_BYTES + SOLID_MEMORY_BYTES + patch_bytes + 6 * max(largest, 8 * MIB)
    return Task(layer, memory, largest + 1, BASE_CPU_SECONDS + total // BYTES_A_CPU_SECOND)


@contextlib.contextmanager
def _child() -> Iterator[tuple[Wire, subprocess.Popen[bytes]]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours:
        ours.settimeout(600)
        with theirs, host_errors("start the child that applies patches"):
            process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-m", "suture.agent.patch_child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"LANG": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
        try:
            yield Wire(ours), process
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
            if process.poll() is None:
                process.kill()
            process.wait()


def _died(process: subprocess.Popen[bytes]) -> HostError | PatchError:
    code = process.wait()
    if code == -signal.SIGXFSZ:
        return PatchError("cannot apply the patch: it wants to write more than the signed sizes")
    if code in (-signal.SIGXCPU, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):
        return PatchError(f"cannot apply the patch: its child ended with signal {-code}")
    return HostError(f"cannot apply the patch: its child ended ({code})")


def _verify(path: Path, entry: FileEntry) -> None:
    state = hashlib.sha256()
    size = 0
    with host_errors(f"read {path}"):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            while chunk := file.read(1 << 20):
                size += len(chunk)
                state.update(chunk)
            os.fsync(file.fileno())
    if size < entry.size and _disk_is_full(path):
        raise DiskFullError(f"cannot write {entry.path}: the disk is full")
    if size != entry.size or digest_from_hex(state.hexdigest()) != entry.digest:
        raise DigestMismatchError(f"cannot use {entry.path}: the patch gave other bytes than the signed ones")


def _disk_is_full(path: Path) -> bool:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize < MIB
