"""The whole chain on one machine: vendor, repository over HTTP, device, through the real commands."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_world import ChainWorld, chain_world

pytestmark = pytest.mark.slow


@pytest.fixture
def world() -> Iterator[ChainWorld]:
    with chain_world() as made:
        yield made


def fingerprint(root: Path) -> dict[str, str]:
    """Every path below `root` with mode, time and bytes."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        body = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
        found[str(path.relative_to(root))] = f"{status.st_mode:o} {status.st_mtime_ns} {body}"
    return found


def level(world: ChainWorld, number: int) -> dict[str, object]:
    return next(one for one in world.product()["levels"] if one["level"] == number)


def test_a_level_installs_is_effective_and_leaves_the_baseline_untouched(world: ChainWorld) -> None:
    before = fingerprint(world.baseline)
    world.publish(1, "1.1")
    world.suture("agent", "once")
    product = world.product()
    assert (product["level"], product["state"], product["effective"]) == (1, "effective", True)
    assert world.visible() == "version 1.1"
    assert (world.pointer / "imaging/lib/added.txt").read_bytes() == b"new\n"
    assert (world.pointer / "imaging/lib/link.so").resolve() == (world.pointer / "imaging/lib/engine.so").resolve()
    assert (world.pointer / "codec/notes.txt").read_text() == "version 1.0\n"
    assert product["open_cves"] == []
    assert fingerprint(world.baseline) == before


def test_two_components_change_together(world: ChainWorld) -> None:
    world.publish(1, "1.1", components=("imaging", "codec"))
    world.suture("agent", "once")
    assert world.visible("imaging") == world.visible("codec") == "version 1.1"


def test_a_bad_level_rolls_back_says_why_and_is_remembered(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    world.publish(2, "broken")
    world.suture("agent", "once")
    assert world.visible() == "version 1.1"
    bad = level(world, 2)
    assert (bad["state"], bad["reason"]) == ("rolled-back", "health-failed")
    world.suture("agent", "once")
    assert world.visible() == "version 1.1"
    assert any(reason["code"] == "quarantined" for reason in world.product()["why"])


def test_a_recall_is_obeyed_though_automatic_install_is_off(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    world.suture("settings", "set", "automatic-install", "off")
    world.publisher("recall", "1", "--reason", "it eats pictures")
    world.suture("agent", "once")
    assert world.visible() == "version 1.0"
    assert level(world, 1)["state"] == "recalled"
    assert [one["cve"] for one in world.product()["open_cves"]] == ["CVE-2023-4863"]


def test_removal_works_with_the_repository_gone_and_tells_what_is_open_again(world: ChainWorld) -> None:
    before = fingerprint(world.baseline)
    world.publish(1, "1.1")
    world.suture("agent", "once")
    world.stop_serving()
    answer = world.suture("remove", "darkroom")
    assert answer["reopened_cves"] == ["CVE-2023-4863"]
    assert world.pointer.resolve() == world.baseline.resolve()
    assert fingerprint(world.baseline) == before
    world.serve()
    world.suture("agent", "once")
    assert world.visible() == "version 1.0", "a removed level is held"
    world.publish(2, "1.2")
    world.suture("agent", "once")
    assert world.visible() == "version 1.2", "until a higher one appears"


def test_a_person_installs_again_what_they_removed(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    world.suture("remove", "darkroom")
    world.suture("install", "darkroom")
    assert world.visible() == "version 1.1"


def test_a_level_patches_from_the_level_before_it(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    world.publish(2, "1.2")
    world.suture("agent", "once")
    assert world.visible() == "version 1.2"
    world.suture("remove", "darkroom", "--to", "a")
    assert world.visible() == "version 1.1"


def test_a_paused_rollout_offers_nothing_and_says_so(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    world.publisher("pause", "--hours", "2", "--reason", "we look at a report")
    world.suture("agent", "once")
    assert world.visible() == "version 1.0"
    codes = {reason["code"] for reason in world.product()["why"]}
    assert "paused" in codes
    world.publisher("resume")
    world.suture("agent", "once")
    assert world.visible() == "version 1.1"


def test_a_share_of_nobody_waits_and_a_person_need_not(world: ChainWorld) -> None:
    world.build(1, "1.1")
    world.publisher("release", "1", "--permille", "0")
    world.suture("agent", "once")
    assert world.visible() == "version 1.0"
    assert level(world, 1)["reason"] == "not-in-share"
    world.suture("install", "darkroom")
    assert world.visible() == "version 1.1"


def test_a_baseline_that_differs_in_one_byte_is_not_improved(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    file = world.baseline / "imaging/notes.txt"
    file.write_text("version 1.O\n")
    world.suture("agent", "once")
    found = level(world, 1)
    assert (found["state"], found["reason"]) == ("failed", "baseline-mismatch")
    assert "notes.txt" in str(found["detail"])
    assert world.visible() == "version 1.O"


def test_another_release_supersedes_and_the_improvement_leaves_by_itself(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    world.release.write_text("2.0\n")
    world.suture("agent", "once", expect=None)
    product = world.product()
    assert (product["baseline"], product["level"]) == ("2.0-x86_64", 0)
    assert world.pointer.resolve() == world.baseline.resolve()
    events = [row["event"] for row in world.suture("history")]
    assert "supersede-done" in events


def test_the_repository_gone_changes_nothing_and_has_its_own_answer(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    world.stop_serving()
    answer = world.suture("check", "darkroom", expect=30)
    assert answer["error"]["code"] == "unreachable"
    product = world.product()
    assert (product["trust"]["state"], product["level"]) == ("unreachable", 1)
    assert world.visible() == "version 1.1"


def test_a_policy_that_forbids_removal_is_obeyed(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    world.suture("agent", "once")
    policy = world.device / "etc/policy.json"
    policy.parent.mkdir()
    policy.write_text('{"format": "suture-policy/1", "organisation": "Example AG", "removal-allowed": false}')
    answer = world.suture("remove", "darkroom", expect=12)
    assert answer["error"]["code"] == "policy-forbids"
    assert world.visible() == "version 1.1"


def test_a_unit_that_the_product_file_does_not_allow_is_refused(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    stored = world.state / "products/darkroom.json"
    stored.write_text(stored.read_text().replace('"thumbnails"', '"another"'))
    world.suture("agent", "once")
    assert world.visible() == "version 1.0"
    assert "not-allowed" in {reason["code"] for reason in world.product()["why"]}


def test_a_read_only_state_directory_is_a_clear_error(world: ChainWorld) -> None:
    world.publish(1, "1.1")
    (world.state / "journal.sqlite3").unlink(missing_ok=True)
    (world.state / "journal.sqlite3").mkdir()
    answer = world.suture("check", "darkroom", expect=60)
    assert answer["error"]["code"] == "storage"
    assert world.visible() == "version 1.0"
