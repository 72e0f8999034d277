"""Paths in signed documents that lead elsewhere (go-tuf CVE-2026-24686)."""

from __future__ import annotations

import pytest
from attack_world import World

from suture.core.errors import (
    RepositoryError,
)


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "improvements/../x", "/etc/passwd", "improvements/a/b/c\r\nHost: x"]
)
def test_a_path_from_a_manifest_that_leads_elsewhere_is_not_asked_for(world: World, path: str) -> None:
    with world.client() as client:
        client.poll()
        world.server.clear_log()
        with pytest.raises(RepositoryError, match="target's path"):
            client.fetch_document(path, 100)
        assert world.server.log == ()
