"""Release and recall: what needs the product's offline keys. Each command is one publication.

Done twice, a command changes nothing the second time; that is what makes it restartable after `kill -9`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from suture.core.canonical import canonical_json
from suture.core.digests import Digest, digest_bytes
from suture.core.errors import DigestMismatchError, InputError, NotKnownError
from suture.core.limits import MAXIMUM_INDEX_BYTES
from suture.publisher.desk import Change, Desk
from suture.publisher.draft import Draft, target_of
from suture.publisher.earlier import read_index
from suture.publisher.publication import digest_of_file
from suture.publisher.rolling import put_rollout, read_rollout, with_share, without_levels
from suture.publisher.staged import Staged, read_staged
from suture.trust.documents import Index, IndexedLevel, Recall
from suture.trust.paths import index_path, manifest_path, release_role
from suture.trust.verdicts import level_entry, parse_index


def release_level(desk: Desk, identity: str, level: int, *, permille: int) -> Change:
    """Sign a staged level and offer it to a share of the world.

    Args:
        desk: see `Desk`.
        identity: the baseline's.
        level: staged, and higher than every released one.
        permille: thousandths of the world that may install it at once.

    Raises:
        InputError: the number was used for other bytes, or goes backwards.
        NotKnownError: nothing of that level is staged, or keys are missing.
        DigestMismatchError: staged bytes are not those that the manifest names.
    """
    product = desk.settings.product
    published = desk.published()
    index = read_index(published, product, identity)
    staged = read_staged(desk.workshop, product, identity, level)
    if _is_released(index, staged):
        return Change(False)
    _check_staged(staged)
    draft = desk.draft(published)
    if not draft.has_baseline(identity):
        draft.delegate_baseline(identity)
    _put_level(draft, staged, identity)
    added = IndexedLevel(level, staged.digest, len(staged.manifest_bytes))
    _put_index(draft, msgspec.structs.replace(index, issued=desk.time, levels=(*index.levels, added)))
    rollout = read_rollout(published, product, identity)
    put_rollout(draft, with_share(rollout, level, staged.digest, permille), desk.time)
    return desk.publish(draft)


def _is_released(index: Index, staged: Staged) -> bool:
    """Whether exactly these bytes are released already; a used number or one that goes backwards is refused."""
    level = staged.manifest.level
    entry = level_entry(index, level)
    if entry is not None and entry.digest == staged.digest:
        return True
    if entry is not None:
        raise InputError(
            f"cannot release level {level}: it was released with other bytes, and no number is used twice",
            advice="build the next level and release that",
        )
    highest = max((known.level for known in index.levels), default=0)
    if level < highest:
        raise InputError(
            f"cannot release level {level}: level {highest} is released already, and levels never go backwards",
            advice="build the next level and release that",
        )
    return False


def _check_staged(staged: Staged) -> None:
    """What is signed is what was built and proven: bytes in staging may have rotted or been changed since."""
    expected = {patch.target: patch.digest for change in staged.manifest.components for patch in change.patches}
    if staged.manifest.advisory is not None:
        expected[staged.manifest.advisory.target] = staged.manifest.advisory.digest
    for target, path in staged.files().items():
        if digest_of_file(path) != expected[target]:
            raise DigestMismatchError(
                f"cannot release {path}: its bytes are not those that the manifest names",
                advice="build the level again with --replace",
            )


def _put_level(draft: Draft, staged: Staged, identity: str) -> None:
    role = release_role(identity)
    manifest = staged.manifest
    path = manifest_path(manifest.product, identity, manifest.level)
    draft.put_target(role, target_of(path, staged.digest, len(staged.manifest_bytes)), staged.manifest_bytes)
    files = staged.files()
    if manifest.advisory is not None:
        advisory = manifest.advisory
        target = target_of(advisory.target, Digest(advisory.digest), advisory.size)
        draft.put_target(role, target, files[advisory.target])
    for change in manifest.components:
        for patch in change.patches:
            target = target_of(patch.target, Digest(patch.digest), patch.size)
            draft.put_target(role, target, files[patch.target])


def _put_index(draft: Draft, index: Index) -> None:
    data = canonical_json(msgspec.to_builtins(index))
    if len(data) > MAXIMUM_INDEX_BYTES:
        raise InputError(f"cannot write the index: it is larger than {MAXIMUM_INDEX_BYTES:,} bytes")
    parse_index(data, index.product, index.baseline)  # as a device will
    path = index_path(index.product, index.baseline)
    draft.put_target(release_role(index.baseline), target_of(path, digest_bytes(data), len(data)), data)


def recall_levels(desk: Desk, identity: str, levels: Sequence[int], *, reason: str) -> Change:
    """Tell devices to leave levels, signed by the release role.

    Args:
        desk: see `Desk`.
        identity: the baseline's.
        levels: released ones; those recalled already stay as they are.
        reason: a sentence for people.

    Raises:
        NotKnownError: a level was never released, or keys are missing. InputError: no usable reason.
    """
    if not reason.strip() or len(reason) > 500 or not reason.isprintable():
        raise InputError("cannot recall without a reason: one printable line of at most 500 characters")
    product = desk.settings.product
    published = desk.published()
    index = read_index(published, product, identity)
    recalled = {recall.level for recall in index.recalls}
    added = []
    for level in sorted(set(levels)):
        entry = level_entry(index, level)
        if entry is None:
            raise NotKnownError(f"cannot recall level {level} of {product} {identity}: it was never released")
        if level not in recalled:
            added.append(Recall(level, entry.digest, desk.time, reason))
    draft = desk.draft(published)
    if added:
        recalls = tuple(sorted((*index.recalls, *added), key=lambda recall: recall.level))
        _put_index(draft, msgspec.structs.replace(index, issued=desk.time, recalls=recalls))
        rollout = read_rollout(published, product, identity)
        put_rollout(draft, without_levels(rollout, {recall.level for recall in added}), desk.time)
    return desk.publish(draft)
