"""A product with 200 releases of 20 levels each: what one device downloads, and what one more level costs to publish.

The repository is the publisher's own, signed with real keys and thresholds. Of 199 releases only the metadata is real
(no file of theirs changes a byte that this device fetches); the measured one is built and released by the commands. The
server compresses, as any web server can. The device is the agent's own client; bytes are heads and bodies as it
received them, before TLS. Publishing is `suture publisher release` in a fresh process. Writes build/bench/scale.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from accounting import KEPT, keep, machine, measure

from suture.adapters.clock import SystemClock
from suture.adapters.fetch import Fetcher
from suture.adapters.tuf_client import RepositoryClient
from suture.core.canonical import canonical_json
from suture.core.clock import format_time
from suture.core.digests import Digest, digest_bytes
from suture.publisher.desk import Desk
from suture.publisher.draft import Draft, target_of
from suture.publisher.keys import Keyring
from suture.publisher.passphrases import Passphrases
from suture.publisher.workshop import open_workshop
from suture.testing.http_server import RepositoryServer, serve
from suture.trust.documents import Index, IndexedLevel, Rollout, Share
from suture.trust.floors import Floors
from suture.trust.paths import (
    advisory_path,
    index_path,
    manifest_path,
    patch_path,
    release_role,
    rollout_path,
    rollout_role,
)

PRODUCT = "darkroom"
MEASURED = "1.0-x86_64"
PATCH_BYTES = 2_500
PATCHES_A_LEVEL = 4
"""From the baseline and from the three levels before."""
AIMS = {"first_visit": 20_000, "no_change": 1_000, "new_level_without_patch": 12_000, "publish_cpu_seconds": 1.0}
DESCRIPTION = {
    "product": PRODUCT,
    "title": "Darkroom",
    "vendor": "Example",
    "release": {"kind": "fixed", "version": "1.0"},
    "root": "/opt/darkroom/baseline",
    "pointer": "/opt/darkroom/current",
    "architecture": "x86_64",
    "components": [{"name": "imaging", "path": "imaging"}],
    "repositories": ["https://updates.example.org/darkroom"],
}


class Vendor:
    """A workshop whose repository is as large as asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workshop = root / "workshop"
        self.secret = root / "passphrase"
        self.secret.write_text("correct horse battery staple")
        self.secret.chmod(0o600)
        describe = root / "describe.json"
        describe.write_text(json.dumps(DESCRIPTION))
        self.command("init", "--describe", str(describe), *self.both)

    @property
    def both(self) -> list[str]:
        return ["--passphrase-file", str(self.secret), "--online-passphrase-file", str(self.secret)]

    def command(self, name: str, *words: str) -> float:
        """Run one publisher command; its CPU seconds."""
        cost, _ = measure([sys.executable, "-m", "suture", "publisher", name, str(self.workshop), *words])
        return cost.cpu_seconds

    def fill(self, releases: int, levels: int) -> None:
        """Delegate the releases and list their levels, in one publication."""
        workshop = open_workshop(self.workshop)
        with workshop.changing("fill the repository") as settings:
            passphrases = Passphrases(
                offline_files=[self.secret], online_file=self.secret, environment=os.environ, ask=None
            )
            keyring = Keyring(workshop, settings, passphrases)
            desk = Desk(workshop, settings, keyring, datetime.now(UTC))
            draft = desk.draft(desk.published())
            for number in range(1, releases):
                identity = f"{number + 1}.0-x86_64"
                draft.delegate_baseline(identity)
                _put_release(draft, identity, levels, desk.time)
            desk.publish(draft)

    def next_level(self, level: int) -> float:
        """Build a level of small real trees, release it; the CPU seconds of the release."""
        old, new = self.root / "old", self.root / f"new-{level}"
        for tree, text in ((old, "1.0"), (new, f"1.{level}")):
            tree.mkdir(exist_ok=True)
            (tree / "engine.so").write_bytes(hashlib.sha256(b"engine").digest() * 20_000 + text.encode())
        words = ["--baseline", MEASURED, "--level", str(level), "--component", "imaging", "--no-full-size"]
        words += ["--old", str(old), "--new", str(new), "--cve", f"CVE-2026-{1000 + level}", "--severity", "high"]
        self.command("build", *words, "--title", "An overflow", "--purl", "pkg:pypi/pillow@10.0.1")
        return self.command("release", str(level), "--baseline", MEASURED, *self.both)


