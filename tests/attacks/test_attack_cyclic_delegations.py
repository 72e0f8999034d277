"""Cyclic delegations: two roles that delegate to each other, to keep a client walking."""

from __future__ import annotations

from datetime import timedelta

from attack_world import MANIFEST_2, RELEASE, World
from securesystemslib.signer import (  # type: ignore[attr-defined]  # re-exported without __all__
    CryptoSigner,
    Key,
)
from tuf.api.metadata import (  # type: ignore[attr-defined]  # re-exported without __all__
    DelegatedRole,
    Delegations,
    MetaFile,
    Snapshot,
    Targets,
)

from suture.trust.paths import index_path


def test_a_circle_of_roles_is_walked_once(world: World) -> None:
    repository = world.repository
    signer = CryptoSigner.generate_ed25519()
    release = repository.documents[RELEASE]
    assert isinstance(release, Targets)
    there = DelegatedRole("circle", [signer.public_key.keyid], 1, False, paths=["*/*/*/*"])
    release.delegations = Delegations({signer.public_key.keyid: signer.public_key}, {"circle": there})
    keys: dict[str, Key] = {one.public_key.keyid: one.public_key for one in repository.signers[RELEASE]}
    back = DelegatedRole(RELEASE, list(keys), len(keys), False, paths=["*/*/*/*"])
    repository.signers["circle"] = [signer]
    repository.lifetimes["circle"] = timedelta(days=7)
    repository.documents["circle"] = Targets(delegations=Delegations(keys, {RELEASE: back}))
    repository._write_role("circle")
    snapshot = repository.documents["snapshot"]
    assert isinstance(snapshot, Snapshot)
    snapshot.meta["circle.json"] = MetaFile(1)
    repository.publish(2, MANIFEST_2)
    assert len(world.poll().index.levels) == 2
    del release.targets[index_path("darkroom", "1.0-x86_64")]
    repository.sign_again(RELEASE)
    world.empty_cache()
    world.server.clear_log()
    assert world.poll().index.levels == ()
    assert len([one for one in world.server.log if "circle" in one.path]) == 1
