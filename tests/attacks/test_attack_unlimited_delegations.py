"""Unlimited delegations: a chain of roles without end, each to be fetched and verified."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from attack_world import MANIFEST_2, RELEASE, World
from securesystemslib.signer import (  # type: ignore[attr-defined]  # re-exported without __all__
    CryptoSigner,
)
from tuf.api.metadata import (  # type: ignore[attr-defined]  # re-exported without __all__
    DelegatedRole,
    Delegations,
    MetaFile,
    Snapshot,
    Targets,
)

from suture.core.errors import RepositoryError
from suture.trust.paths import index_path, manifest_path


def delegate_on(world: World, count: int) -> None:
    """`count` roles, each delegating everything to the next, reached from the release role."""
    names = [RELEASE, *(f"more-{number}" for number in range(count))]
    repository = world.repository
    for parent, child in pairwise(names):
        signer = CryptoSigner.generate_ed25519()
        repository.signers[child] = [signer]
        repository.lifetimes[child] = timedelta(days=7)
        repository.documents[child] = Targets()
        document = repository.documents[parent]
        assert isinstance(document, Targets)
        role = DelegatedRole(child, [signer.public_key.keyid], 1, False, paths=["*/*/*/*", "*/*/*"])
        document.delegations = Delegations({signer.public_key.keyid: signer.public_key}, {child: role})
    snapshot = repository.documents["snapshot"]
    assert isinstance(snapshot, Snapshot)
    for name in names[1:]:
        repository._write_role(name)
        snapshot.meta[f"{name}.json"] = MetaFile(1)


def test_a_look_up_visits_a_bounded_number_of_roles(world: World) -> None:
    delegate_on(world, 40)
    world.repository.publish(2, MANIFEST_2)
    with world.client() as client:
        assert len(client.poll().index.levels) == 2
        world.server.clear_log()
        with pytest.raises(RepositoryError, match="beyond the roles"):
            client.fetch_document(manifest_path("darkroom", "1.0-x86_64", 9), 100)
        assert world.server.log == (), "after the poll no further role is fetched at all"


def test_a_poll_whose_index_lies_behind_the_chain_gives_up_in_time(world: World) -> None:
    delegate_on(world, 40)
    release = world.repository.documents[RELEASE]
    assert isinstance(release, Targets)
    del release.targets[index_path("darkroom", "1.0-x86_64")]
    world.repository.sign_again(RELEASE)
    assert world.poll().index.levels == ()
    assert len([one for one in world.server.log if "more-" in one.path]) <= 8