def _put_release(draft: Draft, identity: str, levels: int, now: str) -> None:
    """List a release's levels; only index and rollout document become files, since the publisher reads them back."""
    role, entries = release_role(identity), []

    def put(role: str, path: str, data: bytes, *, file: bool = False) -> None:
        target = target_of(path, digest_bytes(data), len(data))
        if file:
            draft.put_target(role, target, data)
        else:
            draft._delegated[role].targets[path] = target

    for level in range(1, levels + 1):
        manifest = json.dumps({"level": level, "of": identity, "filler": os.urandom(700).hex()}).encode()
        entries.append(IndexedLevel(level, digest_bytes(manifest), len(manifest)))
        put(role, manifest_path(PRODUCT, identity, level), manifest)
        put(role, advisory_path(PRODUCT, identity, level), os.urandom(4000))
        for origin in sorted({0, *range(max(0, level - PATCHES_A_LEVEL + 1), level)}):
            path = patch_path(PRODUCT, identity, level, "imaging", origin)
            put(role, path, os.urandom(PATCH_BYTES))
    index = Index("suture-index/1", PRODUCT, identity, now, tuple(entries))
    put(role, index_path(PRODUCT, identity), canonical_json(msgspec.to_builtins(index)), file=True)
    shares = tuple(Share(one.level, one.digest, 1000) for one in entries[-2:])
    rollout = Rollout("suture-rollout/1", PRODUCT, identity, now, shares)
    data = canonical_json(msgspec.to_builtins(rollout))
    put(rollout_role(identity), rollout_path(PRODUCT, identity), data, file=True)


class Device:
    """One device's trust in one product."""

    def __init__(self, place: Path, pinned: Digest, url: str) -> None:
        self._place, self._pinned, self._url = place, pinned, url
        self._floors = Floors()

    def visit(self, levels_to_read: int = 0) -> tuple[int, int]:
        """Poll, read the manifests of so many highest levels; bytes received and requests made."""
        clock = SystemClock()
        with RepositoryClient(
            PRODUCT, MEASURED, self._place, [self._url], self._pinned, self._floors, clock, fetcher=Fetcher(clock)
        ) as client:
            answer = client.poll()
            for entry in answer.index.levels[len(answer.index.levels) - levels_to_read :]:
                client.fetch_document(manifest_path(PRODUCT, MEASURED, entry.level), 100_000, entry.digest)
            self._floors = client.floors
            return client.traffic.bytes_received, client.traffic.requests


def measure_scale(root: Path, releases: int, levels: int) -> dict[str, Any]:
    """All of it."""
    vendor = Vendor(root)
    vendor.fill(releases, levels)
    for level in range(1, levels + 1):
        vendor.next_level(level)
    repository = vendor.workshop / "repository"
    pinned = digest_bytes((repository / "metadata/1.root.json").read_bytes())
    with serve(repository) as server:
        server.compress()
        device = Device(root / "trust", pinned, server.url)
        first = device.visit()
        parts = _parts(server)
        first_with_manifest = Device(root / "trust-2", pinned, server.url).visit(levels_to_read=1)
        unchanged = device.visit()
        cpu = vendor.next_level(levels + 1)
        server.clear_log()
        new = device.visit(levels_to_read=1)
        new_parts = _parts(server)
        refresh_cpu = vendor.command("refresh", "--force", "--online-passphrase-file", str(vendor.secret))
        server.clear_log()
        refreshed = device.visit()
        refreshed_parts = _parts(server)
    return {
        "at": format_time(datetime.now(UTC).replace(microsecond=0)),
        "releases": releases,
        "levels": levels,
        "first_visit": {"bytes": first[0], "requests": first[1], "parts": parts},
        "first_visit_and_manifest": {"bytes": first_with_manifest[0], "requests": first_with_manifest[1]},
        "no_change": {"bytes": unchanged[0], "requests": unchanged[1]},
        "new_level_without_patch": {"bytes": new[0], "requests": new[1], "parts": new_parts},
        "signed_again_without_news": {"bytes": refreshed[0], "requests": refreshed[1], "parts": refreshed_parts},
        "publish_cpu_seconds": cpu,
        "refresh_cpu_seconds": refresh_cpu,
        "twenty_products_no_change": {"bytes": 20 * unchanged[0], "requests": 20 * unchanged[1]},
        "aims": AIMS,
        "machine": machine(),
    }


def _parts(server: RepositoryServer) -> dict[str, int]:
    """Bytes of answers by file."""
    return {one.path.rpartition("/")[2][-60:]: one.body_bytes + one.head_bytes for one in server.log}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=KEPT / "scale.json")
    parser.add_argument("--releases", type=int, default=200)
    parser.add_argument("--levels", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="suture-scale-") as name:
        figures = measure_scale(Path(name), options.releases, options.levels)
    keep(figures, options.output)
    json.dump(figures, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
