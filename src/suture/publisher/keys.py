"""Keys: Ed25519 (RFC 8032) in encrypted PKCS#8 PEM files (RFC 5958), made and unlocked by `cryptography`.

Cryptography is the libraries' alone. A private key is written only encrypted and mode 0600, and never printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]  # re-exported without __all__

from suture.adapters.files import read_file
from suture.core.errors import InputError, NotKnownError, UsageError
from suture.publisher.passphrases import Passphrases
from suture.publisher.workshop import KeyRecord, KeyRole, Workshop, WorkshopFile

_MAXIMUM_KEY_BYTES = 16 * 1024
MAXIMUM_KEYS = 20
"""A role with more would fill the metadata that every device reads."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: its record, its encrypted PEM, and its signer."""

    record: KeyRecord
    pem: bytes
    signer: CryptoSigner


def make_keys(role: KeyRole, count: int, passphrases: Passphrases) -> tuple[NewKey, ...]:
    """New keys for `role`, encrypted with its (first) passphrase.

    Raises:
        InputError, NotKnownError: no usable passphrase, or an absurd count.
    """
    if not 1 <= count <= MAXIMUM_KEYS:
        raise UsageError(f"cannot make {count} keys for {role}: 1 to {MAXIMUM_KEYS} are allowed")
    passphrase = passphrases.of(role)[0]
    made = []
    for _ in range(count):
        private = Ed25519PrivateKey.generate()
        signer = CryptoSigner(private)
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
        keyid = signer.public_key.keyid
        record = KeyRecord(role=role, keyid=keyid, public=public, file=f"{role.value}-{keyid[:16]}.pem")
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
        made.append(NewKey(record, pem, signer))
    return tuple(made)


def public_key(record: KeyRecord) -> SSlibKey:
    """The TUF key of a record."""
    return SSlibKey(record.keyid, "ed25519", "ed25519", {"public": record.public})


def is_encrypted(pem: bytes) -> bool:
    """Whether a key file says that it is encrypted (RFC 7468 §11)."""
    return pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


class Keyring:
    """The workshop's keys, unlocked as they are needed."""

    def __init__(self, workshop: Workshop, settings: WorkshopFile, passphrases: Passphrases) -> None:
        self.settings = settings
        self._workshop = workshop
        self._passphrases = passphrases
        self._unlocked: dict[str, CryptoSigner] = {}

    def signers(self, role: KeyRole) -> tuple[CryptoSigner, ...]:
        """Signers of `role`, at least its threshold of them.

        Raises:
            NotKnownError: too few key files are here, or no passphrase was given.
            InputError: a wrong passphrase, or a file that is not the key it should be.
        """
        records = self.settings.active(role)
        here = self._here(role)
        threshold = self.settings.thresholds.of(role)
        if len(here) < threshold:
            missing = ", ".join(str(self._workshop.keys / record.file) for record in records if record not in here)
            raise NotKnownError(
                f"cannot sign as {role}: {threshold} of its keys are needed and {len(here)} are here",
                advice=f"bring the missing key files back: {missing}",
            )
        return tuple(self._unlock(record) for record in here)

    def signers_here(self, role: KeyRole) -> tuple[CryptoSigner, ...]:
        """Signers of those keys of `role` whose files are here, however few.

        Raises:
            InputError, NotKnownError: a file that is here cannot be unlocked.
        """
        return tuple(self._unlock(record) for record in self._here(role))

    def _here(self, role: KeyRole) -> list[KeyRecord]:
        return [
            record
            for record in self.settings.active(role)
            if record.keyid in self._unlocked or (self._workshop.keys / record.file).exists()
        ]

    def public_keys(self, role: KeyRole) -> tuple[SSlibKey, ...]:
        """The keys that metadata names for `role`; needs no passphrase."""
        return tuple(public_key(record) for record in self.settings.active(role))

    def add_unlocked(self, keys: Sequence[NewKey]) -> None:
        """Take keys just made, whose files are not in place yet."""
        self._unlocked.update((key.record.keyid, key.signer) for key in keys)

    def _unlock(self, record: KeyRecord) -> CryptoSigner:
        if record.keyid not in self._unlocked:
            path = self._workshop.keys / record.file
            self._unlocked[record.keyid] = unlock(path, record, self._passphrases.of(record.role))
        return self._unlocked[record.keyid]


def unlock(path: Path, record: KeyRecord, passphrases: Sequence[bytes]) -> CryptoSigner:
    """The signer in an encrypted key file.

    Raises:
        InputError: none of `passphrases` opens it, it is not encrypted, or it holds another key.
    """
    pem = read_file(path, maximum_bytes=_MAXIMUM_KEY_BYTES)
    if not is_encrypted(pem):
        raise InputError(f"cannot use {path}: the key is not encrypted", advice="restore the encrypted file")
    for passphrase in passphrases:
        try:
            private = load_pem_private_key(pem, passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        if not isinstance(private, Ed25519PrivateKey):
            raise InputError(f"cannot use {path}: it holds no Ed25519 key")
        if private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex() != record.public:
            raise InputError(f"cannot use {path}: it holds another key than {record.keyid[:16]}")
        return CryptoSigner(private, public_key(record))
    raise InputError(
        f"cannot unlock {path}: the passphrase is wrong or the file is damaged",
        advice="give the passphrase that the key was made with; nothing was changed",
    )
