"""Places for hidden mounts: directories in a small tmpfs that only root may enter and that no container sees.

A place appears complete, by one rename, and leaves with everything that is mounted in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from suture.adapters.files import PRIVATE_DIRECTORY, host_errors, make_directory
from suture.adapters.mounts import attach, detach, make_private, mount_number_of, mounts, new_tmpfs
from suture.core.errors import StorageError

TREE = "tree"
_HIDDEN = "suture-hidden"
_LEFT = (".new", ".old")


@contextlib.contextmanager
def made_place(directory: Path, place: Path) -> Iterator[Path]:
    """A new place below `directory`, under a temporary name until the block ends well; else nothing is left of it.

    Args:
        directory: ``<state>/grafts``, which becomes the tmpfs where it is none yet.
        place: its final path, where nothing is.
    """
    _ready(directory)
    temporary = place.with_name(f"{place.name}.new")
    with host_errors(f"make {place}"):
        remove_place(temporary)
        (temporary / TREE).mkdir(parents=True)
        try:
            yield temporary
            temporary.rename(place)
        except BaseException:
            remove_place(temporary)
            raise


def remove_place(place: Path) -> None:
    """Detach what is mounted below, all of it read-only, then remove the directories, which hold nothing else.

    Never half: it is renamed away first, and `sweep_places` finds what a crash leaves. Idempotent.
    """
    if not place.is_dir():
        return
    if not place.name.endswith(_LEFT):
        leaving = place.with_name(f"{place.name}.old")
        remove_place(leaving)
        place = place.rename(leaving)
    points = [Path(one.point) for one in mounts()]
    for point in sorted((one for one in points if place in one.parents), key=lambda one: -len(one.parts)):
        with opened(point) as descriptor:
            detach(descriptor)
    if any(place in Path(one.point).parents for one in mounts()):
        raise StorageError(f"cannot remove {place}: something is mounted below it")
    shutil.rmtree(place)


def sweep_places(directory: Path) -> None:
    """Remove what a crash left half-made or half-removed in a directory of places."""
    for place in sorted(directory.iterdir()):
        if place.name.endswith(_LEFT):
            remove_place(place)


def mounted_in(directory: Path) -> frozenset[str]:
    """Where grafts' file systems are mounted below a directory."""
    return frozenset(
        one.point for one in mounts() if one.source.startswith("suture:") and directory in Path(one.point).parents
    )


def _ready(directory: Path) -> None:
    make_directory(directory, mode=PRIVATE_DIRECTORY)
    with host_errors(f"make {directory} ready"), opened(directory) as target:
        number = mount_number_of(target)
        if any(one.number == number and one.source == _HIDDEN for one in mounts()):
            return
        attach_at(new_tmpfs(_HIDDEN, mode=PRIVATE_DIRECTORY), directory)


def attach_at(mount: int, path: Path) -> None:
    """Attach, and close. Afterwards private: attached to a shared mount, it would show in every container."""
    try:
        with opened(path) as target:
            attach(mount, target)
        make_private(mount)
    finally:
        os.close(mount)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A directory's descriptor, for its place alone."""
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
