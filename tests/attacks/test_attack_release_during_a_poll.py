"""Two releases published during one poll: no attack, and a client must not take it for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attack_world import MANIFEST_2, RELEASE, World

from suture.adapters.clock import SystemClock
from suture.adapters.fetch import Fetcher
from suture.adapters.fetch_answers import Answer
from suture.core.errors import UnreachableError
from suture.trust.offers import RolloutState


class Meanwhile(Fetcher):
    """Our fetcher; the publisher acts once, right after an answer to a path that ends so."""

    def __init__(self, ending: str, act: Callable[[], None]) -> None:
        super().__init__(SystemClock())
        self._ending = ending
        self._act: Callable[[], None] | None = act

    def get(self, url: str, **words: Any) -> Answer:
        answer = super().get(url, **words)
        if url.endswith(self._ending) and self._act is not None:
            act, self._act = self._act, None
            act()
        return answer


@pytest.mark.parametrize(
    "ending", ["/timestamp.json", ".snapshot.json", ".targets.json", f".{RELEASE}.json", "index.json"]
)
@pytest.mark.parametrize("how", ["first poll", "later poll"])
def test_the_poll_sees_one_whole_state_and_the_next_one_the_newest(world: World, ending: str, how: str) -> None:
    if how == "later poll":
        world.poll()
        world.repository.documents["targets"].version += 1
        world.repository._write_role("targets")
        world.repository.publish(2, MANIFEST_2)
    before = len(world.repository.index.levels)

    def publish_two() -> None:
        for level in (before + 1, before + 2):
            world.repository.publish(level, b'{"level": %d}' % level)

    world.fetcher = Meanwhile(ending, publish_two)
    answer = world.poll()
    assert len(answer.index.levels) == before
    assert answer.rollout.state is RolloutState.PRESENT
    world.fetcher = None
    assert len(world.poll().index.levels) == before + 2


def test_a_publisher_that_sweeps_at_once_costs_one_poll_and_no_distrust(world: World) -> None:
    """Files of the previous snapshot should stay for a day (spec/repository.md §1); one that does not wait."""
    world.poll()
    world.repository.publish(2, MANIFEST_2)

    def publish_and_sweep() -> None:
        old = world.repository.metadata_file("snapshot")
        world.repository.publish(3, b'{"level": 3}')
        old.unlink()

    world.fetcher = Meanwhile("/timestamp.json", publish_and_sweep)
    with pytest.raises(UnreachableError):
        world.poll()
    world.fetcher = None
    assert len(world.poll().index.levels) == 3
