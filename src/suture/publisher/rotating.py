"""New keys for a role, signed by the old root's threshold, so that every device follows by itself (TUF §6.1).

Where the root names the changed keys, two roots are published around the re-signed metadata: the first names old and
new keys, the second the new ones alone; and the metadata between them is signed by both. So a client that polls between
any two renames, or reads the root before the change and the rest after it, finds signatures that its root knows. (A
lost old key cannot sign: then such a client fails once, and succeeds at its next poll.)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import msgspec

from suture.core.errors import InputError
from suture.publisher.desk import Change, Desk
from suture.publisher.draft import Draft
from suture.publisher.keys import MAXIMUM_KEYS, Keyring, NewKey, make_keys
from suture.publisher.passphrases import Passphrases
from suture.publisher.publication import NewFile
from suture.publisher.setup import new_root, settings_bytes
from suture.publisher.workshop import KeyRecord, KeyRole, WorkshopFile


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What a change of keys came to."""

    change: Change
    settings: WorkshopFile
    added: tuple[KeyRecord, ...]
    retired: tuple[KeyRecord, ...]


def change_keys(
    desk: Desk, role: KeyRole, passphrases: Passphrases, *, count: int, threshold: int | None, retire: bool
) -> KeyChange:
    """Make keys for a role and sign everything that names them.

    Args:
        desk: see `Desk`.
        role: whose keys.
        passphrases: for the new keys, and for the old ones that must sign.
        count: how many new keys.
        threshold: signatures needed from now on; None leaves it.
        retire: the old keys of the role leave; else the new ones join them.

    Raises:
        InputError: a threshold that the keys cannot reach, or too many keys.
        NotKnownError: keys that must sign are missing.
    """
    old = desk.settings
    leaving = old.active(role) if retire else ()
    total = count + (0 if retire else len(old.active(role)))
    needed = threshold if threshold is not None else min(old.thresholds.of(role), total)
    if not 1 <= needed <= total <= MAXIMUM_KEYS:
        raise InputError(f"cannot ask for {needed} signatures of {total} keys (at most {MAXIMUM_KEYS})")
    made = make_keys(role, count, passphrases)
    gone = {record.keyid for record in leaving}
    kept = tuple(
        msgspec.structs.replace(record, retired=True) if record.keyid in gone else record for record in old.keys
    )
    settings = msgspec.structs.replace(
        old,
        keys=(*kept, *(key.record for key in made)),
        thresholds=msgspec.structs.replace(old.thresholds, **{role.value: needed}),
    )
    draft = _draft(desk, role, settings, made, passphrases)
    key_files = [NewFile(f"keys/{key.record.file}", key.pem, mode=0o600) for key in made]
    settings_file = NewFile("workshop.json", settings_bytes(settings), replaces=True)
    change = desk.publish(draft, before=key_files, after=[settings_file])
    return KeyChange(change, settings, tuple(key.record for key in made), leaving)


def _draft(
    desk: Desk, role: KeyRole, settings: WorkshopFile, made: tuple[NewKey, ...], passphrases: Passphrases
) -> Draft:
    keyring = Keyring(desk.workshop, settings, passphrases)
    keyring.add_unlocked(made)
    published = desk.published()
    leaving = [] if role is KeyRole.RELEASE else desk.keyring.signers_here(role)
    known = {key.keyid for key in keyring.public_keys(role)}
    signing_once_more = [signer for signer in leaving if signer.public_key.keyid not in known]
    draft = Draft(published, settings, keyring, desk.now, {role: signing_once_more})
    if role is not KeyRole.RELEASE:
        _put_roots(desk, draft, role, settings, made, published.root.signed.version)
    if role in (KeyRole.RELEASE, KeyRole.ONLINE):
        draft.redelegate(frozenset({role}))
    if role is not KeyRole.ROOT:
        draft.touch("targets" if role in (KeyRole.TARGETS, KeyRole.RELEASE) else "snapshot")
    return draft


def _put_roots(
    desk: Desk, draft: Draft, role: KeyRole, settings: WorkshopFile, made: tuple[NewKey, ...], version: int
) -> None:
    expires = desk.now + timedelta(days=settings.lifetimes.root_days)
    signers = desk.keyring.signers(KeyRole.ROOT)
    if role is KeyRole.ROOT:
        both = [*signers, *(key.signer for key in made)]
        draft.put_roots([(new_root(settings.keys, settings.thresholds, expires, version=version + 1), both)])
        return
    # In between: old and new keys, and the lower threshold, since both the old and the new metadata must verify.
    union = (*desk.settings.keys, *(key.record for key in made))
    lower = min(desk.settings.thresholds.of(role), settings.thresholds.of(role))
    thresholds = msgspec.structs.replace(settings.thresholds, **{role.value: lower})
    between = new_root(union, thresholds, expires, version=version + 1)
    after = new_root(settings.keys, settings.thresholds, expires, version=version + 2)
    draft.put_roots([(between, signers)], [(after, signers)])
