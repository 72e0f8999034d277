"""Read-only images: made by mkfs.erofs(1), sealed where the kernel can, mounted from the file or through a loop device.

An image's digest depends on the version of mkfs.erofs, so it means something on this device alone. An image is never
written in place: the kernel would let that happen under a mount (no ETXTBSY).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import time
from pathlib import Path
from typing import Final

from suture.adapters.files import host_errors
from suture.adapters.mounts import new_erofs
from suture.adapters.process import run_bounded
from suture.core.errors import DiskFullError, HostError, StorageError

_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
_IDENTITY: Final = "5d0b2a86-6a0c-4c1e-9f3d-0b8e5c7a4e11"
"""One for all images: a random one would make two images of the same tree differ."""
_DEADLINE_SECONDS: Final = 1800.0
_LOOP_GET_FREE, _LOOP_CONFIGURE, _LOOP_CLEAR = 0x4C82, 0x4C0A, 0x4C01
_READ_ONLY_AND_AUTOCLEAR: Final = 1 | 4
_ENABLE_VERITY: Final = 0x40806685
"""_IOW('f', 133, struct fsverity_enable_arg), linux/fsverity.h."""
CANNOT: Final = frozenset(
    {errno.ENOTBLK, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.ELOOP, errno.ENXIO}
)
"""What a kernel answers that lacks a way, as opposed to a disk that is full."""


def make_image(tree: Path, image: Path, *, seconds: int) -> None:
    """Write the tree into a new image file, with owners, set-id bits, extended attributes and whiteouts as they are.

    Args:
        seconds: since the epoch, the time of every file in it.

    Raises:
        HostError: mkfs.erofs is not installed or failed. StorageError: (or a kind of it) the image cannot be written.
    """
    tool = shutil.which("mkfs.erofs", path=_PATH)
    if tool is None:
        raise HostError("cannot build an image: mkfs.erofs is not installed", advice="install the package erofs-utils")
    argv = [tool, f"-T{seconds}", "-U", _IDENTITY, "--quiet", str(image), str(tree)]
    result = run_bounded(argv, environment={"PATH": _PATH, "LANG": "C.UTF-8"}, timeout_seconds=_DEADLINE_SECONDS)
    if result.status != 0:
        if "No space left" in result.tail or _has_no_room(image.parent):
            raise DiskFullError("cannot build an image: no space left on device")
        raise HostError(f"cannot build an image: mkfs.erofs said {result.tail.strip()[-300:]!r}")
    with host_errors(f"keep the image {image}"):
        descriptor = os.open(image, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o400)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _has_no_room(directory: Path) -> bool:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize < 1 << 16


def seal(image: Path) -> bool:
    """Ask the file system to let nobody change the image any more (fs-verity); whether it can.

    Raises:
        StorageError: (or a kind of it) the image cannot be opened.
    """
    with host_errors(f"seal {image}"):
        descriptor = os.open(image, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # struct fsverity_enable_arg: version 1, SHA-256, blocks of 4 KiB, no salt, no signature.
        fcntl.ioctl(descriptor, _ENABLE_VERITY, struct.pack("=IIIIQIIQ88x", 1, 1, 4096, 0, 0, 0, 0, 0))
    except OSError as error:
        return error.errno == errno.EEXIST
    finally:
        os.close(descriptor)
    return True


def mount_image(image: Path, *, file_backed: bool = True) -> int:
    """A detached mount of the image: from the file itself, or else through a loop device that ends with the mount.

    Args:
        file_backed: False leaves the first way out.

    Raises:
        StorageError: (or a kind of it) neither way is open, or this is no image.
    """
    if file_backed:
        try:
            return new_erofs(str(image))
        except OSError as error:
            if error.errno not in CANNOT:
                with host_errors(f"mount {image}"):
                    raise
    with host_errors(f"mount {image} through a loop device"):
        return _mount_through_loop(image)


def _mount_through_loop(image: Path) -> int:
    file = os.open(image, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for _ in range(50):
            device, path = _free_loop()
            try:
                # struct loop_config (linux/loop.h): descriptor, block size, loop_info64 with lo_flags at byte 52.
                words = struct.pack("=II52xI176x64x", file, 0, _READ_ONLY_AND_AUTOCLEAR)
                fcntl.ioctl(device, _LOOP_CONFIGURE, words)
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:
                    raise
                time.sleep(0.01)  # somebody else took it: ask for another
                continue
            try:
                return new_erofs(path)
            finally:
                os.close(device)  # the mount keeps it; without one it is cleared by this
        raise StorageError(f"cannot mount {image}: no loop device is free")
    finally:
        os.close(file)


def _free_loop() -> tuple[int, str]:
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        number = fcntl.ioctl(control, _LOOP_GET_FREE)
    finally:
        os.close(control)
    path = f"/dev/loop{number}"
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC), path
