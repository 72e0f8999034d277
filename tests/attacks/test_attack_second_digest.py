"""A second digest for a known level: the same name, other bytes, rightly signed."""

from __future__ import annotations

from pathlib import Path

import pytest
from attack_world import World

from suture.core.digests import digest_bytes
from suture.core.errors import (
    RepositoryError,
    SecondDigestError,
)
from suture.trust.paths import patch_path


def test_a_second_digest_for_a_known_level_is_refused_even_with_an_emptied_cache(world: World) -> None:
    world.known_index = world.poll().index
    files = world.trusted_files()
    world.repository.publish(1, b'{"level": 1, "evil": true}')
    with pytest.raises(SecondDigestError, match="level 1"):
        world.poll()
    kept = {name: data for name, data in world.trusted_files().items() if name.startswith(("documents", "held"))}
    assert kept == {name: data for name, data in files.items() if name.startswith(("documents", "held"))}
    world.empty_cache()
    with pytest.raises(SecondDigestError, match="level 1"):
        world.poll()


def test_a_patch_whose_manifest_disagrees_with_tufs_metadata_is_not_fetched(world: World, tmp_path: Path) -> None:
    path = patch_path("darkroom", "1.0-x86_64", 2, "imaging", 0)
    world.repository.publish(2, b'{"level": 2}', [(path, b"patch")])
    with world.client() as client:
        client.poll()
        for digest, size in ((digest_bytes(b"other"), 5), (digest_bytes(b"patch"), 6)):
            with pytest.raises(RepositoryError):
                client.fetch_patch(path, digest, size, tmp_path / "staged")
        client.fetch_patch(path, digest_bytes(b"patch"), 5, tmp_path / "staged")
    assert (tmp_path / "staged").read_bytes() == b"patch"
