"""Keys at rest, passphrases, thresholds and rotation; a stock client follows every rotation from the first root."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from publisher_workshop import OFFLINE, ONLINE, Bench, snapshot


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """A bench with an initialised workshop and a built level."""
    bench = Bench(tmp_path, capsys)
    bench.init()
    bench.build()
    return bench


def test_private_keys_are_encrypted_and_ours_alone(bench: Bench) -> None:
    files = list((bench.workshop / "keys").iterdir())
    assert len(files) == 4
    assert stat.S_IMODE((bench.workshop / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((bench.workshop / "staging").stat().st_mode) == 0o700
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        passphrase = ONLINE if file.name.startswith("online") else OFFLINE
        load_pem_private_key(file.read_bytes(), passphrase.encode())
        with pytest.raises(TypeError):
            load_pem_private_key(file.read_bytes(), None)


def test_no_secret_is_anywhere_else(bench: Bench) -> None:
    bench.release(1)
    for path in bench.workshop.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert OFFLINE.encode() not in data
            assert ONLINE.encode() not in data
            assert b"BEGIN PRIVATE KEY" not in data
            assert path.parent.name == "keys" or b"PRIVATE KEY" not in data


def test_a_wrong_passphrase_changes_nothing(bench: Bench) -> None:
    wrong = bench.secret("wrong", "another passphrase")
    words = ["--passphrase-file", str(wrong), *bench.online]
    assert "passphrase is wrong" in bench.refused("release", "1", *words, code="bad-input", exit_code=2)
    words = ["--passphrase-file", str(bench.offline_file), "--online-passphrase-file", str(wrong)]
    bench.refused("release", "1", *words, code="bad-input")
    bench.refused("refresh", "--force", "--online-passphrase-file", str(wrong), code="bad-input")


def test_no_passphrase_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    bench.refused("release", "1", code="not-known", exit_code=3)
    bench.refused("refresh", "--force", code="not-known", exit_code=3)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("short", 0o600),
        ("", 0o600),
        ("two lines of\npassphrases", 0o600),
        ("a fine passphrase", 0o644),
        ("\0" * 20, 0o600),
    ],
)
def test_a_passphrase_file_that_cannot_be_used(bench: Bench, text: str, mode: int) -> None:
    file = bench.root / "passphrase"
    file.write_text(text)
    file.chmod(mode)
    bench.refused("refresh", "--force", "--online-passphrase-file", str(file), code="bad-input")


def test_the_online_passphrase_from_the_service_managers_credentials(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = bench.root / "credentials"
    credentials.mkdir()
    shutil.copy(bench.online_file, credentials / "suture-online-passphrase")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert bench.good("refresh", "--force")["changed"]


def test_a_passphrase_is_asked_for_at_a_terminal(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return ONLINE

    monkeypatch.setattr("suture.cli.publishing.desk_arguments._asker", lambda: answer)
    assert bench.good("refresh", "--force")["changed"]
    assert asked == ["Passphrase of the online key: "]


def test_a_missing_key_is_named(bench: Bench) -> None:
    (key,) = (bench.workshop / "keys").glob("release-*")
    key.unlink()
    bench.refused("release", "1", *bench.passphrases, code="not-known", exit_code=3)
    listed = {one["role"]: one["present"] for one in bench.good("keys list")["keys"]}
    assert listed == {"root": True, "targets": True, "release": False, "online": True}


def test_a_key_file_that_holds_another_key_or_is_not_encrypted(bench: Bench) -> None:
    keys = bench.workshop / "keys"
    (release,) = keys.glob("release-*")
    (targets,) = keys.glob("targets-*")
    whole = release.read_bytes()
    shutil.copy(targets, release)
    assert "another key" in bench.refused("release", "1", *bench.passphrases, code="bad-input")
    release.write_bytes(whole[:-40])
    bench.refused("release", "1", *bench.passphrases, code="bad-input")
    release.write_bytes(whole.replace(b"ENCRYPTED ", b""))
    assert "not encrypted" in bench.refused("release", "1", *bench.passphrases, code="bad-input")
    release.unlink()
    release.symlink_to(targets)
    bench.refused("release", "1", *bench.passphrases, code="storage")


def test_two_of_three_keys_are_enough_and_one_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(tmp_path, capsys)
    bench.init("--keys", "3", "--threshold", "2")
    bench.build()
    keys = sorted((bench.workshop / "keys").glob("release-*"))
    keys[0].unlink()
    bench.release(1)
    assert bench.client().levels() == [1]
    keys[1].unlink()
    bench.refused("recall", "1", "--reason", "bad", *bench.passphrases, code="not-known")


def test_keys_of_one_role_may_have_different_passphrases(bench: Bench) -> None:
    other = bench.secret("other", "a second passphrase")
    bench.good("keys new", "release", "--passphrase-file", str(bench.offline_file), *bench.online)
    # The second person's key is made with the second passphrase first in line; the root's is tried after it.
    both = ["--passphrase-file", str(other), "--passphrase-file", str(bench.offline_file), *bench.online]
    bench.good("keys new", "release", "--threshold", "3", *both)
    bench.refused("release", "1", *bench.passphrases, code="bad-input")
    bench.good("release", "1", *both)
    assert bench.client().levels() == [1]


@pytest.mark.parametrize("role", ["root", "targets", "release", "online"])
def test_a_stock_client_follows_a_rotation(bench: Bench, role: str) -> None:
    bench.release(1)
    before, after = bench.client("before"), bench.client("after")
    assert before.levels() == [1]
    (old,) = (bench.workshop / "keys").glob(f"{role}-*")
    changed = bench.good("keys rotate", role, *bench.passphrases)
    assert [keyid[:16] for keyid in changed["retired"]] == [old.stem.split("-")[1]]
    old.unlink()
    assert before.levels() == [1]
    assert after.levels() == [1]
    bench.good("recall", "1", "--reason", "bad", *bench.passphrases)
    bench.good("refresh", "--force", "--offline", *bench.passphrases)
    assert before.index()["recalls"][0]["level"] == 1
    assert after.index()["recalls"][0]["level"] == 1
    states = {one["keyid"]: one["retired"] for one in bench.good("keys list")["keys"]}
    assert states[changed["retired"][0]]
    assert not states[changed["added"][0]]


@pytest.mark.parametrize("role", ["root", "targets", "release", "online"])
def test_raising_a_threshold(bench: Bench, role: str) -> None:
    bench.release(1)
    device = bench.client()
    assert device.levels() == [1]
    changed = bench.good("keys new", role, "--count", "2", "--threshold", "2", *bench.passphrases)
    assert changed["threshold"] == 2
    assert device.levels() == [1]
    keys = sorted((bench.workshop / "keys").glob(f"{role}-*"))
    assert len(keys) == 3
    keys[0].unlink()
    bench.good("refresh", "--force", "--offline", *bench.passphrases)
    assert device.levels() == [1]
    keys[1].unlink()
    bench.refused("refresh", "--force", "--offline", *bench.passphrases, code="not-known")


@pytest.mark.parametrize(
    "words",
    [
        ["--count", "0"],
        ["--count", "21"],
        ["--count", "2", "--threshold", "3"],
        ["--threshold", "0"],
    ],
)
def test_key_counts_that_cannot_be(bench: Bench, words: list[str]) -> None:
    before = snapshot(bench.workshop)
    answer = bench.run("keys rotate", "release", *words, *bench.passphrases, "--json")
    assert answer.code == 2
    assert snapshot(bench.workshop) == before


def test_a_rotation_needs_the_old_roots_keys(bench: Bench) -> None:
    (root,) = (bench.workshop / "keys").glob("root-*")
    root.unlink()
    bench.refused("keys rotate", "online", *bench.passphrases, code="not-known")
    bench.refused("keys rotate", "root", *bench.passphrases, code="not-known")
