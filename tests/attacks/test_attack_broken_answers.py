"""Answers that are none: errors, half bodies, encodings, silence. They change nothing that is held."""

from __future__ import annotations

import pytest
from attack_world import World

from suture.core.digests import digest_bytes
from suture.core.errors import (
    NetworkError,
    RepositoryError,
    SlowError,
    SutureError,
    UnreachableError,
)
from suture.testing.http_server import Fault


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.SERVER_ERROR, UnreachableError),
        (Fault.NOT_FOUND, UnreachableError),
        (Fault.REDIRECT, UnreachableError),
        (Fault.TRUNCATED, UnreachableError),
        (Fault.GZIP, UnreachableError),
        (Fault.ENDLESS, (UnreachableError, RepositoryError)),
        (Fault.HANG, SlowError),
        (Fault.TRICKLE, SlowError),
        (Fault.TRICKLE_HEADERS, SlowError),
    ],
)
@pytest.mark.parametrize("pattern", ["/metadata/timestamp.json", "/metadata/*.snapshot.json", "/targets/*index.json"])
def test_a_fault_on_the_way_is_no_answer_and_changes_nothing(
    world: World, fault: Fault, error: type[SutureError], pattern: str
) -> None:
    before = world.poll()
    world.repository.publish(2, b'{"level": 2}')
    files = {name: data for name, data in world.trusted_files().items() if name.startswith(("documents", "held"))}
    world.deadline_seconds = 0.5 if error is SlowError else 5.0
    world.server.set_fault(pattern, fault, step_seconds=0.05)
    with pytest.raises(error):
        world.poll()
    assert {name: world.trusted_files()[name] for name in files} == files
    world.server.clear_faults()
    world.deadline_seconds = 5.0
    assert len(world.poll().index.levels) == len(before.index.levels) + 1


def test_a_stopped_server_is_unreachable(world: World) -> None:
    world.poll()
    world.server.close()
    with pytest.raises(UnreachableError):
        world.poll()


def test_all_network_errors_are_one_kind(world: World) -> None:
    world.base_urls = ["http://127.0.0.1:9"]
    with pytest.raises(NetworkError):
        world.poll()
    assert digest_bytes(b"") != world.pinned
