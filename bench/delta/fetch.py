"""Fetch the exact pairs by the registries' ordinary clients (pip, npm, apt-get) into build/bench/pairs.

Every artifact and every file inside is checked against the table's digests. A pair that cannot be fetched is said, not
dropped: the newest two versions on offer stand in for it where they hold such a file, and every figure of them says so.
"""

from __future__ import annotations

import argparse
import fnmatch
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accounting import KEPT, digest_file
from pairs import Pair, Side, read_pairs

PLACE = KEPT / "pairs"
FETCH_SECONDS = 900
PYTHON_OF_WHEELS = "3.11"


class CannotFetchError(Exception):
    """The registry's client did not bring it, or it is not what the table says."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A pair on disk: two files or two trees. `stand_in` says which versions stand in, empty for the exact pair."""

    pair: Pair
    old: Path
    new: Path
    stand_in: str


def fetch_pair(pair: Pair) -> Fetched:
    """The pair from the cache, else from its registry.

    Raises:
        CannotFetchError: neither the pair nor a stand-in can be had.
    """
    place = PLACE / pair.name
    exact = Fetched(pair, place / "old", place / "new", "")
    if all(_is_exact(side, path) for side, path in ((pair.old, exact.old), (pair.new, exact.new))):
        return exact
    try:
        for side, target in ((pair.old, exact.old), (pair.new, exact.new)):
            _fetch_side(pair, side, target, exact=True)
    except CannotFetchError as error:
        print(f"{pair.name}: {error}; trying the newest two versions on offer", flush=True)
        return _fetch_stand_in(pair, error)
    return exact


def _is_exact(side: Side, path: Path) -> bool:
    if not path.exists():
        return False
    return (digest_tree(path) if path.is_dir() else digest_file(path)) == side.sha256


