"""The child that applies a patch: no privileges, no network, no paths, bounded memory and time. Never imported.

It talks with `patching` over the socket that its argument names: it asks for the descriptors of old and new files one
at a time and is given nothing else. Its parent believes nothing of it and digests the result again.
"""

from __future__ import annotations

import array
import mmap
import os
import socket
import sys
from typing import IO

import msgspec

from suture.adapters.confinement import Limits, confine
from suture.core.errors import PatchError, SutureError
from suture.delta import self_test
from suture.improvement.apply import apply_patch
from suture.improvement.layer import Layer
from suture.improvement.tree import FileEntry

MAXIMUM_MESSAGE_BYTES = 16 * 1024 * 1024


class Task(msgspec.Struct, frozen=True):
    """The first message, with the patch's descriptor beside it."""

    layer: Layer
    memory_bytes: int
    file_bytes: int
    cpu_seconds: int


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message of the child: it wants an old file, or the next new one, or it has ended."""

    old: str | None = None
    new: str | None = None
    done: bool = False
    error: str | None = None
    confined: tuple[str, ...] = ()


class Wire:
    """Length-prefixed JSON messages over a Unix stream socket, each with at most one descriptor."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, message: msgspec.Struct, descriptor: int | None = None) -> None:
        """Send one message, and a copy of `descriptor` with it."""
        data = msgspec.json.encode(message)
        prefix = len(data).to_bytes(4, "big")
        rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        self._sock.sendmsg([prefix], rights)
        self._sock.sendall(data)

    def receive(self) -> tuple[bytes, int | None]:
        """The next message's bytes and its descriptor, if it has one.

        Raises:
            EOFError: the other side has gone.
            PatchError: a message beyond the bound.
        """
        prefix, ancillary, _, _ = self._sock.recvmsg(4, socket.CMSG_SPACE(4))
        descriptor: int | None = None
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS and len(data) >= 4:
                descriptor = array.array("i", data[:4])[0]
        prefix += self._exactly(4 - len(prefix)) if prefix else b""
        if not prefix:
            raise EOFError
        size = int.from_bytes(prefix, "big")
        if size > MAXIMUM_MESSAGE_BYTES:
            raise PatchError("cannot apply the patch: a message between parent and child is too large")
        return self._exactly(size), descriptor

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            piece = self._sock.recv(min(size - len(parts), 1 << 20))
            if not piece:
                raise EOFError
            parts += piece
        return bytes(parts)


class Empty(msgspec.Struct, frozen=True):
    """An answer that is all descriptor."""


def _mapped(descriptor: int) -> mmap.mmap | bytes:
    try:
        size = os.fstat(descriptor).st_size
        return mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else b""
    finally:
        os.close(descriptor)


def serve(wire: Wire) -> None:
    """Do the one task of this process."""
    data, patch_descriptor = wire.receive()
    task = msgspec.json.decode(data, type=Task)
    if patch_descriptor is None:
        raise PatchError("cannot apply the patch: it was not handed over")
    patch = _mapped(patch_descriptor)
    self_test()  # loads the native kernel while a path can still be opened
    confined = confine(Limits(task.memory_bytes, task.file_bytes, task.cpu_seconds))

    def ask(message: Asked) -> int:
        wire.send(message)
        _, descriptor = wire.receive()
        if descriptor is None:
            raise PatchError("cannot apply the patch: a file was not handed over")
        return descriptor

    def open_sink(entry: FileEntry) -> IO[bytes]:
        return os.fdopen(ask(Asked(new=entry.path)), "wb")

    apply_patch(task.layer, patch, read_old=lambda path: _mapped(ask(Asked(old=path))), open_sink=open_sink)
    wire.send(Asked(done=True, confined=confined))


def main() -> int:
    """Entry point: `python -I -m suture.agent.patch_child FD`."""
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        wire = Wire(sock)
        try:
            serve(wire)
        except SutureError as error:
            wire.send(Asked(error=f"{error.code}|{error.message}"))
            return error.exit_code
        except MemoryError:
            wire.send(Asked(error="bad-patch|cannot apply the patch: it wants more memory than it may have"))
            return PatchError.exit_code
        except (EOFError, BrokenPipeError):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
