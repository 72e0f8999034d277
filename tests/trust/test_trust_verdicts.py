"""What index and rollout document may say, and how an index may grow: one test a step."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suture.core.errors import RepositoryError, RolledBackError, SecondDigestError
from suture.core.limits import MAXIMUM_INDEX_BYTES, MAXIMUM_ROLLOUT_BYTES
from suture.trust.documents import Index, IndexedLevel, Recall
from suture.trust.verdicts import empty_index, parse_index, parse_rollout, verify_index_growth

ISSUED = "2026-03-01T12:00:00Z"
LATER = "2026-03-02T12:00:00Z"
BASELINE = "1.0-x86_64"


def digest(level: int, salt: str = "") -> str:
    return f"sha256:{level:063x}{'1' if salt else '0'}"


def index(levels: tuple[int, ...] = (1, 2), recalls: tuple[int, ...] = (), issued: str = ISSUED) -> Index:
    return Index(
        "suture-index/1",
        "darkroom",
        BASELINE,
        issued,
        tuple(IndexedLevel(level, digest(level), 100) for level in levels),
        tuple(Recall(level, digest(level), ISSUED, "bad") for level in recalls),
    )


def parsed(document: Index | dict[str, Any]) -> Index:
    return parse_index(msgspec.json.encode(document), "darkroom", BASELINE)


def rollout(**changes: Any) -> bytes:
    document = {
        "format": "suture-rollout/1",
        "product": "darkroom",
        "baseline": BASELINE,
        "issued": ISSUED,
        "shares": [{"level": 1, "digest": digest(1), "permille": 10}],
        **changes,
    }
    return msgspec.json.encode(document)


def test_a_right_index_is_read_as_written() -> None:
    assert parsed(index(recalls=(1,))) == index(recalls=(1,))


def test_unknown_fields_are_for_later_agents() -> None:
    assert parsed({**msgspec.to_builtins(index()), "later": 1}) == index()


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "suture-index/2"},
        {"product": "lightroom"},
        {"baseline": "1.1-x86_64"},
        {"issued": "2026-02-30T12:00:00Z"},
        {"issued": "yesterday"},
        {"levels": [{"level": 0, "digest": digest(0), "size": 1}]},
        {"levels": [{"level": 1, "digest": "sha256:0", "size": 1}]},
        {"levels": [{"level": 1, "digest": digest(1), "size": 0}]},
        {"levels": [{"level": 2, "digest": digest(2), "size": 1}, {"level": 1, "digest": digest(1), "size": 1}]},
        {"levels": [{"level": 1, "digest": digest(1), "size": 1}, {"level": 1, "digest": digest(2), "size": 1}]},
        {"levels": {}},
        {"recalls": [{"level": 7, "digest": digest(7), "issued": ISSUED, "reason": ""}]},
        {"recalls": [{"level": 1, "digest": digest(2), "issued": ISSUED, "reason": ""}]},
        {"recalls": [{"level": 1, "digest": digest(1), "issued": "2026-13-01T00:00:00Z", "reason": ""}]},
        {"recalls": [{"level": 1, "digest": digest(1), "issued": ISSUED, "reason": "x" * 501}]},
    ],
)
def test_an_index_that_is_malformed_or_not_ours_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RepositoryError):
        parsed({**msgspec.to_builtins(index()), **changes})


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"\xff\xfe", b"[" * 100_000, b" " * (MAXIMUM_INDEX_BYTES + 1)])
def test_junk_is_refused_in_our_words(data: bytes) -> None:
    with pytest.raises(RepositoryError):
        parse_index(data, "darkroom", BASELINE)
    with pytest.raises(RepositoryError):
        parse_rollout(data, "darkroom", BASELINE)


@given(st.binary(max_size=300))
def test_no_bytes_end_in_another_error(data: bytes) -> None:
    with pytest.raises(RepositoryError):
        parse_index(data, "darkroom", BASELINE)


def test_a_right_rollout_document_is_read() -> None:
    pause = {"since": ISSUED, "until": LATER, "reason": "crashes"}
    document = parse_rollout(rollout(pause=pause), "darkroom", BASELINE)
    assert document.shares[0].permille == 10
    assert document.pause is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"product": "lightroom"},
        {"baseline": "1.1-x86_64"},
        {"shares": [{"level": 1, "digest": digest(1), "permille": 1001}]},
        {"shares": [{"level": 1, "digest": digest(1), "permille": -1}]},
        {"shares": [{"level": 1, "digest": digest(1), "permille": 1}] * 2},
        {"pause": {"since": LATER, "until": ISSUED, "reason": ""}},
        {"pause": {"since": ISSUED, "until": ISSUED, "reason": ""}},
        {"pause": {"since": ISSUED, "until": "2026-03-15T12:00:01Z", "reason": "for ever"}},
        {"pause": {"since": ISSUED, "until": "2026-02-30T12:00:00Z", "reason": ""}},
        {"later": "x" * MAXIMUM_ROLLOUT_BYTES},
    ],
)
def test_a_rollout_document_that_is_malformed_or_not_ours_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RepositoryError):
        parse_rollout(rollout(**changes), "darkroom", BASELINE)


def test_the_first_index_of_a_device_may_say_anything() -> None:
    verify_index_growth(None, index())
    verify_index_growth(empty_index("darkroom", BASELINE), index())


def test_levels_and_recalls_may_be_added() -> None:
    verify_index_growth(index(), index((1, 2, 3), (1,), LATER))
    verify_index_growth(index(), index())


def test_issued_never_goes_back() -> None:
    with pytest.raises(RolledBackError, match="index of"):
        verify_index_growth(index(issued=LATER), index())


def test_a_known_level_keeps_its_digest_and_size() -> None:
    entry = IndexedLevel(1, digest(1, "evil"), 100)
    with pytest.raises(SecondDigestError, match="level 1"):
        verify_index_growth(index((1,)), msgspec.structs.replace(index(), levels=(entry,)))
    longer = IndexedLevel(1, digest(1), 101)
    with pytest.raises(SecondDigestError):
        verify_index_growth(index((1,)), msgspec.structs.replace(index(), levels=(longer,)))


def test_a_known_level_never_goes() -> None:
    with pytest.raises(RolledBackError, match="level 2 has gone"):
        verify_index_growth(index(), index((1,)))


def test_a_recall_never_goes() -> None:
    with pytest.raises(RolledBackError, match="recall of level 1"):
        verify_index_growth(index(recalls=(1,)), index())


def test_a_level_is_never_slipped_in_below_the_highest() -> None:
    with pytest.raises(RepositoryError, match="level 2 appeared"):
        verify_index_growth(index((1, 3)), index((1, 2, 3)))


level_sets = st.sets(st.integers(1, 12))


@given(level_sets, level_sets, level_sets)
def test_growth_is_transitive(first: set[int], second: set[int], third: set[int]) -> None:
    chain = [index(tuple(sorted(levels))) for levels in (first, first | second, first | second | third)]
    try:
        verify_index_growth(chain[0], chain[1])
        verify_index_growth(chain[1], chain[2])
    except RepositoryError:
        return
    verify_index_growth(chain[0], chain[2])
