"""Wheels from the package index: pinned by digest, and unpacked under bounds.

Must never unpack bytes that it did not digest itself, and never let an archive name a path outside its directory.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import platform
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from suture.adapters import files
from suture.core.errors import DigestMismatchError, TreeError, UnreachableError
from suture.core.limits import MIB
from suture.demo.pairs import Pair

MAXIMUM_WHEEL_BYTES = 64 * MIB
"""The wheels of the table are 3 to 7 MB."""
MAXIMUM_UNPACKED_BYTES = 256 * MIB
MAXIMUM_ENTRIES = 5000
FETCH_SECONDS = 120
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError, struct.error)
"""All that zipfile raises on damaged archives, as flipping bytes shows (NotImplementedError is a RuntimeError)."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on disk whose digest was checked. `pinned`: against the table, not only against the index's own word."""

    path: Path
    version: str
    digest: str
    pinned: bool


def fetch_wheels(pair: Pair, cache: Path, *, machine: str | None = None) -> tuple[Wheel, Wheel]:
    """The pair's two wheels from `cache`, or by pip from the package index it is configured for.

    Args:
        pair: which.
        cache: a directory that stays between runs.
        machine: ``uname -m``'s word; the running machine's when left out.

    Raises:
        UnreachableError: pip could not get one.
        DigestMismatchError: what lies in the cache or came is not the pinned wheel.
    """
    pinned = pair.digests.get(machine or platform.machine(), (None, None))
    old, new = (
        _fetch(pair.package, version, digest, cache / version)
        for version, digest in zip((pair.old, pair.new), pinned, strict=True)
    )
    return old, new


def _fetch(package: str, version: str, digest: str | None, directory: Path) -> Wheel:
    if not list(directory.glob("*.whl")):
        _download(package, version, digest, directory)
    wheels = sorted(directory.glob("*.whl"))
    if len(wheels) != 1:
        raise UnreachableError(f"cannot fetch {package} {version}: {directory} holds {len(wheels)} wheels, not one")
    found = hashlib.sha256(files.read_file(wheels[0], maximum_bytes=MAXIMUM_WHEEL_BYTES)).hexdigest()
    if digest is not None and found != digest:
        raise DigestMismatchError(
            f"cannot use {wheels[0]}: its SHA-256 is {found}, pinned is {digest}",
            advice=f"remove {directory} and run the demo again",
        )
    return Wheel(wheels[0], version, found, digest is not None)


def _download(package: str, version: str, digest: str | None, directory: Path) -> None:
    """Pip into a fresh directory beside `directory`, renamed at the end: an interrupted download leaves no cache."""
    partial = directory.with_name(directory.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    pin = f" --hash=sha256:{digest}" if digest else ""
    requirement = partial / "requirements.txt"
    requirement.write_text(f"{package}=={version}{pin}\n", encoding="ascii")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(partial), "-r", str(requirement)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"cannot fetch {package} {version}: pip took over {FETCH_SECONDS} s") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1][:300]
        raise UnreachableError(
            f"cannot fetch {package} {version} from the package index: {last}",
            advice="check the way to the package index (`pip download Pillow` must work) and run the demo again",
        )
    requirement.unlink()
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)


def unpack_wheel(wheel: Wheel, destination: Path) -> None:
    """Unpack a wheel into a new directory.

    Args:
        wheel: its bytes are digested once more, and these very bytes are unpacked.
        destination: must not exist.

    Raises:
        DigestMismatchError: the file changed since it was fetched.
        TreeError: a name that escapes, repeats or is no plain file; too many entries or bytes.
    """
    data = files.read_file(wheel.path, maximum_bytes=MAXIMUM_WHEEL_BYTES)
    if hashlib.sha256(data).hexdigest() != wheel.digest:
        raise DigestMismatchError(f"cannot unpack {wheel.path}: it changed since it was fetched")
    unpack_archive(data, destination)


def unpack_archive(data: bytes, destination: Path, *, maximum_bytes: int = MAXIMUM_UNPACKED_BYTES) -> None:
    """Unpack a zip archive of plain files into a new directory; nothing is left of one that is refused.

    Raises:
        TreeError: as `unpack_wheel`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_entries(entries, maximum_bytes)
            destination.mkdir(parents=True)
            try:
                for entry in entries:
                    if not entry.is_dir():
                        _write_entry(archive, entry, destination)
            except BaseException:
                shutil.rmtree(destination, ignore_errors=True)
                raise
    except _DAMAGE as error:
        raise TreeError(f"cannot unpack the archive: {error}") from error


def _check_entries(entries: list[zipfile.ZipInfo], maximum_bytes: int) -> None:
    if len(entries) > MAXIMUM_ENTRIES:
        raise TreeError(f"cannot unpack the archive: {len(entries)} entries, more than {MAXIMUM_ENTRIES}")
    if sum(entry.file_size for entry in entries) > maximum_bytes:
        raise TreeError(f"cannot unpack the archive: it unpacks to more than {maximum_bytes:,} bytes")
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename.removesuffix("/")
        parts = PurePosixPath(name).parts
        plain = bool(parts) and not name.startswith("/") and ".." not in parts and "\\" not in name
        if not plain or any(ord(character) < 32 for character in name) or len(name) > 500:
            raise TreeError(f"cannot unpack the archive: the name {entry.filename[:80]!r} is not a plain relative path")
        if name.casefold() in seen:
            raise TreeError(f"cannot unpack the archive: the name {name!r} comes twice")
        seen.add(name.casefold())
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or entry.flag_bits & 0x1:
            raise TreeError(f"cannot unpack the archive: {name!r} is encrypted or no plain file")


def _write_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, destination: Path) -> None:
    target = destination / entry.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with archive.open(entry) as source, target.open("xb") as sink:
        while chunk := source.read(1 << 20):
            left -= len(chunk)
            if left < 0:
                raise TreeError(f"cannot unpack the archive: {entry.filename!r} is larger than its entry says")
            sink.write(chunk)
    executable = (entry.external_attr >> 16) & stat.S_IXUSR
    target.chmod(0o755 if executable else 0o644)
