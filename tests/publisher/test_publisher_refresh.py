"""Lives of signatures: what is due, what is signed again, and how loudly an offline role says that it is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from publisher_workshop import Bench, snapshot

from suture.core.errors import SigningDueError
from suture.publisher.metrics import metrics_text
from suture.publisher.refreshing import RoleLife


class LateClock:
    """A clock some days ahead."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        """The shifted time."""
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench with a released level, whose commands read `LateClock`."""
    bench = Bench(tmp_path, capsys)
    bench.init()
    bench.build()
    bench.release(1)
    monkeypatch.setattr("suture.cli.publishing.desk_arguments.SystemClock", LateClock)
    monkeypatch.setattr("suture.cli.publishing.status.SystemClock", LateClock)
    return bench


def late(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Set the clock ahead of the machine's."""
    monkeypatch.setattr(LateClock, "ahead", timedelta(days=days))


def test_nothing_is_due_and_nothing_changes(bench: Bench) -> None:
    before = snapshot(bench.workshop)
    answer = bench.good("refresh", *bench.online)
    assert (answer["changed"], answer["offline_due"]) == (False, [])
    assert snapshot(bench.workshop) == before


def test_the_online_roles_after_half_their_life(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    late(monkeypatch, 3)
    assert not bench.good("refresh", *bench.online)["changed"]
    late(monkeypatch, 4)
    due = {role["role"] for role in bench.good("status")["roles"] if role["due"]}
    assert due == {"timestamp", "snapshot", "rollout-1.0-x86_64"}
    assert bench.good("refresh", *bench.online)["changed"]
    assert not any(role["due"] for role in bench.good("status")["roles"])
    assert bench.client().levels() == [1]


def test_what_has_expired_is_healed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    late(monkeypatch, 30)
    assert bench.good("refresh", *bench.online)["changed"]
    roles = {role["role"]: role["days_left"] for role in bench.good("status")["roles"]}
    assert roles["timestamp"] == roles["snapshot"] == roles["rollout-1.0-x86_64"] == pytest.approx(7, abs=0.1)


def test_an_offline_role_that_is_due_is_said_by_the_exit_code(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    late(monkeypatch, 200)
    answer = bench.run("refresh", *bench.online, "--json")
    assert answer.code == SigningDueError.exit_code == 15
    assert sorted(answer.json["offline_due"]) == ["release-1.0-x86_64", "root", "targets"]
    assert answer.json["changed"]
    assert "--offline" in bench.run("refresh", *bench.online).out
    assert bench.good("refresh", "--offline", *bench.passphrases)["offline_due"] == []
    assert (bench.workshop / "repository" / "metadata" / "2.root.json").is_file()
    assert bench.client().levels() == [1]


def test_a_pause_that_has_ended_leaves_the_document(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.good("pause", "--hours", "1", "--reason", "looking", *bench.online)
    late(monkeypatch, 1)
    bench.good("rollout", "1", "--permille", "5", *bench.online)
    assert bench.client().rollout()["pause"] is None


@pytest.mark.parametrize(
    "words",
    [
        ["--hours", "0"],
        ["--hours", "nan"],
        ["--hours", "337"],
        ["--until", "2020-01-01T00:00:00Z"],
        ["--until", "2099-01-01T00:00:00Z"],
        ["--until", "soon"],
        ["--hours", "1", "--until", "2099-01-01T00:00:00Z"],
        [],
    ],
)
def test_pauses_that_cannot_be(bench: Bench, words: list[str]) -> None:
    before = snapshot(bench.workshop)
    answer = bench.run("pause", *words, "--reason", "looking", *bench.online, "--json")
    assert answer.code == 2
    assert answer.json["error"]["message"].startswith("cannot ")
    assert snapshot(bench.workshop) == before


def test_no_reason_no_pause_and_no_recall(bench: Bench) -> None:
    for reason in ("", "  ", "x" * 501, "two\nlines"):
        bench.refused("pause", "--hours", "1", "--reason", reason, *bench.online, code="bad-input")
        bench.refused("recall", "1", "--reason", reason, *bench.passphrases, code="bad-input")
    bench.refused("recall", "2", "--reason", "bad", *bench.passphrases, code="not-known")
    bench.refused("rollout", "2", "--permille", "1", *bench.online, code="not-known")
    bench.refused("rollout", "1", "--permille", "1001", *bench.online, code="bad-input")
    bench.refused("release", "2", *bench.passphrases, code="not-known")
    bench.refused("pause", "--hours", "1", "--reason", "x", "--baseline", "9.9", *bench.online, code="not-known")


def test_the_online_key_alone_can_neither_release_nor_recall(bench: Bench) -> None:
    bench.build("--level", "2", "--replace")
    bench.refused("release", "2", *bench.online, code="not-known")
    bench.refused("recall", "1", "--reason", "bad", *bench.online, code="not-known")


def test_metrics_say_when_each_role_ends_and_what_is_due(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    lives = [
        RoleLife("timestamp", False, 7, now + timedelta(days=6), 6.0, False),
        RoleLife('odd"role', True, 2, now + timedelta(days=100), 100.0, True),
    ]
    text = metrics_text("darkroom", lives, now)
    assert 'suture_role_due{product="darkroom",role="timestamp",keys="online"} 0\n' in text
    assert 'suture_role_due{product="darkroom",role="odd\\"role",keys="offline"} 1\n' in text
    seconds = int((now + timedelta(days=6)).timestamp())
    assert (
        f'suture_role_expires_timestamp_seconds{{product="darkroom",role="timestamp",keys="online"}} {seconds}' in text
    )
    assert text.endswith(f'suture_refreshed_timestamp_seconds{{product="darkroom"}} {int(now.timestamp())}\n')
    assert len([line for line in text.splitlines() if line.startswith("# TYPE")]) == 4


def test_refresh_shouts_by_exit_code_and_metric_when_an_offline_role_is_due(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "suture.prom"
    bench.good("refresh", *bench.online, "--metrics", str(file))
    assert "} 1\n" not in file.read_text().partition("suture_role_version")[0].partition("suture_role_due")[2]
    late(monkeypatch, 200)
    assert bench.run("refresh", *bench.online, "--metrics", str(file)).code == SigningDueError.exit_code
    due = [line for line in file.read_text().splitlines() if line.startswith("suture_role_due") and line.endswith(" 1")]
    assert len(due) == 3
    assert all('keys="offline"' in line for line in due)
