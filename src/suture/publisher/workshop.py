"""The workshop directory: where everything lies, and its settings file (docs/publishing.md §2).

Holds no key material in memory and signs nothing. Every command that changes something holds the workshop's lock and
first ends what a killed command left half-published.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from suture.adapters.files import exclusive_lock, read_file, read_file_if_there
from suture.core.digests import DIGEST_PATTERN
from suture.core.errors import InputError, NotKnownError, StorageError
from suture.core.identifiers import NAME_PATTERN
from suture.core.limits import MAXIMUM_PRODUCT_FILE_BYTES, MAXIMUM_SETTINGS_BYTES
from suture.publisher.publication import finish_publication
from suture.wire.product import Product

WORKSHOP_FORMAT = "suture-workshop/1"

_Days = Annotated[int, msgspec.Meta(ge=1, le=3650)]
_KeyFile = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{1,20}-[0-9a-f]{16}\.pem$")]


class KeyRole(StrEnum):
    """Whose signature a key makes. `ONLINE` signs timestamp, snapshot and the rollout roles; all others are offline."""

    ROOT = "root"
    TARGETS = "targets"
    RELEASE = "release"
    ONLINE = "online"


OFFLINE_ROLES = (KeyRole.ROOT, KeyRole.TARGETS, KeyRole.RELEASE)


class KeyRecord(msgspec.Struct, frozen=True):
    """A key of the workshop. `public`: raw Ed25519 key, 64 hex digits (RFC 8032). `file`: its name under ``keys/``."""

    role: KeyRole
    keyid: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    public: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    file: _KeyFile
    retired: bool = False
    """No longer in any signed metadata; kept so that nobody wonders what the file was."""


class Thresholds(msgspec.Struct, frozen=True):
    """How many signatures each key role needs."""

    root: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1
    targets: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1
    release: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1
    online: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1

    def of(self, role: KeyRole) -> int:
        """The threshold of `role`."""
        return int(getattr(self, role.value))


class Lifetimes(msgspec.Struct, frozen=True):
    """Days from signing to expiry. A week online bounds a freeze; a year offline makes one ceremony every half year."""

    root_days: _Days = 365
    targets_days: _Days = 365
    release_days: _Days = 365
    snapshot_days: _Days = 7
    timestamp_days: _Days = 7
    rollout_days: _Days = 7


class WorkshopFile(msgspec.Struct, frozen=True):
    """``workshop.json``. It holds no secret."""

    format: Literal["suture-workshop/1"]
    product: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
    first_root: Annotated[str, msgspec.Meta(pattern=DIGEST_PATTERN)]
    keys: tuple[KeyRecord, ...]
    thresholds: Thresholds = Thresholds()
    lifetimes: Lifetimes = Lifetimes()

    def active(self, role: KeyRole) -> tuple[KeyRecord, ...]:
        """The keys of `role` that signed metadata names, in the order they were made."""
        return tuple(key for key in self.keys if key.role is role and not key.retired)


class Workshop:
    """The paths of one workshop, and its settings as they are on disk now."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def settings_file(self) -> Path:
        """``workshop.json``."""
        return self.root / "workshop.json"

    @property
    def product_file(self) -> Path:
        """``product.json``, the completed product file to hand out."""
        return self.root / "product.json"

    @property
    def keys(self) -> Path:
        """Encrypted private keys."""
        return self.root / "keys"

    @property
    def staging(self) -> Path:
        """Built, unreleased improvements (unpublished fixes: not for others' eyes)."""
        return self.root / "staging"

    @property
    def repository(self) -> Path:
        """What is served."""
        return self.root / "repository"

    @property
    def metadata(self) -> Path:
        """TUF metadata."""
        return self.repository / "metadata"

    @property
    def targets(self) -> Path:
        """TUF targets, with their hash prefixes."""
        return self.repository / "targets"

    def settings(self) -> WorkshopFile:
        """Read ``workshop.json``.

        Raises:
            NotKnownError: this is no workshop.
            InputError: the file is malformed.
        """
        data = read_file_if_there(self.settings_file, maximum_bytes=MAXIMUM_SETTINGS_BYTES)
        if data is None:
            advice = "make one with `suture publisher init`, or name another directory"
            raise NotKnownError(f"cannot find a workshop in {self.root}", advice=advice)
        try:
            return msgspec.json.decode(data, type=WorkshopFile)
        except msgspec.DecodeError as error:
            raise InputError(f"cannot read {self.settings_file}: {error}") from error

    def product(self) -> Product:
        """Read ``product.json``.

        Raises:
            StorageError, InputError: missing or malformed.
        """
        data = read_file(self.product_file, maximum_bytes=MAXIMUM_PRODUCT_FILE_BYTES)
        try:
            return msgspec.json.decode(data, type=Product)
        except msgspec.DecodeError as error:
            raise InputError(f"cannot read {self.product_file}: {error}") from error

    @contextlib.contextmanager
    def changing(self, doing: str) -> Iterator[WorkshopFile]:
        """Hold the workshop's lock; ends what a killed command left half-published before anything else.

        Raises:
            BusyError: another command changes this workshop.
            NotKnownError: this is no workshop.
        """
        self.settings()
        with exclusive_lock(self.root / "lock", doing=doing):
            finish_publication(self)
            yield self.settings()


def open_workshop(path: Path) -> Workshop:
    """A workshop that exists.

    Raises:
        NotKnownError, InputError, StorageError: it does not, or cannot be read.
    """
    workshop = Workshop(path)
    if path.exists() and not path.is_dir():
        raise StorageError(f"cannot open {path}: it is no directory")
    workshop.settings()
    return workshop
