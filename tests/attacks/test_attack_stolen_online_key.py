"""A stolen online key: it may delay, and never install, recall, remove or hold up a recall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from attack_world import ROLLOUT, World

from suture.core.errors import (
    RepositoryError,
)
from suture.trust.offers import RolloutState


def test_the_online_key_cannot_answer_for_the_index(world: World) -> None:
    world.poll()
    path = f"{world.repository.prefix()}/2.json"
    world.repository.add_target(path, b"evil", role=ROLLOUT)
    world.repository.write_rollout()
    with world.client() as client:
        client.poll()
        with pytest.raises(RepositoryError, match="does not list"):
            client.fetch_document(path, 100)


def test_an_expired_rollout_role_offers_nothing_new_and_says_since_when(world: World) -> None:
    world.poll()
    world.repository.lifetimes[ROLLOUT] = timedelta(hours=-2)
    world.repository.sign_again(ROLLOUT)
    world.repository.recall(1)
    for _ in range(2):
        answer = world.poll()
        assert answer.rollout.state is RolloutState.EXPIRED
        assert answer.rollout.since == world.repository.now - timedelta(hours=2)
        assert len(answer.index.recalls) == 1


def test_a_rollout_role_that_expires_between_polls_is_expired_without_a_request_more(world: World) -> None:
    world.repository.lifetimes[ROLLOUT] = timedelta(days=2)
    world.repository.sign_again(ROLLOUT)
    assert world.poll().rollout.state is RolloutState.PRESENT
    world.clock.moment = datetime.now(UTC) + timedelta(days=3)
    answer = world.poll()
    assert not answer.changed
    assert answer.rollout.state is RolloutState.EXPIRED
    world.clock.moment = None
    assert world.poll().rollout.state is RolloutState.PRESENT


def test_a_missing_rollout_document_is_no_error(world: World) -> None:
    world.repository.rollout = None
    world.repository.write_rollout()
    for _ in range(2):
        assert world.poll().rollout.state is RolloutState.MISSING


@pytest.mark.parametrize("data", [b"junk", b"{}", b'{"format":"suture-rollout/2"}', b"[" * 30_000, b"x" * 70_000])
def test_a_rollout_document_that_makes_no_sense_holds_up_no_recall(world: World, data: bytes) -> None:
    world.repository.recall(1)
    world.repository.write_rollout(data)
    answer = world.poll()
    assert answer.rollout.state is RolloutState.UNUSABLE
    assert answer.rollout.reason
    assert len(answer.index.recalls) == 1
    assert world.poll().rollout == answer.rollout


def test_a_pause_arrives_with_its_end(world: World) -> None:
    until = world.repository.now + timedelta(hours=6)
    world.repository.pause(until)
    document = world.poll().rollout.document
    assert document is not None
    assert document.pause is not None
