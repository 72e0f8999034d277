"""Redirects: a server that sends devices elsewhere, to a host that learns of them or serves something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from attack_world import MANIFEST_2, World

from suture.core.digests import digest_bytes
from suture.core.errors import UnreachableError
from suture.testing.http_server import Fault, serve
from suture.trust.paths import patch_path


@pytest.mark.parametrize(
    "pattern",
    ["/metadata/timestamp.json", "/metadata/1.root.json", "/metadata/*.snapshot.json", "*index.json"],
)
def test_a_redirect_is_no_answer_and_its_target_is_never_asked(world: World, pattern: str) -> None:
    with serve(world.repository.directory) as elsewhere:
        world.server.set_fault(pattern, Fault.REDIRECT, redirect_to=elsewhere.url)
        with pytest.raises(UnreachableError, match="redirects"):
            world.poll()
        assert elsewhere.log == ()
        assert elsewhere.connections == 0


def test_a_redirect_of_a_patch_is_not_followed(world: World, tmp_path: Path) -> None:
    path = patch_path("darkroom", "1.0-x86_64", 2, "imaging", 0)
    world.repository.publish(2, MANIFEST_2, [(path, b"patch")])
    with serve(world.repository.directory) as elsewhere, world.client() as client:
        client.poll()
        world.server.set_fault("/targets/*imaging*", Fault.REDIRECT, redirect_to=elsewhere.url)
        with pytest.raises(UnreachableError, match="redirects"):
            client.fetch_patch(path, digest_bytes(b"patch"), 5, tmp_path / "staged")
        assert elsewhere.connections == 0
    assert not (tmp_path / "staged").exists()
