"""A small vendor and a small device for whole-chain tests: real keys, a real repository over HTTP, real commands."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from suture.adapters.clock import SystemClock
from suture.cli.main import main
from suture.publisher.serving import RepositoryServer
from suture.testing.ports import quiet_port

PASSPHRASE = "correct horse battery staple"


def run_suture(*words: str) -> tuple[int, Any]:
    """Run one command in this process with --json; its exit code and its decoded answer."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*words, "--json"])
    text = out.getvalue().strip()
    return code, json.loads(text) if text else None


class ChainWorld:
    """One vendor of the product `darkroom` with the components `imaging` and `codec`, and one device."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workshop = root / "workshop"
        self.passphrase = root / "passphrase"
        self.passphrase.write_text(PASSPHRASE)
        self.passphrase.chmod(0o600)
        self.device = root / "device"
        self.baseline = self.device / "opt/darkroom/baseline"
        self.originals = self.baseline
        """The vendor's own copy of the release; another directory where grafts cover the device's."""
        self.pointer = self.device / "opt/darkroom/current"
        self.release = self.device / "opt/darkroom/RELEASE"
        self.state = self.device / "state"
        self.server: RepositoryServer | None = None
        self.thread: threading.Thread | None = None
        self.port = 0

    # --- the vendor --------------------------------------------------------------------------------------------------

    def write_tree(self, root: Path, flavour: str, *, extra: dict[str, bytes] | None = None) -> Path:
        """A component: a library, a program, a text, an unchanged file and a link."""
        (root / "lib").mkdir(parents=True, exist_ok=True)
        body = bytes(range(256)) * 64
        (root / "lib/engine.so").write_bytes(body + flavour.encode() + body)
        (root / "lib/engine.so").chmod(0o755)
        (root / "notes.txt").write_text(f"version {flavour}\n")
        (root / "same.bin").write_bytes(body)
        with contextlib.suppress(FileExistsError):
            (root / "lib/link.so").symlink_to("engine.so")
        for name, data in (extra or {}).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        return root

    def found(self) -> None:
        """Make the device's baseline, the workshop and the product file."""
        self.write_tree(self.baseline / "imaging", "1.0")
        self.write_tree(self.baseline / "codec", "1.0")
        self.release.write_text("1.0\n")
        self.port = quiet_port()
        describe = self.root / "describe.json"
        describe.write_text(
            json.dumps(
                {
                    "product": "darkroom",
                    "title": "Darkroom",
                    "vendor": "Example",
                    "release": {"kind": "file", "path": str(self.release)},
                    "root": str(self.baseline),
                    "pointer": str(self.pointer),
                    "architecture": "x86_64",
                    "components": [{"name": "imaging", "path": "imaging"}, {"name": "codec", "path": "codec"}],
                    "repositories": [f"http://127.0.0.1:{self.port}/"],
                    "services": ["thumbnails"],
                    "commands": [
                        {
                            "name": "is-well",
                            "argv": ["/bin/sh", "-c", f"! grep -q broken {self.pointer}/imaging/notes.txt"],
                        }
                    ],
                    "run_as": "nobody",
                }
            )
        )
        self.publisher("init", "--describe", str(describe))
        self.serve()

    def publisher(self, command: str, *words: str, expect: int = 0) -> Any:
        """One publisher command with the passphrases it takes."""
        wants: list[str] = []
        if command in ("init", "release", "recall"):
            wants += ["--passphrase-file", str(self.passphrase)]
        if command not in ("build", "status"):
            wants += ["--online-passphrase-file", str(self.passphrase)]
        code, answer = run_suture("publisher", command, str(self.workshop), *words, *wants)
        assert code == expect, (command, words, answer)
        return answer

    def build(
        self, level: int, flavour: str, *, components: tuple[str, ...] = ("imaging",), cve: str = "CVE-2023-4863"
    ) -> None:
        """Build one level from the baseline and trees of that flavour."""
        words: list[str] = ["--baseline", "1.0-x86_64", "--level", str(level), "--no-full-size"]
        for component in components:
            new = self.write_tree(self.root / f"new-{level}/{component}", flavour, extra={"lib/added.txt": b"new\n"})
            words += ["--component", component, "--old", str(self.originals / component), "--new", str(new)]
        words += ["--cve", cve, "--severity", "critical", "--title", "t", "--purl", "pkg:pypi/pillow@10.0.1"]
        words += ["--restart-service", "thumbnails", "--health", "command:is-well"]
        self.publisher("build", *words)

    def publish(self, level: int, flavour: str, **words: Any) -> None:
        """Build and release."""
        self.build(level, flavour, **words)
        self.publisher("release", str(level))

    def serve(self) -> None:
        """Serve the repository; at the same port when it is served again."""
        now = SystemClock().now
        self.server = RepositoryServer(self.workshop / "repository", ("127.0.0.1", self.port), None, now)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def stop_serving(self) -> None:
        """Nobody answers from now on."""
        if self.server is not None and self.thread is not None:
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()
            self.server = None

    # --- the device --------------------------------------------------------------------------------------------------

    def suture(self, *words: str, expect: int | None = 0) -> Any:
        """One command on the device."""
        places = ["--state-directory", str(self.state), "--configuration-directory", str(self.device / "etc")]
        code, answer = run_suture(*words, *places)
        if expect is not None:
            assert code == expect, (words, code, answer)
        return answer

    def product(self) -> dict[str, Any]:
        """The product's part of the status."""
        found: dict[str, Any] = self.suture("status")["products"][0]
        return found

    def visible(self, component: str = "imaging") -> str:
        """What a program sees through the pointer."""
        return (self.pointer / component / "notes.txt").read_text().strip()


@contextlib.contextmanager
def chain_world(kind: type[ChainWorld] = ChainWorld) -> Iterator[ChainWorld]:
    """A world with nothing published and the device told of the product.

    Not below pytest's own directories: those are private (and made so again by every session that starts), but health
    commands run as another user, who must get through.
    """
    root = Path(tempfile.mkdtemp(prefix="suture-chain-"))
    root.chmod(0o755)
    world = kind(root)
    try:
        world.found()
        world.suture("product", "add", str(world.workshop / "product.json"))
        yield world
    finally:
        world.stop_serving()
        shutil.rmtree(root)
