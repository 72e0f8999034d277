"""A publisher and a device for the benches, driven by the commands that a person would type."""

from __future__ import annotations

import json
import platform
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUTURE = str(Path(sys.executable).with_name("suture"))
BASELINE = f"1.0-{platform.machine()}"
READY_SECONDS = 20.0


def run_suture(*words: str | Path) -> Any:
    """The command's answer, decoded.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(
        [SUTURE, *map(str, words), "--json"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise RuntimeError(f"suture {words[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-800:]}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def free_port() -> int:
    """A port of the loopback that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Chain:
    """A workshop, its repository and one device, all below `place`. `baseline` holds the component's tree in `lib`."""

    place: Path
    baseline: Path
    port: int

    @property
    def workshop(self) -> Path:
        """The publisher's directory."""
        return self.place / "workshop"

    @property
    def device(self) -> tuple[str, ...]:
        """The words that name the device's directories."""
        state, configuration = self.place / "state", self.place / "configuration"
        return ("--state-directory", str(state), "--configuration-directory", str(configuration))

    def _passphrases(self) -> list[str]:
        words = []
        for option, name in (("--passphrase-file", "offline"), ("--online-passphrase-file", "online")):
            path = self.place / f"{name}-passphrase"
            if not path.exists():
                path.touch(mode=0o600)
                path.write_text(secrets.token_urlsafe(24) + "\n", encoding="ascii")
            words += [option, str(path)]
        return words

    def open_workshop(self) -> None:
        """Keys and an empty signed repository."""
        description = {
            "product": "darkroom",
            "title": "Darkroom",
            "vendor": "Darkroom Works",
            "release": {"kind": "fixed", "version": "1.0"},
            "root": str(self.baseline),
            "pointer": str(self.place / "current"),
            "components": [{"name": "imaging", "path": "lib"}],
            "repositories": [f"http://127.0.0.1:{self.port}"],
        }
        path = self.place / "describe.json"
        path.write_text(json.dumps(description))
        run_suture("publisher", "init", self.workshop, "--describe", path, *self._passphrases())

    def build_words(self, new: Path) -> list[str]:
        """The command that builds the level from the baseline's tree and `new`."""
        words = ["publisher", "build", str(self.workshop), "--baseline", BASELINE, "--component", "imaging"]
        words += ["--old", str(self.baseline / "lib"), "--new", str(new), "--cve", "CVE-2023-4863"]
        words += ["--severity", "critical", "--title", "Heap buffer overflow in libwebp"]
        words += ["--purl", "pkg:pypi/pillow@10.0.0", "--restart-category", "none"]
        return [*words, "--no-full-size", "--replace", "--level", "1", "--json"]

    def release(self) -> None:
        """Sign and publish the level."""
        run_suture("publisher", "release", self.workshop, "1", *self._passphrases())

    @contextmanager
    def serve(self) -> Iterator[None]:
        """The repository over HTTP."""
        ready = self.place / "serving"
        ready.unlink(missing_ok=True)
        words = [SUTURE, "publisher", "serve", str(self.workshop)]
        words += ["--listen", f"127.0.0.1:{self.port}", "--ready-file", str(ready)]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                deadline = time.monotonic() + READY_SECONDS
                while not ready.exists():
                    if server.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError("the repository is not served")
                    time.sleep(0.02)
                yield
            finally:
                server.terminate()

    def install(self) -> Any:
        """Tell the device of the product and install what is offered; its status."""
        run_suture("product", "add", self.workshop / "product.json", *self.device)
        with self.serve():
            run_suture("check", *self.device)
            run_suture("install", *self.device)
        return run_suture("status", *self.device)
