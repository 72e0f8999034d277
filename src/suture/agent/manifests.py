"""Manifests that this device has verified, kept for what must work offline: restarts, removal, answers about CVEs.

A kept manifest is believed only where its bytes have the digest that the journal knows.
"""

from __future__ import annotations

from pathlib import Path

from suture.adapters.files import make_directory, read_file_if_there, write_file
from suture.core.digests import digest_bytes
from suture.core.identifiers import check_name
from suture.core.level import check_level
from suture.core.limits import MAXIMUM_MANIFEST_BYTES
from suture.core.version import VERSION
from suture.improvement.manifest import Manifest
from suture.improvement.manifest_rules import parse_manifest


class ManifestShelf:
    """A private directory of manifests by product, baseline and level."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, product: str, baseline: str, level: int) -> Path:
        return self._root / check_name(product, "a product") / baseline / f"{check_level(level)}.json"

    def keep(self, product: str, baseline: str, level: int, data: bytes) -> Manifest:
        """Judge and keep a manifest's bytes.

        Raises:
            ImprovementError: (or a kind of it) it is not one for this product, baseline and level.
        """
        manifest = self.parse(product, baseline, level, data)
        path = self._path(product, baseline, level)
        make_directory(path.parent)
        write_file(path, data)
        return manifest

    def parse(self, product: str, baseline: str, level: int, data: bytes) -> Manifest:
        """Judge a manifest's bytes; errors as `keep`."""
        return parse_manifest(data, agent_version=VERSION, product=product, baseline_identity=baseline, level=level)

    def get(self, product: str, baseline: str, level: int, digest: str) -> Manifest | None:
        """The kept manifest with exactly that digest, or None."""
        data = read_file_if_there(self._path(product, baseline, level), maximum_bytes=MAXIMUM_MANIFEST_BYTES)
        if data is None or digest_bytes(data) != digest:
            return None
        return self.parse(product, baseline, level, data)
