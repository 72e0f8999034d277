"""A device in a temporary directory, driven by the real command in a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suture.agent.places import Places


@dataclass(frozen=True, slots=True)
class CommandDevice:
    """Runs `suture` against one temporary device."""

    base: Path
    places: Places

    def run(self, *words: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command and insist on its exit code and on no traceback."""
        done = subprocess.run(
            [sys.executable, "-m", "suture.cli.main", *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={
                **os.environ,
                "SUTURE_STATE_DIRECTORY": str(self.places.state),
                "SUTURE_CONFIGURATION_DIRECTORY": str(self.places.configuration),
                **environment,
            },
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        """Run with --json; the whole of standard output must be one JSON value."""
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def product_file(self, **change: Any) -> Path:
        """A good product file, with `change`, and the baseline that it names."""
        root = self.base / "darkroom-1.0"
        (root / "lib/imaging").mkdir(parents=True, exist_ok=True)
        document = {
            "format": "suture-product/1",
            "product": "darkroom",
            "title": "Darkroom",
            "vendor": "Acme",
            "release": {"kind": "fixed", "version": "1.0"},
            "root": str(root),
            "components": [{"name": "imaging", "path": "lib/imaging"}],
            "repositories": ["https://updates.example/darkroom"],
            "first_root": "sha256:" + "ab" * 32,
            "pointer": str(self.base / "current"),
            **change,
        }
        path = self.base / "darkroom.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path


def command_device(base: Path) -> CommandDevice:
    """A device below `base` on which nothing has happened."""
    return CommandDevice(base, Places(base / "state", base / "configuration"))
