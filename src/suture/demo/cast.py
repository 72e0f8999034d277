"""Who plays in the demo, each as its own processes: the publisher, the device's service, its agent, its clients.

Every method is one thing that a person or an administrator would do, by the commands that they would type.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suture.core.errors import ServiceError
from suture.demo.commands import Commands, suture_command
from suture.demo.outside import ask
from suture.demo.pairs import Pair
from suture.demo.processes import Processes
from suture.demo.stage import COMPONENT, PRODUCT, RELEASE, SERVICE, Stage, service_command

POLL_INTERVAL = "2s"
READY_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Cast:
    """The publisher, the device and its clients on one stage."""

    stage: Stage
    pair: Pair
    processes: Processes
    commands: Commands

    # --- the publisher --------------------------------------------------------------------------------------------

    def open_workshop(self) -> None:
        """Keys, an empty signed repository, and the product file to hand out."""
        for name in ("offline", "online"):
            path = self.stage.publisher / f"{name}-passphrase"
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24) + "\n", encoding="ascii")
        describe = self.stage.publisher / "describe.json"
        describe.write_text(json.dumps(self._description(), indent=2), encoding="utf-8")
        self._publisher("init", self.stage.workshop, "--describe", describe)

    def _description(self) -> dict[str, object]:
        address = f"http://127.0.0.1:{self.stage.service_port}"
        return {
            "product": PRODUCT,
            "title": "Darkroom",
            "vendor": "Darkroom Works",
            "release": {"kind": "file", "path": str(self.stage.installed / "RELEASE")},
            "root": str(self.stage.baseline),
            "pointer": str(self.stage.pointer),
            "components": [{"name": COMPONENT, "path": COMPONENT}],
            "repositories": [f"http://127.0.0.1:{self.stage.repository_port}"],
            "services": [SERVICE],
            "urls": [{"name": "health", "url": f"{address}/health"}],
        }

    def _publisher(self, verb: str, *words: str | Path) -> Any:
        passphrases: list[str | Path] = ["--passphrase-file", self.stage.publisher / "offline-passphrase"]
        passphrases += ["--online-passphrase-file", self.stage.publisher / "online-passphrase"]
        return self.commands.suture("publisher", verb, *words, *passphrases)

    def publish(self, tree: str) -> float:
        """Build a level from the baseline's tree and `tree`, and release it; when the release returned."""
        fix = self.pair.fix
        words: list[str | Path] = [self.stage.workshop, "--baseline", RELEASE, "--component", COMPONENT]
        words += ["--old", self.stage.trees / "old", "--new", self.stage.trees / tree]
        words += ["--cve", fix.cve, "--severity", fix.severity, "--title", fix.title]
        words += ["--purl", f"pkg:pypi/{self.pair.package.lower()}@{self.pair.old}"]
        words += ["--known-exploited"] if fix.known_exploited else []
        words += ["--restart-service", SERVICE, "--health", "http:health", "--no-full-size"]
        built = self.commands.suture("publisher", "build", *words)
        self._publisher("release", self.stage.workshop, str(built["level"]))
        return time.monotonic()

    def recall(self, *levels: int) -> float:
        """Recall levels; when the command returned."""
        numbers = [str(level) for level in levels]
        self._publisher("recall", self.stage.workshop, *numbers, "--reason", "(b) does not decode WebP")
        return time.monotonic()

    def serve(self) -> None:
        """Serve the repository's static files."""
        ready = self.stage.publisher / "serving"
        words: list[str | Path] = [suture_command(), "publisher", "serve", self.stage.workshop]
        words += ["--listen", f"127.0.0.1:{self.stage.repository_port}", "--ready-file", ready]
        words += ["--log", self.stage.logs / "repository-requests.log"]
        self.processes.start("repository", words)
        self._until("the repository is served", ready.exists)

    # --- the device -----------------------------------------------------------------------------------------------

    def learn_product(self) -> None:
        """The device is told of the product once, and how often to look: the only setting that the demo changes."""
        self.commands.suture("product", "add", self.stage.workshop / "product.json")
        self.commands.suture("settings", "set", "poll-interval", POLL_INTERVAL)

    def start_service(self) -> None:
        """The thumbnail service under `suture supervise`."""
        words: list[str | Path] = [suture_command(), "supervise", "--name", SERVICE, "--product", PRODUCT]
        words += ["--listen", f"127.0.0.1:{self.stage.service_port}", "--", *service_command(self.stage)]
        self.processes.start("service", words)
        self._until("the service is healthy", self._is_healthy)

    def _is_healthy(self) -> bool:
        try:
            return ask(self.stage.service_port, "/health")[0] == 200
        except ServiceError:
            return False

    def start_agent(self) -> None:
        """The agent, which looks for itself from now on."""
        self.processes.start("agent", [suture_command(), "agent", "run"])

    def start_load(self) -> None:
        """The clients."""
        words: list[str | Path] = [sys.executable, "-m", "suture.demo.load", "--port", str(self.stage.service_port)]
        words += ["--expectations", self.stage.expectations, "--record", self.stage.requests]
        self.processes.start("load", words)

    # --- what only the demo does ----------------------------------------------------------------------------------

    def trace_agent(self, trace: Path) -> bool:
        """Let strace count the running agent's connects; False where there is no strace."""
        if shutil.which("strace") is None:
            return False
        agent = self.processes.running["agent"].process.pid
        words: list[str | Path] = ["strace", "-f", "-e", "trace=connect", "-o", trace, "-p", str(agent)]
        tracer = self.processes.start("strace", words)
        self.processes.finite["strace"] = self.processes.running.pop("strace")  # it may end: not every host allows it
        attached = Path(f"/proc/{agent}/status")
        self._until(
            "strace watches the agent",
            lambda: f"TracerPid:\t{tracer.process.pid}\n" in attached.read_text() or tracer.process.poll() is not None,
        )
        attempt = self.processes.finite.pop("strace")
        if tracer.process.poll() is not None:
            return False
        self.processes.running["strace"] = attempt
        return True

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not holds():
            self.processes.check_alive()
            if time.monotonic() > deadline:
                raise ServiceError(f"cannot wait any longer until {what}: {READY_SECONDS:.0f} s")
            time.sleep(0.05)
