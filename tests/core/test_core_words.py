"""Digests, identifiers, clock and canonical JSON: one spelling each, and everything else refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suture.core import errors
from suture.core.canonical import JsonValue, canonical_json
from suture.core.clock import floored, format_time, parse_time
from suture.core.digests import digest_bytes, digest_chunks, digest_from_hex, hex_of, parse_digest
from suture.core.errors import InputError, SutureError
from suture.core.identifiers import check_architecture, check_cve, check_name, check_unit, check_version

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_digest_of_nothing() -> None:
    """FIPS 180-4, the well-known value."""
    assert digest_bytes(b"") == EMPTY
    assert digest_chunks([]) == EMPTY


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_digests_do_not_depend_on_the_chunks(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    digest = digest_chunks(chunks)
    assert digest == digest_bytes(whole) == digest_bytes(memoryview(whole))
    assert digest_from_hex(hex_of(digest)) == parse_digest(digest) == digest
    assert hex_of(digest) == hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", EMPTY.upper(), EMPTY[:-1], EMPTY + "0", EMPTY + "\n", EMPTY[7:], "md5:" + EMPTY[7:], " " + EMPTY],
)
def test_another_spelling_of_a_digest(text: str) -> None:
    with pytest.raises(InputError):
        parse_digest(text)


Check = Callable[[str], str]
_GOOD: list[tuple[Check, list[str]]] = [
    (check_name, ["a", "a1", "imaging", "libssl3", "a-b_c.d", "x" * 64]),
    (check_version, ["1", "1.0", "26.3.1", "1.0~rc1", "1.0+build_5", "A-1"]),
    (check_architecture, ["x86_64", "aarch64", "any"]),
    (check_cve, ["CVE-2023-4863", "CVE-2024-1234567"]),
    (check_unit, ["a.service", "user@1000.service", "a-b.timer"]),
]
_BAD: list[tuple[Check, list[str]]] = [
    (check_name, ["", ".", "..", "a..b", "-a", "a-", "A", "a/b", "a\n", "a\0", "é", "x" * 65, "a b"]),
    (check_version, ["", "..", "1..2", "1/2", "1.0\n", "-1", "1.", "x" * 65, "1 0", "é"]),
    (check_architecture, ["", "x86-64", "X", "a\n", "a" * 33, "../a"]),
    (check_cve, ["", "CVE-23-1", "cve-2023-4863", "CVE-2023-123", "CVE-2023-4863\n", "CVE-2023-" + "1" * 20]),
    (check_unit, ["", "a", "a.mount", "a.service\n", "a/b.service", "a b.service", "-" * 201 + ".service"]),
]


@pytest.mark.parametrize(("check", "text"), [(check, text) for check, texts in _GOOD for text in texts])
def test_good_identifiers(check: Check, text: str) -> None:
    assert check(text) == text


@pytest.mark.parametrize(("check", "text"), [(check, text) for check, texts in _BAD for text in texts])
def test_bad_identifiers(check: Check, text: str) -> None:
    with pytest.raises(InputError):
        check(text)


@given(st.text(max_size=80))
def test_a_name_that_passes_is_one_harmless_path_component(text: str) -> None:
    try:
        name = check_name(text)
    except InputError:
        return
    assert name.isascii()
    assert "/" not in name
    assert ".." not in name
    assert name.isprintable()


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), st.integers(-14, 14))
def test_times_there_and_back(moment: datetime, hours: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert parse_time(format_time(aware)) == aware
    whole = aware.replace(microsecond=0)
    assert format_time(whole).endswith("Z")
    assert "." not in format_time(whole)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-01",
        "2026-03-01T12:00:00",
        "2026-03-01T12:00:00+00:00",
        "2026-03-01 12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-03-01T25:00:00Z",
        "2026-03-01T12:00:00z",
        "2026-03-01T12:00:00Z\n",
        "٢026-03-01T12:00:00Z",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InputError):
        parse_time(text)


def test_a_clock_in_1970_does_not_go_below_its_floor() -> None:
    early, late = datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    assert floored(early, late) == late
    assert floored(late, early) == late
    assert floored(early, None) == early


_JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(_JSON)
def test_canonical_json_is_json_in_one_spelling(value: JsonValue) -> None:
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data
    assert not data.endswith(b"\n")


def test_keys_in_any_order_give_the_same_bytes() -> None:
    assert canonical_json({"b": 1, "a": [True, None]}) == canonical_json({"a": [True, None], "b": 1})
    assert canonical_json({"b": 1, "a": [True, None, "é"]}) == '{"a":[true,null,"é"],"b":1}'.encode()


@pytest.mark.parametrize(
    "value", [1.0, 2**53, -(2**53), {1: "a"}, b"bytes", "\ud800", {"a": float("nan")}, {"\udcff": 1}]
)
def test_what_canonical_json_does_not_write(value: JsonValue) -> None:
    with pytest.raises(InputError):
        canonical_json(value)


def test_nesting_is_bounded() -> None:
    value: JsonValue = 1
    for _ in range(100):
        value = [value]
    with pytest.raises(InputError, match="deeper"):
        canonical_json(value)


def _all_errors(kind: type[SutureError]) -> list[type[SutureError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in _all_errors(child))]


def test_each_error_has_its_own_code_and_knows_what_to_do_next() -> None:
    kinds = [kind for kind in _all_errors(SutureError) if kind.__module__ == errors.__name__]
    codes = [kind.code for kind in kinds]
    assert len(set(codes)) == len(codes)
    for kind in kinds:
        assert kind("cannot do it").advice
        assert 1 <= kind.exit_code < 70
        assert kind.code == kind.code.lower()
