"""The engines that are compared: how each is asked to make and to apply a patch, and which version of it answered.

Peers get files (of a tree, one tar); Suture gets files or trees. Every engine may use one thread.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import venv
from abc import ABC, abstractmethod
from pathlib import Path

from accounting import KEPT, ROOT

HDIFFPATCH = "hdiffpatch==2.6.0"
WORKER = Path(__file__).with_name("hdiffpatch_worker.py")
BIG_BYTES = 1 << 31


class Engine(ABC):
    """One engine. `name` is its key in the figures, `title` what people read."""

    name: str
    title: str
    takes_trees = False

    @abstractmethod
    def version(self) -> str:
        """Its version, empty where it cannot be had here."""

    @abstractmethod
    def make(self, old: Path, new: Path, patch: Path) -> list[str]:
        """The command that writes `patch`."""

    @abstractmethod
    def apply(self, old: Path, patch: Path, new: Path) -> list[str]:
        """The command that writes `new`."""


def _first_line(command: list[str], pattern: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "unknown"


class Suture(Engine):
    """Ours, by its own command."""

    name, title, takes_trees = "suture", "Suture", True
    command = str(Path(sys.executable).with_name("suture"))

    def version(self) -> str:
        # Any change of the engine makes old figures void: its sources and its built kernel are its version.
        rooms = [ROOT / "src/suture" / room for room in ("delta", "improvement", "adapters")] + [ROOT / "native"]
        files = [
            path for room in rooms for path in sorted(room.rglob("*")) if path.suffix in (".py", ".cc", ".h", ".hh")
        ]
        digest = hashlib.sha256()
        for path in files:
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
        kernel = importlib.util.find_spec("suture.delta._kernel")
        if kernel is not None and kernel.origin:  # the built kernel may be older than its sources
            digest.update(Path(kernel.origin).read_bytes())
        return f"sources {digest.hexdigest()[:16]}"

    def make(self, old: Path, new: Path, patch: Path) -> list[str]:
        return [self.command, "delta", "encode", str(old), str(new), str(patch), "--force", "--json"]

    def apply(self, old: Path, patch: Path, new: Path) -> list[str]:
        return [self.command, "delta", "apply", str(old), str(patch), str(new), "--force", "--json"]


class ZstdFull(Engine):
    """The full download."""

    name, title = "zstd_full", "full, zstd -19"

    def version(self) -> str:
        return _first_line(["zstd", "--version"], r"v([0-9.]+)")

    def make(self, old: Path, new: Path, patch: Path) -> list[str]:  # noqa: ARG002 -- the whole file
        return ["zstd", "-19", "-T1", "-q", "-f", str(new), "-o", str(patch)]

    def apply(self, old: Path, patch: Path, new: Path) -> list[str]:  # noqa: ARG002
        return ["zstd", "-d", "-q", "-f", str(patch), "-o", str(new)]


class ZstdPatchFrom(ZstdFull):
    """zstd with the old file as its dictionary."""

    name, title = "zstd_patch_from", "zstd -19 --patch-from"

    def make(self, old: Path, new: Path, patch: Path) -> list[str]:
        return ["zstd", "-19", "-T1", "--long=31", "-q", "-f", f"--patch-from={old}", str(new), "-o", str(patch)]

    def apply(self, old: Path, patch: Path, new: Path) -> list[str]:
        words = ["zstd", "-d", "--long=31", "--memory=2048MB", "-q", "-f", f"--patch-from={old}"]
        return [*words, str(patch), "-o", str(new)]


class Xdelta3(Engine):
    """xdelta3 with a source window over the whole old file."""

    name, title = "xdelta3", "xdelta3 -9 -S lzma"

    def version(self) -> str:
        return _first_line(["xdelta3", "-V"], r"version ([0-9.]+)")

    def _window(self, old: Path) -> str:
        return str(min(BIG_BYTES, max(1 << 19, 1 << (old.stat().st_size - 1).bit_length())))

    def make(self, old: Path, new: Path, patch: Path) -> list[str]:
        window = ["-B", self._window(old), "-W", str(1 << 23)]
        return ["xdelta3", "-e", "-9", "-S", "lzma", "-f", *window, "-s", str(old), str(new), str(patch)]

    def apply(self, old: Path, patch: Path, new: Path) -> list[str]:
        return ["xdelta3", "-d", "-f", "-B", self._window(old), "-s", str(old), str(patch), str(new)]


class Bsdiff(Engine):
    """Debian's bsdiff."""

    name, title = "bsdiff", "bsdiff 4.3"

    def version(self) -> str:
        if shutil.which("bsdiff") is None or shutil.which("bspatch") is None:
            return ""
        return _first_line(["dpkg-query", "-W", "-f", "${Version}", "bsdiff"], r"([0-9.]+)") or "unknown"

    def make(self, old: Path, new: Path, patch: Path) -> list[str]:
        return ["bsdiff", str(old), str(new), str(patch)]

    def apply(self, old: Path, patch: Path, new: Path) -> list[str]:
        return ["bspatch", str(old), str(new), str(patch)]


class HDiffPatch(Engine):
    """HDiffPatch through its Python package, lzma2, in an environment of its own."""

    name, title = "hdiffpatch", "HDiffPatch, lzma2"
    place = KEPT / "peers-venv"

    def version(self) -> str:
        python = self.place / "bin/python"
        probe = [str(python), "-c", "import hdiffpatch"]
        if not python.exists() or subprocess.run(probe, capture_output=True, check=False).returncode:
            print("making a virtual environment for HDiffPatch", flush=True)
            venv.create(self.place, with_pip=True, clear=True)
            command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", HDIFFPATCH]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                return ""
        return HDIFFPATCH.partition("==")[2]

    def make(self, old: Path, new: Path, patch: Path) -> list[str]:
        return [str(self.place / "bin/python"), str(WORKER), "make", str(old), str(new), str(patch)]

    def apply(self, old: Path, patch: Path, new: Path) -> list[str]:
        return [str(self.place / "bin/python"), str(WORKER), "apply", str(old), str(patch), str(new)]


ENGINES: dict[str, Engine] = {
    engine.name: engine for engine in (Suture(), ZstdFull(), ZstdPatchFrom(), Xdelta3(), HDiffPatch(), Bsdiff())
}
"""In the order in which they run."""
