"""Forgery: metadata that was changed, or signed by somebody else or by too few."""

from __future__ import annotations

import shutil
from contextlib import suppress

import pytest
from attack_world import RELEASE, World

from suture.core.digests import Digest
from suture.core.errors import (
    SignatureError,
    SutureError,
    TrustError,
)
from suture.testing.http_server import Fault
from suture.testing.repository import SimulatedRepository
from suture.trust.offers import RolloutState


def test_another_first_root_than_the_pinned_one_is_refused(world: World) -> None:
    world.pinned = Digest("sha256:" + "0" * 64)
    with pytest.raises(SignatureError, match="first root"):
        world.poll()
    assert world.trusted_files() == {}


def test_a_whole_repository_signed_by_somebody_else_is_refused(world: World) -> None:
    world.poll()
    other = SimulatedRepository(world.path / "other")
    other.publish(1, b"evil")
    other.publish(2, b"evil")
    world.server.directory = other.directory
    with pytest.raises(SignatureError):
        world.poll()


@pytest.mark.parametrize(
    "pattern", ["timestamp.json", "*.snapshot.json", "*.targets.json", "*.release-*", "*.rollout-*"]
)
def test_flipped_metadata_is_never_an_answer_with_something_new(world: World, pattern: str) -> None:
    before = world.poll()
    world.repository.documents["targets"].version += 1
    world.repository._write_role("targets")
    world.repository.publish(2, b'{"level": 2}')
    files = {name: data for name, data in world.trusted_files().items() if name.startswith(("documents", "held"))}
    world.server.set_fault(f"/metadata/{pattern}", Fault.FLIPPED)
    if "rollout" in pattern:  # nothing new is offered, and nothing else is held up
        answer = world.poll()
        assert answer.rollout.state is RolloutState.UNUSABLE
        assert len(answer.index.levels) == 2
        return
    with pytest.raises(TrustError):
        world.poll()
    assert {name: world.trusted_files()[name] for name in files} == files
    world.server.clear_faults()
    assert len(world.poll().index.levels) == len(before.index.levels) + 1


@pytest.mark.slow
def test_every_flipped_bit_of_a_timestamp_is_refused_or_means_the_same(world: World) -> None:
    world.poll()
    world.repository.publish(2, b'{"level": 2}')
    file = world.repository.directory / "metadata/timestamp.json"
    honest = file.read_bytes()
    for position in range(len(honest)):
        flipped = bytearray(honest)
        flipped[position] ^= 1 << (position % 8)
        file.write_bytes(flipped)
        shutil.copytree(world.trust, world.path / "kept")
        with suppress(SutureError):
            assert len(world.poll().index.levels) in (1, 2)
        world.empty_cache()
        (world.path / "kept").rename(world.trust)


def test_below_the_threshold_is_a_bad_signature(world: World) -> None:
    world.poll()
    world.repository.signers[RELEASE] = world.repository.signers[RELEASE][:1]
    world.repository.publish(2, b'{"level": 2}')
    with pytest.raises(SignatureError):
        world.poll()
