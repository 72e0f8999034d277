"""A publication: everything one command changes, made whole beside the repository and then rolled forward.

The command writes all new bytes, signed, into ``publication.new``, syncs them, and renames the directory to
``publication``: the commit point. From there no key is needed: each file is renamed into its place in order (targets,
versioned metadata, ``timestamp.json`` last), so a client that polls meanwhile sees the old state or the new one. After
``kill -9`` at any point the next command throws ``publication.new`` away or rolls ``publication`` forward; the bytes of
a version exist once, so no version number ever has two contents.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from suture.adapters.files import PUBLIC_DIRECTORY, host_errors, make_directory, read_file, sync_directory, write_file
from suture.core.digests import DIGEST_PATTERN, Digest, digest_bytes
from suture.core.errors import DigestMismatchError, StorageError
from suture.core.limits import MIB

if TYPE_CHECKING:
    from suture.publisher.workshop import Workshop

PLAN_FORMAT = "suture-publication/1"
MAXIMUM_PLAN_BYTES = 16 * MIB
_COPY_BYTES = 1 * MIB


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to publish. `path` is relative to the workshop; `source` is its bytes or a file that holds them."""

    path: str
    source: bytes | Path
    mode: int = 0o644
    replaces: bool = False
    """May take the place of other bytes; all else (versions, digests in names) is written once and for ever."""


class PlannedFile(msgspec.Struct, frozen=True):
    """One step of the plan on disk."""

    path: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][^\x00-\x1f]*$", max_length=2048)]
    digest: Annotated[str, msgspec.Meta(pattern=DIGEST_PATTERN)]
    replaces: bool


class Plan(msgspec.Struct, frozen=True):
    """``plan.json``: what a committed publication still has to do, in order."""

    format: Literal["suture-publication/1"]
    files: tuple[PlannedFile, ...]


def publish(workshop: Workshop, files: Sequence[NewFile]) -> int:
    """Put `files` in their places, in order, durably; see the module's text for what a crash leaves.

    Args:
        workshop: locked by the caller.
        files: in the order in which they may be seen.

    Returns:
        Bytes written.

    Raises:
        StorageError: (or a kind of it) before the commit point nothing changed; after it the next command goes on.
    """
    draft = workshop.root / "publication.new"
    _remove(draft)
    try:
        written = _write_draft(draft, files)
        with host_errors(f"publish in {workshop.root}"):
            draft.rename(workshop.root / "publication")
    except BaseException:
        _remove(draft)
        raise
    sync_directory(workshop.root)
    finish_publication(workshop)
    return written


def finish_publication(workshop: Workshop) -> bool:
    """Roll a committed publication forward, throw an uncommitted one away. Idempotent; needs no key.

    Returns:
        Whether there was a committed one.

    Raises:
        StorageError: the host does not let us, or a version would get a second content.
    """
    _remove(workshop.root / "publication.new")
    directory = workshop.root / "publication"
    if not directory.is_dir():
        return False
    plan_file = directory / "plan.json"
    if plan_file.is_file():
        data = read_file(plan_file, maximum_bytes=MAXIMUM_PLAN_BYTES)
        try:
            plan = msgspec.json.decode(data, type=Plan)
        except msgspec.DecodeError as error:
            raise StorageError(f"cannot read {plan_file}: {error}") from error
        steps = [
            (directory / f"{number:06d}", workshop.root / planned.path, planned)
            for number, planned in enumerate(plan.files)
        ]
        for step in steps:
            _check_place(*step)
        for source, destination, _ in steps:
            _place(source, destination)
        with host_errors(f"end the publication in {directory}"):
            plan_file.unlink()
        sync_directory(directory)
    _remove(directory)
    return True


def _write_draft(draft: Path, files: Sequence[NewFile]) -> int:
    with host_errors(f"make {draft}"):
        draft.mkdir(mode=0o700)
    planned: list[PlannedFile] = []
    written = 0
    for number, new in enumerate(files):
        place = draft / f"{number:06d}"
        if isinstance(new.source, bytes):
            write_file(place, new.source, mode=new.mode)
            digest, size = digest_bytes(new.source), len(new.source)
        else:
            digest, size = copy_file(new.source, place, mode=new.mode)
        written += size
        planned.append(PlannedFile(path=new.path, digest=digest, replaces=new.replaces))
    plan = Plan(format="suture-publication/1", files=tuple(planned))
    write_file(draft / "plan.json", msgspec.json.encode(plan))
    return written


def copy_file(source: Path, destination: Path, *, mode: int) -> tuple[Digest, int]:
    """Copy a regular file durably, never through a symbolic link.

    Returns:
        Digest of the bytes written, and their number.

    Raises:
        StorageError: (or a kind of it); what was written so far is left.
    """
    state, size = hashlib.sha256(), 0
    with host_errors(f"copy {source} to {destination}"):
        reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(reading, "rb") as old:
            writing = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(writing, "wb") as new:
                while chunk := old.read(_COPY_BYTES):
                    state.update(chunk)
                    size += len(chunk)
                    new.write(chunk)
                new.flush()
                os.fchmod(new.fileno(), mode)
                os.fsync(new.fileno())
    return Digest("sha256:" + state.hexdigest()), size


def digest_of_file(path: Path) -> Digest:
    """Digest of a regular file, never through a symbolic link.

    Raises:
        StorageError: it cannot be read.
    """
    state = hashlib.sha256()
    with host_errors(f"read {path}"):
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            while chunk := file.read(_COPY_BYTES):
                state.update(chunk)
    return Digest("sha256:" + state.hexdigest())


def _check_place(source: Path, destination: Path, planned: PlannedFile) -> None:
    """Before anything is moved: what is moved already is ours, and what is not finds its place free."""
    if not source.exists():
        if planned.replaces:
            return  # a later step of this very plan may have replaced it again
        if not destination.exists() or digest_of_file(destination) != planned.digest:
            raise DigestMismatchError(
                f"cannot end a publication: {destination} is not what was published",
                advice="restore the workshop from its backup; nothing more was changed",
            )
    elif destination.exists() and not planned.replaces and digest_of_file(destination) != planned.digest:
        raise DigestMismatchError(
            f"cannot publish {destination.name}: that name already holds other bytes",
            advice="a version or a digest never gets a second content; restore the workshop from its backup",
        )


def _place(source: Path, destination: Path) -> None:
    if source.exists():
        for parent in reversed(destination.parents):
            make_directory(parent, mode=PUBLIC_DIRECTORY)
        with host_errors(f"publish {destination}"):
            source.rename(destination)
        sync_directory(destination.parent)


def _remove(directory: Path) -> None:
    if directory.exists():
        with host_errors(f"remove {directory}"):
            shutil.rmtree(directory)
