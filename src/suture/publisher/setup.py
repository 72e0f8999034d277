"""Making a workshop: keys, the first signed repository, and the completed product file, all at once or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from tuf.api.metadata import Root  # type: ignore[attr-defined]  # re-exported without __all__

from suture.adapters.files import PRIVATE_DIRECTORY, host_errors, make_directory, read_file, sync_directory, write_file
from suture.core.digests import Digest, digest_bytes
from suture.core.errors import InputError
from suture.core.limits import MAXIMUM_PRODUCT_FILE_BYTES
from suture.publisher.draft import first_repository, sign_metadata
from suture.publisher.keys import Keyring, NewKey, make_keys, public_key
from suture.publisher.passphrases import Passphrases
from suture.publisher.publication import NewFile
from suture.publisher.workshop import KeyRecord, KeyRole, Lifetimes, Thresholds, Workshop, WorkshopFile
from suture.wire.product import PRODUCT_FORMAT, Product

_NO_DIGEST = "sha256:" + "0" * 64
_TUF_ROLES = {
    "root": KeyRole.ROOT,
    "targets": KeyRole.TARGETS,
    "snapshot": KeyRole.ONLINE,
    "timestamp": KeyRole.ONLINE,
}


@dataclass(frozen=True, slots=True)
class NewWorkshop:
    """What `init` made. `product` is the file to hand out."""

    workshop: Workshop
    settings: WorkshopFile
    product: Product


def make_workshop(
    directory: Path,
    describe: Path,
    passphrases: Passphrases,
    *,
    keys: int,
    threshold: int,
    lifetimes: Lifetimes,
    now: datetime,
) -> NewWorkshop:
    """Make a workshop in a directory that does not exist or is empty.

    Args:
        directory: where.
        describe: the product file without `format` and `first_root` (spec/product.md).
        passphrases: for the new keys.
        keys, threshold: how many for each offline role, and how many must sign; the online role has one.
        lifetimes, now: days to expiry, counted from an aware time in UTC.

    Raises:
        InputError: the directory is in use, the product file is malformed, or the threshold is above the keys.
        StorageError: (or a kind of it) nothing is left.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"cannot make a workshop in {directory}: it is there already and not empty")
    if not 1 <= threshold <= keys:
        raise InputError(f"cannot ask for {threshold} signatures of {keys} keys")
    described, made = read_description(describe), _make_all_keys(keys, passphrases)
    thresholds = Thresholds(root=threshold, targets=threshold, release=threshold)
    draft = directory.with_name(f".{directory.name}.new")
    _clear(draft)
    try:
        result = _fill(draft, described, made, thresholds, lifetimes, passphrases, now)
        with host_errors(f"make the workshop {directory}"):
            draft.rename(directory)
    except BaseException:
        _clear(draft)
        raise
    sync_directory(directory.parent)
    return NewWorkshop(Workshop(directory), result.settings, result.product)


def read_description(path: Path) -> dict[str, Any]:
    """The vendor's half of the product file, checked against the whole format.

    Raises:
        InputError: malformed, or it names a first root.
    """
    data = read_file(path, maximum_bytes=MAXIMUM_PRODUCT_FILE_BYTES)
    try:
        described = msgspec.json.decode(data, type=dict[str, Any])
        if "first_root" in described:
            raise InputError(f"cannot use {path}: `first_root` is what init fills in", advice="leave it out")
        _complete(described, Digest(_NO_DIGEST))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InputError(f"cannot read {path} as a product file: {error}") from error
    return described


def _complete(described: dict[str, Any], first_root: Digest) -> Product:
    whole = {"format": PRODUCT_FORMAT, **described, "first_root": first_root}
    product = msgspec.convert(whole, Product)
    names = [component.name for component in product.components]
    if len(set(names)) != len(names):
        raise InputError("cannot use the product file: two components have one name")
    paths = [component.path.rstrip("/").split("/") for component in product.components]
    if any(part in ("", ".", "..") for path in paths for part in path):
        raise InputError("cannot use the product file: a component's path has an empty name, . or ..")
    for one in range(len(paths)):
        for other in range(len(paths)):
            if one != other and paths[other][: len(paths[one])] == paths[one]:
                raise InputError(f"cannot use the product file: {names[other]} lies inside {names[one]}")
    return product


def _make_all_keys(count: int, passphrases: Passphrases) -> tuple[NewKey, ...]:
    return tuple(
        key for role in KeyRole for key in make_keys(role, 1 if role is KeyRole.ONLINE else count, passphrases)
    )


def _fill(
    draft: Path,
    described: dict[str, Any],
    made: Sequence[NewKey],
    thresholds: Thresholds,
    lifetimes: Lifetimes,
    passphrases: Passphrases,
    now: datetime,
) -> NewWorkshop:
    workshop = Workshop(draft)
    with host_errors(f"make {draft}"):
        draft.mkdir(mode=0o755, parents=True)
    make_directory(workshop.keys, mode=PRIVATE_DIRECTORY)
    make_directory(workshop.staging, mode=PRIVATE_DIRECTORY)
    for key in made:
        write_file(workshop.keys / key.record.file, key.pem, mode=0o600)
    records = tuple(key.record for key in made)
    root = new_root(records, thresholds, now + timedelta(days=lifetimes.root_days))
    root_bytes = sign_metadata(root, [key.signer for key in made if key.record.role is KeyRole.ROOT])
    product = _complete(described, digest_bytes(root_bytes))
    settings = WorkshopFile(
        "suture-workshop/1", product.product, product.first_root, records, thresholds=thresholds, lifetimes=lifetimes
    )
    keyring = Keyring(workshop, settings, passphrases)
    keyring.add_unlocked(made)
    _write_all(draft, first_repository(settings, keyring, root_bytes, now))
    whole = {"format": PRODUCT_FORMAT, **described, "first_root": product.first_root}
    write_file(workshop.product_file, msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n", mode=0o644)
    write_settings(workshop, settings)
    return NewWorkshop(workshop, settings, product)


def new_root(records: Sequence[KeyRecord], thresholds: Thresholds, expires: datetime, *, version: int = 1) -> Root:
    """A root that names the active keys of `records`."""
    root = Root(version=version, expires=expires.replace(microsecond=0), consistent_snapshot=True)
    for name, role in _TUF_ROLES.items():
        for record in records:
            if record.role is role and not record.retired:
                root.add_key(public_key(record), name)
        root.roles[name].threshold = thresholds.of(role)
    return root


def settings_bytes(settings: WorkshopFile) -> bytes:
    """``workshop.json``'s bytes, indented for people."""
    return msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n"


def write_settings(workshop: Workshop, settings: WorkshopFile) -> None:
    """Replace ``workshop.json``."""
    write_file(workshop.settings_file, settings_bytes(settings), mode=0o644)


def _write_all(base: Path, files: Sequence[NewFile]) -> None:
    (base / "repository" / "targets").mkdir(parents=True)
    for file in files:
        assert isinstance(file.source, bytes)  # noqa: S101 - a new repository is made in memory
        path = base / file.path
        make_directory(path.parent, mode=0o755)
        write_file(path, file.source, mode=file.mode)


def _clear(draft: Path) -> None:
    if os.path.lexists(draft):
        with host_errors(f"remove {draft}"):
            shutil.rmtree(draft)
