"""A vendor's bench for tests: a workshop with small trees, driven through the command line as a vendor would."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from suture.cli.main import main

OFFLINE = "an offline passphrase"
ONLINE = "an online passphrase"
ISSUED = "2026-03-01T12:00:00Z"
IDENTITY = "1.0-x86_64"
PREFIX = f"improvements/darkroom/{IDENTITY}"

DESCRIPTION: dict[str, Any] = {
    "product": "darkroom",
    "title": "Darkroom",
    "vendor": "Acme",
    "release": {"kind": "fixed", "version": "1.0"},
    "root": "/opt/darkroom/baseline",
    "pointer": "/opt/darkroom/current",
    "components": [{"name": "imaging", "path": "imaging"}, {"name": "codecs", "path": "codecs"}],
    "repositories": ["https://updates.example.org/darkroom"],
    "architecture": "x86_64",
    "services": ["thumbs"],
    "units": ["darkroom.service"],
    "urls": [{"name": "thumbs", "url": "http://127.0.0.1:8080/healthz"}],
    "commands": [{"name": "selftest", "argv": ["/usr/bin/true"]}],
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Its standard output as JSON."""
        value: dict[str, Any] = json.loads(self.out)
        return value


class Bench:
    """A directory with passphrases, trees and a workshop."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys
        self.workshop = root / "workshop"
        self.old = root / "old"
        self.new = root / "new"
        self.description = root / "describe.json"
        self.description.write_text(json.dumps(DESCRIPTION))
        self.offline_file = self.secret("offline", OFFLINE)
        self.online_file = self.secret("online", ONLINE)
        write_tree(self.old, version=1)
        write_tree(self.new, version=2)

    def secret(self, name: str, text: str) -> Path:
        """A file that only we can read."""
        path = self.root / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return path

    @property
    def passphrases(self) -> list[str]:
        """Both passphrases' options."""
        return ["--passphrase-file", str(self.offline_file), *self.online]

    @property
    def online(self) -> list[str]:
        """The online passphrase's option."""
        return ["--online-passphrase-file", str(self.online_file)]

    def run(self, command: str, *words: str, workshop: bool = True) -> Answer:
        """Run one publisher command in this process."""
        self.capsys.readouterr()
        place = [str(self.workshop)] if workshop else []
        code = main(["publisher", *command.split(), *place, *words])
        out, err = self.capsys.readouterr()
        return Answer(code, out, err)

    def good(self, command: str, *words: str) -> dict[str, Any]:
        """Run a command that must succeed; its JSON."""
        answer = self.run(command, *words, "--json")
        assert answer.code == 0, answer
        return answer.json

    def init(self, *words: str) -> dict[str, Any]:
        """Make the workshop."""
        return self.good("init", "--describe", str(self.description), *self.passphrases, *words)

    def build_words(self, *words: str, cve: str = "CVE-2023-4863", new: Path | None = None) -> list[str]:
        """The words of a plain build."""
        what = ["--component", "imaging", "--old", str(self.old), "--new", str(new or self.new)]
        fix = ["--cve", cve, "--severity", "critical", "--title", "Overflow in libwebp", "--purl", "pkg:pypi/pillow@2"]
        return ["--baseline", IDENTITY, *what, *fix, "--issued", ISSUED, "--restart-service", "thumbs", *words]

    def build(self, *words: str, cve: str = "CVE-2023-4863", new: Path | None = None) -> dict[str, Any]:
        """Build a level that must come out."""
        return self.good("build", *self.build_words(*words, cve=cve, new=new))

    def release(self, level: int, *words: str) -> dict[str, Any]:
        """Release a level that must come out."""
        return self.good("release", str(level), *self.passphrases, *words)

    def refused(self, command: str, *words: str, code: str, exit_code: int | None = None) -> str:
        """Run a command that must be refused and change nothing; its message."""
        before = snapshot(self.workshop)
        answer = self.run(command, *words, "--json")
        error = answer.json["error"]
        assert error["code"] == code, error
        assert answer.code == error["exit_code"]
        assert answer.code != 0
        if exit_code is not None:
            assert answer.code == exit_code
        assert error["message"].startswith("cannot "), error
        assert error["advice"]
        assert snapshot(self.workshop) == before
        message: str = error["message"]
        return message

    def client(self, name: str = "device") -> Device:
        """A stock TUF client that reads the repository from disk."""
        return Device(self.root / name, self.workshop / "repository")


