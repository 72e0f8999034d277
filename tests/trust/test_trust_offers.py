"""Which levels are on offer, and for each that is not, why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suture.core.clock import format_time
from suture.core.digests import Digest
from suture.core.errors import InputError
from suture.trust.documents import Index, IndexedLevel, Pause, Recall, Rollout, Share
from suture.trust.offers import LevelOffer, Offer, RolloutState, RolloutView, is_in_share, offered_levels
from suture.trust.paths import advisory_path, check_target_path, index_path, manifest_path, patch_path, rollout_path

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGEST = Digest("sha256:" + "1" * 64)
OTHER = "sha256:" + "2" * 64


def index(recalled: bool = False) -> Index:
    recalls = (Recall(1, DIGEST, format_time(NOW), "it crashes"),) if recalled else ()
    return Index("suture-index/1", "darkroom", "1.0-any", format_time(NOW), (IndexedLevel(1, DIGEST, 9),), recalls)


def view(permille: int | None = 1000, *, pause: Pause | None = None, digest: str = DIGEST) -> RolloutView:
    shares = () if permille is None else (Share(1, digest, permille),)
    document = Rollout("suture-rollout/1", "darkroom", "1.0-any", format_time(NOW), shares, pause)
    return RolloutView(RolloutState.PRESENT, document, expires=NOW + timedelta(days=7))


def standing(
    rollout: RolloutView, *, now: datetime = NOW, full_by: datetime | None = None, recalled: bool = False
) -> LevelOffer:
    (one,) = offered_levels(index(recalled), rollout, device_id="d1", now=now, full_by=lambda _: full_by)
    return one


def test_a_full_share_is_an_offer_to_everybody() -> None:
    assert standing(view()) == LevelOffer(1, DIGEST, Offer.OFFERED, permille=1000)


@pytest.mark.parametrize("rollout", [view(0), view(None), view(1000, digest=OTHER)])
def test_no_share_of_these_bytes_is_not_yet(rollout: RolloutView) -> None:
    assert standing(rollout).offer is Offer.NOT_YET


def test_after_full_by_shares_are_ignored_so_the_online_key_cannot_withhold() -> None:
    assert standing(view(0), full_by=NOW).offer is Offer.OFFERED
    assert standing(view(None), full_by=NOW).offer is Offer.OFFERED
    later = NOW + timedelta(days=1)
    assert standing(view(0), full_by=later) == LevelOffer(1, DIGEST, Offer.NOT_YET, until=later)


def test_a_pause_stops_and_ends_by_itself() -> None:
    until = NOW + timedelta(hours=6)
    pause = Pause(format_time(NOW), format_time(until), "crashes")
    assert standing(view(pause=pause)) == LevelOffer(1, DIGEST, Offer.PAUSED, until=until, reason="crashes")
    assert standing(view(pause=pause), full_by=NOW).offer is Offer.PAUSED
    assert standing(view(pause=pause), now=until).offer is Offer.OFFERED


@pytest.mark.parametrize("state", [RolloutState.MISSING, RolloutState.EXPIRED, RolloutState.UNUSABLE])
def test_without_a_rollout_nothing_new_is_offered_and_since_when_is_said(state: RolloutState) -> None:
    one = standing(RolloutView(state, since=NOW), full_by=NOW)
    assert (one.offer, one.since) == (Offer.NO_ROLLOUT, NOW)


@pytest.mark.parametrize("rollout", [view(), view(0), RolloutView(RolloutState.MISSING)])
def test_a_recall_beats_everything_the_online_key_says(rollout: RolloutView) -> None:
    one = standing(rollout, recalled=True, full_by=NOW)
    assert (one.offer, one.reason) == (Offer.RECALLED, "it crashes")


def test_a_rollout_view_expires_by_itself_and_tells_its_age() -> None:
    assert view().at(NOW).state is RolloutState.PRESENT
    expired = view().at(NOW + timedelta(days=7))
    assert (expired.state, expired.since) == (RolloutState.EXPIRED, NOW + timedelta(days=7))
    assert view().age_seconds(NOW + timedelta(hours=1)) == 3600
    assert view().age_seconds(NOW - timedelta(hours=1)) == 0
    assert expired.age_seconds(NOW) is None


@given(st.text(max_size=40), st.integers(0, 2**256 - 1), st.integers(0, 1000), st.integers(0, 1000))
def test_a_share_that_grows_never_loses_a_device(device: str, number: int, first: int, second: int) -> None:
    digest = f"sha256:{number:064x}"
    low, high = sorted((first, second))
    assert is_in_share(device, digest, 1000)
    assert not is_in_share(device, digest, 0)
    assert not is_in_share(device, digest, low) or is_in_share(device, digest, high)


def test_ten_percent_of_devices_is_ten_percent_of_devices_and_others_the_next_time() -> None:
    devices = [f"device-{number}" for number in range(4000)]
    first = {device for device in devices if is_in_share(device, DIGEST, 100)}
    second = {device for device in devices if is_in_share(device, OTHER, 100)}
    assert 320 < len(first) < 480
    assert len(first & second) < 80, "nobody is always the first"


def test_a_devices_place_is_what_the_specification_computes() -> None:
    # spec/repository.md §5.2, worked by hand: 3466471360703783782 / 2**64 = 0.18792
    assert not is_in_share("golden-device", DIGEST, 187)
    assert is_in_share("golden-device", DIGEST, 188)


@pytest.mark.parametrize(
    "path",
    [
        index_path("darkroom", "1.0-x86_64"),
        manifest_path("darkroom", "1.0+b~1-x86_64", 12),
        patch_path("darkroom", "1.0-x86_64", 2, "imaging", 0),
        advisory_path("darkroom", "1.0-x86_64", 2),
        rollout_path("darkroom", "1.0-x86_64"),
    ],
)
def test_paths_that_are_made_here_are_asked_for(path: str) -> None:
    assert check_target_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "improvements",
        "/improvements/a",
        "improvements/../x",
        "improvements/a//b",
        "improvements/a/..b/c",
        "improvements/a/b\n",
        "improvements/a/b?c",
        "improvements/a/%2e%2e/b",
        "improvements/a/b/c/d/e",
        "other/a/b",
    ],
)
def test_other_paths_are_not(path: str) -> None:
    with pytest.raises(InputError):
        check_target_path(path)
