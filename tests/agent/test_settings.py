"""Which source wins, what a broken file means, and which changes are refused."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suture.adapters.files import exclusive_lock
from suture.agent.places import Places, prepare
from suture.agent.setting_changes import NAMES, parse_change, write_setting
from suture.agent.settings import FIELDS, effective_settings, read_policy, read_settings
from suture.core.clock import format_time
from suture.core.errors import BusyError, InputError, NotKnownError, PolicyError, SutureError
from suture.wire.product import Product, ProductDefaults
from suture.wire.settings import PolicyFile, Settings, Source

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
times = st.integers(-40 * 86400, 40 * 86400).map(lambda seconds: format_time(NOW + timedelta(seconds=seconds)))
words = st.none() | st.builds(
    Settings,
    automatic_install=st.none() | st.booleans(),
    ask_first=st.none() | st.booleans(),
    postpone_until=st.none() | times,
    notify=st.none() | st.booleans(),
    poll_interval_seconds=st.none() | st.integers(1, 30 * 86400),
    removal_allowed=st.none() | st.booleans(),
)
vendors = st.none() | st.builds(ProductDefaults, st.booleans(), st.booleans(), st.booleans())


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path / "state", tmp_path / "configuration")
    prepare(made)
    made.configuration.mkdir()
    return made


def write_policy(places: Places, **more: Any) -> None:
    places.managed_policy.write_text(
        json.dumps({"format": "suture-policy/1", "organisation": "Acme IT", **more}), encoding="utf-8"
    )


@given(words, words, words, vendors)
def test_every_value_is_the_strongest_sources_word(
    managed: Settings | None, administrator: Settings | None, user: Settings | None, vendor: ProductDefaults | None
) -> None:
    found = effective_settings(managed, administrator, user, vendor, NOW)
    by_source = {Source.MANAGED: managed, Source.ADMINISTRATOR: administrator, Source.USER: user}
    order = list(Source)
    assert set(found.sources) == set(FIELDS)
    for field in set(FIELDS) - {"postpone_until"}:
        source = found.sources[field]
        if source in by_source:
            assert getattr(found, field) == getattr(by_source[source], field)
        for stronger in order[: order.index(source)]:
            said = getattr(by_source.get(stronger), field, None)
            assert said is None or (field == "removal_allowed" and stronger is Source.USER)


@given(words, words, words, vendors)
def test_a_person_never_decides_whether_removal_is_allowed(
    managed: Settings | None, administrator: Settings | None, user: Settings | None, vendor: ProductDefaults | None
) -> None:
    with_user = effective_settings(managed, administrator, user, vendor, NOW)
    without = effective_settings(managed, administrator, None, vendor, NOW)
    assert with_user.removal_allowed == without.removal_allowed
    assert with_user.sources["removal_allowed"] is not Source.USER


@given(words, words, words, st.integers(0, 80 * 86400))
def test_every_postponement_expires_by_itself_and_never_holds_longer_than_30_days(
    managed: Settings | None, administrator: Settings | None, user: Settings | None, later: int
) -> None:
    now = NOW + timedelta(seconds=later)
    found = effective_settings(managed, administrator, user, None, now)
    if found.postpone_until is not None:
        assert format_time(now) < found.postpone_until <= format_time(now + timedelta(days=30))
    if later > 40 * 86400:
        assert found.postpone_until is None


@given(words, words, vendors)
def test_saying_nothing_is_the_same_as_being_absent(
    administrator: Settings | None, user: Settings | None, vendor: ProductDefaults | None
) -> None:
    assert effective_settings(Settings(), administrator, user, vendor, NOW) == effective_settings(
        None, administrator, user, vendor, NOW
    )


def test_sutures_own_defaults_install_by_themselves() -> None:
    found = effective_settings(None, None, None, None, NOW)
    assert found.automatic_install
    assert not found.ask_first
    assert found.removal_allowed
    assert set(found.sources.values()) == {Source.DEFAULT}


def test_a_date_that_does_not_exist_postpones_nothing() -> None:
    found = effective_settings(None, None, Settings(postpone_until="2026-02-31T00:00:00Z"), None, NOW)
    assert found.postpone_until is None


def test_a_policys_limits() -> None:
    policy = PolicyFile(
        format="suture-policy/1", organisation="Acme IT", minimum_poll_interval_seconds=600, postpone_allowed=False
    )
    user = Settings(poll_interval_seconds=30, postpone_until="2026-03-02T00:00:00Z")
    found = effective_settings(policy, None, user, None, NOW)
    assert (found.poll_interval_seconds, found.postpone_until, found.organisation) == (600, None, "Acme IT")
    assert found.sources["poll_interval_seconds"] is Source.MANAGED
    assert found.sources["postpone_until"] is Source.MANAGED


BROKEN = [
    b"",
    b"{",
    b"[]",
    b"\xff\xff",
    b'{"format":"suture-policy/1"}',
    b'{"format":"suture-policy/2","organisation":"A"}',
    b'{"format":"suture-policy/1","organisation":"A","automatic-instal":true}',
    b'{"format":"suture-policy/1","organisation":"A","automatic-install":"yes"}',
    b'{"format":"suture-policy/1","organisation":"A","poll-interval-seconds":0}',
    b" " * (64 * 1024 + 1),
]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_policy_is_read_with_the_most_care_and_never_in_silence(places: Places, content: bytes) -> None:
    places.managed_policy.write_bytes(content)
    write_json(places.user_settings, {"format": "suture-settings/1", "automatic-install": True})
    found = read_settings(places, None, NOW)
    assert not found.automatic_install
    assert not found.removal_allowed
    assert found.sources["automatic_install"] is Source.MANAGED
    assert len(found.notes) == 1
    assert "policy" in found.notes[0]
    with pytest.raises(SutureError):
        read_policy(places)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.mark.parametrize("kind", ["open to everybody", "link", "directory", "pipe"])
def test_a_policy_that_somebody_else_could_have_put_there_is_not_believed(places: Places, kind: str) -> None:
    write_policy(places, **{"automatic-install": True, "removal-allowed": True})
    path = places.managed_policy
    if kind == "open to everybody":
        path.chmod(0o666)
    else:
        path.rename(path.with_name("real.json"))
        if kind == "link":
            path.symlink_to("real.json")
        elif kind == "directory":
            path.mkdir()
        else:
            os.mkfifo(path)
    found = read_settings(places, None, NOW)
    assert not found.automatic_install
    assert found.notes


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_policy_that_belongs_to_another_user_is_not_believed(places: Places) -> None:
    write_policy(places, **{"automatic-install": True})
    os.chown(places.managed_policy, 12345, 12345)
    found = read_settings(places, None, NOW)
    assert not found.automatic_install
    assert "12345" in found.notes[0]


@pytest.mark.parametrize("whose", ["administrator_settings", "user_settings"])
def test_a_broken_settings_file_counts_as_the_off_switch(places: Places, whose: str) -> None:
    getattr(places, whose).write_bytes(b"{")
    found = read_settings(places, None, NOW)
    assert not found.automatic_install
    assert found.removal_allowed
    assert len(found.notes) == 1


def test_words_about_one_product_come_before_the_general_ones(places: Places, product: Product) -> None:
    write_setting(places, "automatic-install", "on", now=NOW)
    write_setting(places, "automatic-install", "off", now=NOW, product="darkroom")
    assert not read_settings(places, product, NOW).automatic_install
    assert read_settings(places, None, NOW).automatic_install
    write_setting(places, "automatic-install", "default", now=NOW, product="darkroom")
    assert read_settings(places, product, NOW).automatic_install


@pytest.fixture
def product() -> Product:
    document = {
        "format": "suture-product/1",
        "product": "darkroom",
        "title": "Darkroom",
        "vendor": "Acme",
        "release": {"kind": "fixed", "version": "1.0"},
        "root": "/opt/darkroom",
        "components": [{"name": "imaging", "path": "lib"}],
        "repositories": ["https://a.example/"],
        "first_root": "sha256:" + "ab" * 32,
        "defaults": {"notify": False},
    }
    return msgspec.convert(document, Product)


def test_a_vendors_default_is_the_weakest_but_ours(places: Places, product: Product) -> None:
    found = read_settings(places, product, NOW)
    assert (found.notify, found.sources["notify"]) == (False, Source.PRODUCT)
    write_setting(places, "notify", "on", now=NOW)
    assert read_settings(places, product, NOW).sources["notify"] is Source.USER


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("automatic-install", "off", "automatic_install", False),
        ("ask-first", "on", "ask_first", True),
        ("notify", "off", "notify", False),
        ("postpone", "3d", "postpone_until", "2026-03-04T12:00:00Z"),
        ("postpone", "2h", "postpone_until", "2026-03-01T14:00:00Z"),
        ("postpone", "30d", "postpone_until", "2026-03-31T12:00:00Z"),
        ("postpone", "until 2026-03-05T00:00:00Z", "postpone_until", "2026-03-05T00:00:00Z"),
        ("postpone", "until 2026-03-05T00:00:00.5Z", "postpone_until", "2026-03-05T00:00:00Z"),
        ("postpone", "off", "postpone_until", None),
        ("poll-interval", "30s", "poll_interval_seconds", 30),
        ("poll-interval", "1h", "poll_interval_seconds", 3600),
    ],
)
def test_what_a_person_writes_is_in_force(places: Places, name: str, value: str, field: str, expected: object) -> None:
    write_setting(places, name, value, now=NOW)
    assert getattr(read_settings(places, None, NOW), field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("automatic-install", "yes"),
        ("automatic-install", ""),
        ("postpone", "31d"),
        ("postpone", "9999999d"),
        ("postpone", "0d"),
        ("postpone", "-1d"),
        ("postpone", "3"),
        ("postpone", "until tomorrow"),
        ("postpone", "until 2026-02-01T00:00:00Z"),
        ("postpone", "until 2027-02-01T00:00:00Z"),
        ("postpone", "until 2026-02-31T00:00:00Z"),
        ("poll-interval", "0s"),
        ("poll-interval", "31d"),
        ("poll-interval", "1.5h"),
        ("poll-interval", "٣s"),
        ("poll-interval", "off"),
    ],
)
def test_a_bad_value_changes_nothing(places: Places, name: str, value: str) -> None:
    with pytest.raises(InputError):
        write_setting(places, name, value, now=NOW)
    assert not places.user_settings.exists()


@given(st.sampled_from(NAMES), st.text(max_size=12))
def test_no_text_ends_in_anything_but_our_errors(name: str, text: str) -> None:
    try:
        change = parse_change(name, text, NOW)
    except InputError:
        return
    assert change.field in FIELDS


def test_an_unknown_setting_is_named_with_the_known_ones(places: Places) -> None:
    with pytest.raises(NotKnownError, match="automatic-install"):
        write_setting(places, "colour", "on", now=NOW)


def test_what_a_policy_fixes_says_who_manages_it_and_nothing_changes(places: Places) -> None:
    write_policy(places, **{"automatic-install": True, "products": {"darkroom": {"notify": False}}})
    with pytest.raises(PolicyError, match="Acme IT"):
        write_setting(places, "automatic-install", "off", now=NOW)
    with pytest.raises(PolicyError, match="Acme IT"):
        write_setting(places, "automatic-install", "off", now=NOW, source=Source.ADMINISTRATOR)
    with pytest.raises(PolicyError, match="Acme IT"):
        write_setting(places, "notify", "on", now=NOW, product="darkroom")
    assert not places.user_settings.exists()
    assert not places.administrator_settings.exists()
    write_setting(places, "notify", "on", now=NOW)
    write_setting(places, "ask-first", "on", now=NOW)


def test_a_policys_limits_refuse_what_they_would_undo(places: Places) -> None:
    write_policy(places, **{"postpone-allowed": False, "minimum-poll-interval-seconds": 600})
    with pytest.raises(PolicyError, match="Acme IT"):
        write_setting(places, "postpone", "3d", now=NOW)
    with pytest.raises(PolicyError, match="below 600s"):
        write_setting(places, "poll-interval", "30s", now=NOW)
    write_setting(places, "poll-interval", "15m", now=NOW)


def test_only_the_administrator_says_whether_improvements_may_be_removed(places: Places) -> None:
    with pytest.raises(PolicyError, match="administrator"):
        write_setting(places, "removal-allowed", "off", now=NOW)
    write_setting(places, "removal-allowed", "off", now=NOW, source=Source.ADMINISTRATOR)
    assert not read_settings(places, None, NOW).removal_allowed


def test_what_the_administrator_fixes_a_person_does_not_change(places: Places) -> None:
    write_setting(places, "ask-first", "off", now=NOW, source=Source.ADMINISTRATOR)
    with pytest.raises(PolicyError, match="administrator"):
        write_setting(places, "ask-first", "on", now=NOW)
    write_setting(places, "ask-first", "default", now=NOW, source=Source.ADMINISTRATOR)
    write_setting(places, "ask-first", "on", now=NOW)


def test_a_broken_file_is_not_overwritten_and_the_lock_is_respected(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suture.agent.setting_changes.PATIENCE_SECONDS", 0.0)
    places.user_settings.write_bytes(b"{")
    with pytest.raises(InputError, match="cannot read the settings"):
        write_setting(places, "notify", "off", now=NOW)
    assert places.user_settings.read_bytes() == b"{"
    places.user_settings.unlink()
    with exclusive_lock(places.settings_lock, doing="test"), pytest.raises(BusyError):
        write_setting(places, "notify", "off", now=NOW)
    assert not places.user_settings.exists()
