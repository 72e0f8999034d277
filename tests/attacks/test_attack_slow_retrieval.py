"""Slow retrieval: a server that answers, but so slowly that nothing ever arrives (TUF specification §1.5.2)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from attack_world import MANIFEST_2, World

from suture.core.digests import digest_bytes
from suture.core.errors import SlowError, UnreachableError
from suture.testing.http_server import Fault
from suture.trust.paths import patch_path


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.TRICKLE, Fault.TRICKLE_HEADERS])
@pytest.mark.parametrize(
    "pattern",
    ["/metadata/timestamp.json", "/metadata/*.snapshot.json", "/metadata/2.root.json", "*index.json"],
)
def test_one_deadline_holds_over_all_of_a_poll(world: World, fault: Fault, pattern: str) -> None:
    world.poll()
    world.repository.rotate_root("timestamp")
    world.repository.publish(2, MANIFEST_2)
    world.deadline_seconds = 0.4
    world.server.set_fault(pattern, fault, step_seconds=0.02)
    begun = time.monotonic()
    with pytest.raises(SlowError):
        world.poll()
    assert time.monotonic() - begun < 2
    world.server.clear_faults()
    world.deadline_seconds = 5
    assert len(world.poll().index.levels) == 2


def test_a_trickle_is_given_up_long_before_the_deadline(world: World) -> None:
    world.window_seconds = 0.2
    world.deadline_seconds = 60
    world.server.set_fault("*", Fault.TRICKLE, step_seconds=0.02)
    begun = time.monotonic()
    with pytest.raises(SlowError, match="too slowly"):
        world.poll()
    assert time.monotonic() - begun < 5


def test_a_patch_that_trickles_leaves_what_came_for_the_next_try(world: World, tmp_path: Path) -> None:
    path = patch_path("darkroom", "1.0-x86_64", 2, "imaging", 0)
    world.repository.publish(2, MANIFEST_2, [(path, b"p" * 500_000)])
    staged = tmp_path / "staged"
    with world.client() as client:
        client.poll()
        world.server.break_once("/targets/*imaging*", after_bytes=300_000)
        with pytest.raises(UnreachableError):
            client.fetch_patch(path, digest_bytes(b"p" * 500_000), 500_000, staged)
        (partial,) = tmp_path.glob(".staged*.part")
        assert partial.stat().st_size == 300_000
        client.fetch_patch(path, digest_bytes(b"p" * 500_000), 500_000, staged)
    assert staged.stat().st_size == 500_000
