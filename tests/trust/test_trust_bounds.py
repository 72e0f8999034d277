"""The bounds of what trust reads and writes, each at its edge. Mutation testing asked for every one of these."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from suture.core.clock import format_time
from suture.core.digests import Digest
from suture.core.errors import InputError, RepositoryError
from suture.core.level import MAXIMUM_LEVEL
from suture.core.limits import MAXIMUM_INDEX_BYTES, MAXIMUM_MANIFEST_BYTES
from suture.trust.documents import Index, IndexedLevel, Recall, Rollout, Share
from suture.trust.floors import Floors, RoleFloor
from suture.trust.freshness import LoadedRole
from suture.trust.offers import Offer, RolloutState, RolloutView, offered_levels
from suture.trust.paths import advisory_path, index_path, manifest_path, patch_path, rollout_path
from suture.trust.verdicts import parse_index, parse_rollout

ISSUED = "2026-03-01T12:00:00Z"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def index(**changes: Any) -> bytes:
    document = {
        "format": "suture-index/1",
        "product": "darkroom",
        "baseline": "1.0-any",
        "issued": ISSUED,
        "levels": [{"level": 1, "digest": DIGEST, "size": 1}, {"level": 2, "digest": OTHER, "size": 1}],
    }
    return msgspec.json.encode({**document, **changes})


def rollout(**changes: Any) -> bytes:
    document = {"format": "suture-rollout/1", "product": "darkroom", "baseline": "1.0-any", "issued": ISSUED}
    return msgspec.json.encode({**document, **changes})


def read(data: bytes, product: str = "darkroom") -> Index:
    return parse_index(data, product, "1.0-any")


def test_levels_and_sizes_have_a_highest_value() -> None:
    def one(level: int, size: int) -> list[dict[str, Any]]:
        return [{"level": level, "digest": DIGEST, "size": size}]

    assert len(read(index(levels=one(MAXIMUM_LEVEL, MAXIMUM_MANIFEST_BYTES))).levels) == 1
    for level, size in ((MAXIMUM_LEVEL + 1, 1), (1, MAXIMUM_MANIFEST_BYTES + 1)):
        with pytest.raises(RepositoryError):
            read(index(levels=one(level, size)))


def test_a_products_name_has_its_grammar_even_where_it_is_the_asked_one() -> None:
    with pytest.raises(RepositoryError):
        read(index(product="../darkroom"), "../darkroom")


@pytest.mark.parametrize("issued", ["2026-03-01T12:00:00+00:00", "2026-03-01T12:00:00.5Z", "2026-03-01T12:00Z"])
def test_times_have_one_spelling(issued: str) -> None:
    with pytest.raises(RepositoryError, match=r"cannot read"):
        read(index(issued=issued))


def test_recalls_rise_and_stand_once() -> None:
    def word(level: int, digest: str) -> dict[str, Any]:
        return {"level": level, "digest": digest, "issued": ISSUED, "reason": ""}

    assert len(read(index(recalls=[word(1, DIGEST), word(2, OTHER)])).recalls) == 2
    for recalls in ([word(2, OTHER), word(1, DIGEST)], [word(1, DIGEST), word(1, DIGEST)]):
        with pytest.raises(RepositoryError, match="rising order"):
            read(index(recalls=recalls))


def test_a_rollout_documents_time_exists() -> None:
    with pytest.raises(RepositoryError):
        parse_rollout(rollout(issued="2026-02-30T12:00:00Z"), "darkroom", "1.0-any")


def test_a_pause_of_exactly_fourteen_days_is_one() -> None:
    pause = {"since": ISSUED, "until": format_time(NOON + timedelta(days=14)), "reason": ""}
    assert parse_rollout(rollout(pause=pause), "darkroom", "1.0-any").pause is not None


def test_a_document_of_exactly_its_bound_is_read() -> None:
    data = index()
    assert len(read(data + b" " * (MAXIMUM_INDEX_BYTES - len(data))).levels) == 2


@pytest.mark.parametrize(
    ("kind", "good", "changes"),
    [
        (RoleFloor, {"role": "root", "version": 1, "keys": DIGEST}, {"version": 0}),
        (RoleFloor, {"role": "root", "version": 1, "keys": DIGEST}, {"role": "r" * 201}),
        (RoleFloor, {"role": "root", "version": 1, "keys": DIGEST}, {"keys": "sha256:1"}),
        (Floors, {"clock": ISSUED}, {"clock": "2" * 41}),
        (Floors, {"roles": []}, {"roles": [{"role": "root", "version": 1, "keys": DIGEST}] * 1001}),
        (LoadedRole, {"role": "root", "version": 1, "expires": ISSUED, "keys": DIGEST}, {"version": 0}),
        (LoadedRole, {"role": "root", "version": 1, "expires": ISSUED, "keys": DIGEST}, {"role": "r" * 201}),
        (LoadedRole, {"role": "root", "version": 1, "expires": ISSUED, "keys": DIGEST}, {"expires": "2" * 41}),
        (LoadedRole, {"role": "root", "version": 1, "expires": ISSUED, "keys": DIGEST}, {"keys": "md5:1"}),
    ],
)
def test_what_the_journal_and_the_trust_directory_hold_is_bounded(
    kind: type, good: dict[str, Any], changes: dict[str, Any]
) -> None:
    msgspec.convert(good, kind)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**good, **changes}, kind)


def test_a_signed_time_that_is_the_floors_own_lifts_nothing() -> None:
    floors = Floors().raised_clock(ISSUED)
    assert floors.raised_clock(ISSUED) is floors


def standing(view: RolloutView, recalls: tuple[Recall, ...] = ()) -> Offer:
    document = Index("suture-index/1", "darkroom", "1.0-any", ISSUED, (IndexedLevel(1, DIGEST, 9),), recalls)
    (one,) = offered_levels(document, view, device_id="d", now=NOON, full_by=lambda _: None)
    return one.offer


def test_only_a_present_view_with_a_document_offers() -> None:
    document = Rollout("suture-rollout/1", "darkroom", "1.0-any", ISSUED, (Share(1, DIGEST, 1000),))
    assert standing(RolloutView(RolloutState.PRESENT, document)) is Offer.OFFERED
    assert standing(RolloutView(RolloutState.EXPIRED, document)) is Offer.NO_ROLLOUT
    assert standing(RolloutView(RolloutState.PRESENT, None)) is Offer.NO_ROLLOUT


@pytest.mark.parametrize("word", [Recall(1, OTHER, ISSUED, ""), Recall(2, DIGEST, ISSUED, "")])
def test_a_recall_means_one_level_with_one_digest(word: Recall) -> None:
    document = Rollout("suture-rollout/1", "darkroom", "1.0-any", ISSUED, (Share(1, Digest(DIGEST), 1000),))
    assert standing(RolloutView(RolloutState.PRESENT, document), (word,)) is Offer.OFFERED


@pytest.mark.parametrize(
    "make",
    [
        lambda: index_path("../x", "1.0-any"),
        lambda: rollout_path("../x", "1.0-any"),
        lambda: manifest_path("darkroom", "1.0-any", -1),
        lambda: advisory_path("darkroom", "1.0-any", -1),
        lambda: patch_path("darkroom", "1.0-any", -1, "imaging", 0),
        lambda: patch_path("darkroom", "1.0-any", 1, "../imaging", 0),
        lambda: patch_path("darkroom", "1.0-any", 1, "imaging", -1),
    ],
)
def test_a_path_is_made_of_checked_parts(make: Callable[[], str]) -> None:
    with pytest.raises(InputError):
        make()
