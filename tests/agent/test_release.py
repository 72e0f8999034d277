"""How a release is told, and everything that a device may answer instead."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suture.agent import release
from suture.agent.release import detect_baseline, run_bounded
from suture.core.errors import HostError, NotKnownError
from suture.wire.product import Product


def product_with(how: dict[str, Any], **more: Any) -> Product:
    document = {
        "format": "suture-product/1",
        "product": "darkroom",
        "title": "Darkroom",
        "vendor": "Acme",
        "release": how,
        "root": "/opt/darkroom",
        "components": [{"name": "imaging", "path": "lib"}],
        "repositories": ["https://a.example/"],
        "first_root": "sha256:" + "ab" * 32,
        "pointer": "/opt/current",
        **more,
    }
    return msgspec.convert(document, Product)


def test_a_fixed_release_and_whose_architecture(tmp_path: Path) -> None:
    fixed = {"kind": "fixed", "version": "1.0"}
    assert detect_baseline(product_with(fixed), "aarch64").identity == "1.0-aarch64"
    assert detect_baseline(product_with(fixed, architecture="any"), "aarch64").identity == "1.0-any"
    assert detect_baseline(product_with(fixed)).architecture == os.uname().machine


@pytest.mark.parametrize(
    ("content", "pattern", "expected"),
    [
        ("  1.0\nmore", None, "1.0"),
        ("version = '26.3.1'\n", r"version = '([^']+)'", "26.3.1"),
        ("1.0" + "\n" * 100_000, None, "1.0"),
    ],
)
def test_a_file_tells_it(tmp_path: Path, content: str, pattern: str | None, expected: str) -> None:
    path = tmp_path / "VERSION"
    path.write_text(content, encoding="utf-8")
    how = {"kind": "file", "path": str(path), **({"pattern": pattern} if pattern else {})}
    assert detect_baseline(product_with(how), "x86_64").version == expected


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"../../etc", b"1.0 (a)"[3:], b"\xff\xfe\x00", b"v" * 65, b"1..0", b"-1", b"a/b"]
)
def test_a_file_that_tells_nothing_usable_is_an_error_not_a_guess(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "VERSION"
    path.write_bytes(content)
    with pytest.raises(NotKnownError, match="which release of darkroom"):
        detect_baseline(product_with({"kind": "file", "path": str(path)}), "x86_64")


def test_only_the_first_64_kib_of_a_file_count(tmp_path: Path) -> None:
    path = tmp_path / "VERSION"
    path.write_bytes(b" " * (64 * 1024) + b"1.0")
    with pytest.raises(NotKnownError):
        detect_baseline(product_with({"kind": "file", "path": str(path)}), "x86_64")


def test_a_missing_file_a_directory_and_a_pipe_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "gone", tmp_path, tmp_path / "pipe"):
        with pytest.raises(NotKnownError, match="no file"):
            detect_baseline(product_with({"kind": "file", "path": str(path)}), "x86_64")


def test_a_group_that_did_not_take_part_is_no_release(tmp_path: Path) -> None:
    path = tmp_path / "VERSION"
    path.write_bytes(b"b")
    with pytest.raises(NotKnownError):
        detect_baseline(product_with({"kind": "file", "path": str(path), "pattern": "(a)?b"}), "x86_64")


def test_a_pattern_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "COMMAND_DEADLINE_SECONDS", 0.5)
    path = tmp_path / "VERSION"
    path.write_bytes(b"a" * 60 + b"!")
    begun = time.monotonic()
    with pytest.raises(NotKnownError, match="pattern"):
        detect_baseline(product_with({"kind": "file", "path": str(path), "pattern": r"^((a+)+)$"}), "x86_64")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("line", "expected"), [("VERSION_ID=12", "12"), ('VERSION_ID="26.04"', "26.04"), ("VERSION_ID='3.1'", "3.1")]
)
def test_os_release_in_its_shell_quotes(tmp_path: Path, line: str, expected: str) -> None:
    path = tmp_path / "os-release"
    path.write_text(f'# comment\nNAME="A B"\n{line}\n', encoding="utf-8")
    found = detect_baseline(product_with({"kind": "os-release"}), "x86_64", None, (tmp_path / "gone", path))
    assert found.version == expected


@pytest.mark.parametrize("line", ["", "VERSION_ID=", 'VERSION_ID="1', "VERSION_ID=1 2", "VERSION_ID=$(id)"])
def test_os_release_without_a_usable_field(tmp_path: Path, line: str) -> None:
    path = tmp_path / "os-release"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(NotKnownError):
        detect_baseline(product_with({"kind": "os-release"}), "x86_64", None, (path,))
    with pytest.raises(NotKnownError, match="no os-release"):
        detect_baseline(product_with({"kind": "os-release"}), "x86_64", None, ())


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"installed 1:7.88.1-10+deb12u5\n", "1~7.88.1-10+deb12u5"),
        (b"installed 2.0-1\ninstalled 2.0-1\n", "2.0-1"),  # two architectures of one version
        (b"installed 1.0\nconfig-files 0.9\n", "1.0"),
        (b"config-files 0.9\n", None),
        (b"installed 1.0\ninstalled 1.1\n", None),
        (b"", None),
        (b"\xff", None),
        (b"installed 1:2:3\n", None),
    ],
)
def test_dpkg_tells_the_installed_version_with_its_epoch(output: bytes, expected: str | None) -> None:
    def run(argv: Sequence[str], user: str | None) -> bytes:
        assert argv[-1] == "curl"
        assert user is None
        return output

    product = product_with({"kind": "dpkg", "package": "curl"})
    if expected is None:
        with pytest.raises(NotKnownError):
            detect_baseline(product, "x86_64", run)
    else:
        assert detect_baseline(product, "x86_64", run).version == expected


def test_the_real_dpkg_of_this_machine() -> None:
    if not Path("/usr/bin/dpkg-query").exists():
        pytest.skip("no dpkg on this machine")
    assert detect_baseline(product_with({"kind": "dpkg", "package": "bash"}), "x86_64").version[0].isdigit()
    with pytest.raises(NotKnownError):
        detect_baseline(product_with({"kind": "dpkg", "package": "no-such-package-here"}), "x86_64")


def test_a_command_tells_it_in_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD_LIKE", "leaks")
    argv = ["/bin/sh", "-c", "echo 1.${LD_PRELOAD_LIKE:-0}; echo more; pwd >&2"]
    assert detect_baseline(product_with({"kind": "command", "argv": argv}), "x86_64").version == "1.0"


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("exit 3", "code 3"),
        ("head -c 9999 /dev/zero", "more than"),
        ("cat /dev/zero", "more than"),
        ("kill -9 $$", "-9"),
    ],
)
def test_a_command_that_misbehaves(script: str, word: str) -> None:
    with pytest.raises(HostError, match=word):
        run_bounded(["/bin/sh", "-c", script], None)


def test_a_command_that_prints_nothing_or_is_missing() -> None:
    with pytest.raises(NotKnownError, match="printed nothing"):
        detect_baseline(product_with({"kind": "command", "argv": ["/bin/true"]}), "x86_64")
    with pytest.raises(HostError, match="cannot run /nowhere"):
        run_bounded(["/nowhere"], None)


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "COMMAND_DEADLINE_SECONDS", 0.3)
    note = tmp_path / "child"
    begun = time.monotonic()
    with pytest.raises(HostError, match="did not end"):
        run_bounded(["/bin/sh", "-c", f"sleep 600 & echo $! > {note}; wait"], None)
    assert time.monotonic() - begun < 5
    child = int(note.read_text())
    for _ in range(500):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.01)
    else:
        pytest.fail("the child still runs")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run commands as somebody else")
def test_a_command_runs_as_the_products_user_without_roots_groups() -> None:
    output = run_bounded(["/bin/sh", "-c", "id -un; id -G"], "nobody").decode().split()
    assert output[0] == "nobody"
    assert "0" not in output[1:]
    with pytest.raises(HostError):
        run_bounded(["/bin/true"], "no_such_user_here")


@given(st.binary(max_size=60))
def test_whatever_a_command_prints_a_release_is_safe_in_a_path(output: bytes) -> None:
    product = product_with({"kind": "command", "argv": ["/x"]})
    try:
        found = detect_baseline(product, "x86_64", lambda *_: output)
    except NotKnownError:
        return
    assert "/" not in found.identity
    assert ".." not in found.identity
    assert found.identity.isprintable()
