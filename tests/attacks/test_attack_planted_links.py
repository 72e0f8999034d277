"""Links and directories planted on the device, to make a root daemon read or write elsewhere."""

from __future__ import annotations

import pytest
from attack_world import World

from suture.core.errors import (
    StorageError,
)
from suture.trust.paths import manifest_path


def test_a_trust_directory_that_is_a_symbolic_link_is_refused(world: World) -> None:
    elsewhere = world.path / "elsewhere"
    elsewhere.mkdir()
    world.trust.symlink_to(elsewhere)
    with pytest.raises(StorageError, match="symbolic link"):
        world.poll()
    assert list(elsewhere.iterdir()) == []
    world.trust.unlink()
    world.trust.mkdir(mode=0o755)
    (world.trust / "metadata").symlink_to(elsewhere)
    with pytest.raises(StorageError, match="symbolic link"):
        world.poll()
    assert list(elsewhere.iterdir()) == []


def test_links_planted_for_metadata_files_are_replaced_and_never_followed(world: World) -> None:
    world.poll()
    victim = world.path / "victim"
    victim.write_bytes(b"precious")
    for name in ("timestamp.json", "snapshot.json", "targets.json", "root_history/2.root.json"):
        (world.trust / "metadata" / name).unlink(missing_ok=True)
        (world.trust / "metadata" / name).symlink_to(victim)
    (world.trust / "held.json").unlink()
    (world.trust / "held.json").symlink_to(victim)
    world.repository.rotate_root("timestamp")
    assert world.poll().changed
    assert victim.read_bytes() == b"precious"
    assert not [path for path in world.trust.rglob("*") if path.is_symlink()]


def test_nothing_is_written_to_the_public_temporary_directory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setenv("TMPDIR", "/nonexistent")
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    world.poll()
    with world.client() as client:
        client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 1), 100)