def digest_tree(root: Path) -> str:
    """SHA-256 over the sorted lines "SHA256  PATH" of all files."""
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    lines = "".join(f"{digest_file(root / name)}  {name}\n" for name in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _fetch_side(pair: Pair, side: Side, target: Path, *, exact: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        artifact = CLIENTS[pair.registry](pair, side.version, side.artifact_sha256 if exact else "", Path(name))
        if exact and (found := digest_file(artifact)) != side.artifact_sha256:
            raise CannotFetchError(f"{pair.package} {side.version} is not what it was: SHA-256 {found}")
        _unpack(pair, artifact, target, side.member if exact else "")
    if exact and not _is_exact(side, target):
        raise CannotFetchError(f"{side.member or 'the tree'} of {pair.package} {side.version} is not what it was")


def _run(command: list[str], directory: Path) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (subprocess.TimeoutExpired, FileNotFoundError) as error:
        raise CannotFetchError(f"cannot run {command[0]}: {error}") from error
    if done.returncode != 0:
        last = ([line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"])[-1]
        raise CannotFetchError(f"{command[0]} cannot fetch it: {last[:200]}")
    return done.stdout


def _only_file(directory: Path, pattern: str) -> Path:
    found = sorted(directory.glob(pattern))
    if len(found) != 1:
        raise CannotFetchError(f"the client brought {len(found)} files, not one")
    return found[0]


def _pip(pair: Pair, version: str, digest: str, directory: Path) -> Path:
    requirement = directory / "requirements.txt"
    requirement.write_text(f"{pair.package}=={version}" + (f" --hash=sha256:{digest}" if digest else "") + "\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--python-version", PYTHON_OF_WHEELS, "--dest", str(directory)]
    command += ["--platform", pair.platform] if pair.platform else []
    _run([*command, "-r", str(requirement)], directory)
    return _only_file(directory, "*.whl")


def _npm(pair: Pair, version: str, _digest: str, directory: Path) -> Path:
    _run(["npm", "pack", "--silent", "--ignore-scripts", f"{pair.package}@{version}"], directory)
    return _only_file(directory, "*.tgz")


def _apt(pair: Pair, version: str, _digest: str, directory: Path) -> Path:
    options = ["-o", f"APT::Sandbox::User={os.environ.get('USER', 'root')}"] if os.geteuid() == 0 else []
    _run(["apt-get", "download", "-q", *options, f"{pair.package}:{pair.platform}={version}"], directory)
    return _only_file(directory, "*.deb")


Client = Callable[[Pair, str, str, Path], Path]
CLIENTS: dict[str, Client] = {"pypi": _pip, "npm": _npm, "debian": _apt}


def read_members(artifact: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Name and bytes of each regular file of a wheel, an npm archive or a Debian package."""
    if artifact.suffix == ".whl":
        with zipfile.ZipFile(artifact) as wheel:
            for entry in wheel.infolist():
                if not entry.is_dir():
                    yield entry.filename, lambda entry=entry: wheel.read(entry)
        return
    if artifact.suffix == ".deb":
        listed = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(artifact)], capture_output=True, check=False)
        if listed.returncode != 0:
            raise CannotFetchError(f"dpkg-deb cannot read {artifact.name}")
        data = io.BytesIO(listed.stdout)
    else:
        data = io.BytesIO(gzip.decompress(artifact.read_bytes()))
    with tarfile.open(fileobj=data) as archive:
        for member in archive:
            if member.isfile():
                yield member.name.removeprefix("./"), lambda member=member: archive.extractfile(member).read()


def _unpack(pair: Pair, artifact: Path, target: Path, member: str) -> None:
    """The one file (`member`, else what `find` matches), or the tree, into a fresh `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    target.unlink(missing_ok=True)
    found = 0
    for name, read in read_members(artifact):
        if pair.is_tree:
            parts = PurePosixPath(name).parts
            if name.startswith("/") or ".." in parts:
                raise CannotFetchError(f"{artifact.name} holds the name {name!r}")
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(read())
        elif name == member or (not member and fnmatch.fnmatchcase(name, pair.find)):
            found += 1
            target.write_bytes(read())
    if not pair.is_tree and found != 1:
        raise CannotFetchError(f"{artifact.name} holds {found} files like {member or pair.find}")


def _fetch_stand_in(pair: Pair, why: CannotFetchError) -> Fetched:
    versions = _newest_two(pair)
    place = PLACE / pair.name
    fetched = Fetched(pair, place / "stand-in-old", place / "stand-in-new", f"{versions[0]} → {versions[1]}: {why}")
    for version, target in zip(versions, (fetched.old, fetched.new), strict=True):
        _fetch_side(pair, Side(version, "", "", "", 0), target, exact=False)
    return fetched


def _newest_two(pair: Pair) -> tuple[str, str]:
    """The newest two versions on offer, the older first."""
    here = Path.cwd()
    if pair.registry == "pypi":
        command = [sys.executable, "-m", "pip", "index", "versions", "--disable-pip-version-check", pair.package]
        said = re.search(r"Available versions: (.*)", _run(command, here))
        versions = said.group(1).split(", ") if said else []
    elif pair.registry == "npm":
        listed = json.loads(_run(["npm", "view", pair.package, "versions", "--json"], here))
        versions = [one for one in reversed(listed) if re.fullmatch(r"[0-9.]+", one)]
    else:
        lines = _run(["apt-cache", "madison", pair.package], here).splitlines()
        versions = list(dict.fromkeys(line.split("|")[1].strip() for line in lines if line.count("|") == 2))
    if len(versions) < 2:
        raise CannotFetchError(f"there are no two versions of {pair.package} on offer")
    return versions[1], versions[0]


def main() -> int:
    """Fetch, and say what could not be had; 1 where a pair has neither itself nor a stand-in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="PAIR", help="these pairs")
    options = parser.parse_args()
    missing = 0
    for pair in read_pairs().values():
        if options.only and pair.name not in options.only:
            continue
        try:
            fetched = fetch_pair(pair)
            print(f"{pair.name}: " + (f"stand-in {fetched.stand_in}" if fetched.stand_in else "exact"), flush=True)
        except CannotFetchError as error:
            missing += 1
            print(f"{pair.name}: cannot be fetched: {error}", flush=True)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
