"""What the signed documents may say: the index, how it may grow, and the rollout document.

Bytes in, judged documents out. TUF has shown who signed the bytes; this module shows that they make sense together and
that the publisher took nothing back. Never decides what to install (that is `suture.agent`).
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TypeVar

import msgspec

from suture.core.clock import parse_time
from suture.core.errors import InputError, RepositoryError, RolledBackError, SecondDigestError
from suture.core.limits import MAXIMUM_INDEX_BYTES, MAXIMUM_ROLLOUT_BYTES
from suture.trust.documents import Index, IndexedLevel, Rollout

NEVER = "1970-01-01T00:00:00Z"
"""`issued` of an index that no publisher has written yet."""
LONGEST_PAUSE = timedelta(days=14)
"""A pause is an emergency brake, not a decision; a longer one needs the online key again, and its age is reported."""

_Document = TypeVar("_Document", Index, Rollout)


def empty_index(product: str, baseline: str) -> Index:
    """What is true of a baseline for which no improvement was ever released."""
    return Index(format="suture-index/1", product=product, baseline=baseline, issued=NEVER)


def parse_index(data: bytes, product: str, baseline: str) -> Index:
    """Read an index that the release role signed.

    Args:
        data: at most `MAXIMUM_INDEX_BYTES`.
        product: the product that was asked for.
        baseline: `Baseline.identity` that was asked for.

    Raises:
        RepositoryError: malformed, over its bound, for another product or baseline, levels or recalls doubled or out
            of order, or a recall of a level or digest that the index does not list (spec/repository.md §4).
    """
    index = _decode(data, Index, MAXIMUM_INDEX_BYTES, "index")
    _check_place(index, "index", product, baseline)
    _check_times("index", index.issued, *(recall.issued for recall in index.recalls))
    _check_order("index's levels", [entry.level for entry in index.levels])
    _check_order("index's recalls", [recall.level for recall in index.recalls])
    for recall in index.recalls:
        listed = level_entry(index, recall.level)
        if listed is None or listed.digest != recall.digest:
            raise RepositoryError(f"cannot use the index: it recalls level {recall.level}, which it does not list so")
    return index


def parse_rollout(data: bytes, product: str, baseline: str) -> Rollout:
    """Read a rollout document that the online role signed.

    Raises:
        RepositoryError: malformed, over its bound, for another product or baseline, shares doubled or out of order, a
            pause that ends before it begins or lasts longer than `LONGEST_PAUSE` (spec/repository.md §5).
    """
    rollout = _decode(data, Rollout, MAXIMUM_ROLLOUT_BYTES, "rollout document")
    _check_place(rollout, "rollout document", product, baseline)
    _check_times("rollout document", rollout.issued)
    _check_order("rollout document's shares", [share.level for share in rollout.shares])
    if rollout.pause is not None:
        _check_times("rollout document", rollout.pause.since, rollout.pause.until)
        length = parse_time(rollout.pause.until) - parse_time(rollout.pause.since)
        if not timedelta(0) < length <= LONGEST_PAUSE:
            raise RepositoryError(f"cannot use the rollout document: its pause lasts {length}, at most 14 days are")
    return rollout


def level_entry(index: Index, level: int) -> IndexedLevel | None:
    """The index's entry of a level, or None."""
    return next((entry for entry in index.levels if entry.level == level), None)


def verify_index_growth(old: Index | None, new: Index) -> None:
    """Refuse an index that takes back what an earlier one said.

    Args:
        old: the last index that this device believed, or None on a new device. For the same product and baseline.
        new: the one just parsed.

    Raises:
        SecondDigestError: a level that the device knows has another digest.
        RolledBackError: a level or a recall has gone, or `issued` went back.
        RepositoryError: a level was added below the highest (numbers are never used twice, nor out of turn).
    """
    if old is None:
        return
    if parse_time(new.issued) < parse_time(old.issued):
        raise RolledBackError(f"cannot go back to the index of {new.issued}: this device has that of {old.issued}")
    for known in old.levels:
        entry = level_entry(new, known.level)
        if entry is None:
            raise RolledBackError(f"cannot use the index: level {known.level} has gone from it")
        if (entry.digest, entry.size) != (known.digest, known.size):
            raise SecondDigestError(
                f"cannot use level {known.level}: this device knows it as {known.digest}, now it is {entry.digest}"
            )
    _verify_recalls_stay(old, new)
    highest = max((known.level for known in old.levels), default=0)
    known_levels = {known.level for known in old.levels}
    for entry in new.levels:
        if entry.level < highest and entry.level not in known_levels:
            raise RepositoryError(f"cannot use the index: level {entry.level} appeared after level {highest}")


def _verify_recalls_stay(old: Index, new: Index) -> None:
    standing = {(recall.level, recall.digest) for recall in new.recalls}
    for recall in old.recalls:
        if (recall.level, recall.digest) not in standing:
            raise RolledBackError(f"cannot use the index: the recall of level {recall.level} has gone from it")


def _decode(data: bytes, kind: type[_Document], maximum_bytes: int, name: str) -> _Document:
    if len(data) > maximum_bytes:
        raise RepositoryError(f"cannot use the {name}: it is larger than {maximum_bytes:,} bytes")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RepositoryError(f"cannot read the {name}: {error}") from error


def _check_place(document: Index | Rollout, name: str, product: str, baseline: str) -> None:
    if (document.product, document.baseline) != (product, baseline):
        raise RepositoryError(
            f"cannot use the {name}: it is for {document.product} {document.baseline}, not for {product} {baseline}"
        )


def _check_times(name: str, *times: str) -> None:
    for text in times:
        try:
            parse_time(text)
        except InputError as error:
            raise RepositoryError(f"cannot use the {name}: {error.message}") from error


def _check_order(name: str, levels: list[int]) -> None:
    if any(later <= earlier for earlier, later in pairwise(levels)):
        raise RepositoryError(f"cannot use the {name}: they must be in rising order, each once")