def write_tree(root: Path, *, version: int) -> None:
    """A component with a library whose name holds a hash, a module, a link and an executable."""
    library = bytes((number * 7 + number // 256) % 251 for number in range(20_000))
    changed = library[:5_000] + b"fixed %d" % version + library[5_008:]
    (root / "lib").mkdir(parents=True)
    (root / "lib" / f"libwebp-{version:08x}.so.7.1.{version}").write_bytes(changed if version > 1 else library)
    (root / "lib" / "libwebp.so").symlink_to(f"libwebp-{version:08x}.so.7.1.{version}")
    (root / "module.py").write_text(f"VERSION = {version}\n")
    (root / "same.txt").write_text("the same in every level\n")
    tool = root / "tool"
    tool.write_text(f"#!/bin/sh\necho {version}\n")
    tool.chmod(0o755)
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "module.pyc").write_bytes(b"never shipped")


def snapshot(directory: Path) -> dict[str, tuple[int, str]]:
    """Every entry below a directory with its mode and the digest of its bytes; the lock file left out."""
    found: dict[str, tuple[int, str]] = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        if path.name != "lock":
            found[str(path.relative_to(directory))] = (status.st_mode, hashlib.sha256(data).hexdigest())
    return found


class DiskFetcher(FetcherInterface):
    """Reads ``file:`` addresses below one directory; what is missing is a 404."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = self.base / url.removeprefix("file:")
        try:
            yield path.read_bytes()
        except FileNotFoundError as error:
            raise DownloadHTTPError(str(path), 404) from error


class Device:
    """A stock `tuf.ngclient` with its own trust directory, pinned to the first root."""

    def __init__(self, directory: Path, repository: Path) -> None:
        self.directory = directory
        self.repository = repository
        self.base = "file:"
        self.fetcher: FetcherInterface | None = DiskFetcher(repository)
        self.first_root = (repository / "metadata" / "1.root.json").read_bytes()
        (directory / "targets").mkdir(parents=True)

    def updater(self) -> Updater:
        """A refreshed updater."""
        updater = Updater(
            str(self.directory),
            f"{self.base}metadata/",
            str(self.directory / "targets"),
            f"{self.base}targets/",
            self.fetcher,
            bootstrap=self.first_root,
        )
        updater.refresh()
        return updater

    def read(self, path: str) -> bytes | None:
        """A target's verified bytes, None where no role signs one."""
        updater = self.updater()
        target = updater.get_targetinfo(path)
        return Path(updater.download_target(target)).read_bytes() if target else None

    def index(self) -> dict[str, Any]:
        """The baseline's index."""
        return self.document(f"{PREFIX}/index.json")

    def rollout(self) -> dict[str, Any]:
        """The baseline's rollout document."""
        return self.document(f"rollouts/darkroom/{IDENTITY}.json")

    def document(self, path: str) -> dict[str, Any]:
        """A JSON target that must be there."""
        data = self.read(path)
        assert data is not None
        value: dict[str, Any] = json.loads(data)
        return value

    def levels(self) -> list[int]:
        """The levels of the index; none where there is no index."""
        data = self.read(f"{PREFIX}/index.json")
        return [entry["level"] for entry in json.loads(data)["levels"]] if data else []


@contextmanager
def serving(bench: Bench, *words: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """``suture publisher serve`` as a process of its own; its address, and the process."""
    ready = bench.root / "ready"
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "suture.cli.main", "publisher", "serve", str(bench.workshop), *words]
    process = subprocess.Popen([*command, "--ready-file", str(ready)], stdout=writing)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as output:
            assert b"http://" in output.readline()
            # The line is printed just before the file is written: wait for it by its own event, the next line or end.
            while not ready.exists():
                assert process.poll() is None
            yield ready.read_text().strip() + "/", process
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(ready, ignore_errors=True)
