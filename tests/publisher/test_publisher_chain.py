"""The whole chain of a vendor: init, build, release, serve; read back by a stock TUF client over real HTTP."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from publisher_workshop import IDENTITY, PREFIX, Bench, serving, write_tree

from suture.adapters.trees import read_member, scan_tree
from suture.core.digests import digest_bytes
from suture.core.version import VERSION
from suture.improvement.apply import apply_patch
from suture.improvement.manifest import Manifest
from suture.improvement.manifest_rules import parse_manifest
from suture.improvement.tree import FileEntry
from suture.improvement.tree_rules import overlay
from suture.wire.product import Product

TWO_COMPONENTS = """
baseline = "1.0"
issued = "2026-03-01T12:00:00Z"
summary = "Two flaws in picture decoders."
health = ["http:thumbs:20", "command:selftest", "stays-up:5"]

[restart]
category = "service"
services = ["thumbs"]
units = ["darkroom.service"]

[[component]]
name = "imaging"
old = "old"
new = "new"

[[component]]
name = "codecs"
old = "codecs-old"
new = "codecs-new"

[[fix]]
cve = "CVE-2023-4863"
severity = "critical"
title = "Overflow in libwebp"
purl = "pkg:pypi/pillow@10.0.1"
known-exploited = true

[[fix]]
cve = "CVE-2023-44271"
severity = "high"
title = "Unbounded memory"
purl = "pkg:pypi/pillow@10.0.1"
"""


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """A bench with an initialised workshop."""
    bench = Bench(tmp_path, capsys)
    bench.init()
    return bench


class Collected:
    """A sink that keeps one file's bytes."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes, /) -> None:
        """Keep them."""
        self.data += data

    def close(self) -> None:
        """Nothing is open."""


def manifest_of(data: bytes | None, level: int) -> Manifest:
    """A manifest as a device reads it."""
    assert data is not None
    return parse_manifest(data, agent_version=VERSION, product="darkroom", baseline_identity=IDENTITY, level=level)


def installed(manifest: Manifest, patch: bytes, old: Path) -> dict[str, bytes]:
    """What a device at `old` has after applying one component's patch."""
    files: dict[str, Collected] = {}

    def sink(entry: FileEntry) -> Collected:
        return files.setdefault(entry.path, Collected())

    apply_patch(manifest.components[0].layer, patch, read_old=lambda path: read_member(old, path), open_sink=sink)
    return {path: collected.data for path, collected in files.items()}


@pytest.mark.slow
def test_a_stock_client_reads_the_whole_chain_over_http(bench: Bench) -> None:
    bench.build("--known-exploited")
    bench.release(1)
    log = bench.root / "log"
    with serving(bench, "--log", str(log)) as (url, process):
        device = bench.client()
        device.base, device.fetcher = url, None
        index = device.index()
        data = device.read(f"{PREFIX}/1.json")
        manifest = manifest_of(data, 1)
        assert index["levels"] == [{"level": 1, "digest": digest_bytes(data or b""), "size": len(data or b"")}]
        patch = device.read(manifest.components[0].patches[0].target)
        advisory = device.read(f"{PREFIX}/1.csaf.json")
        assert device.read(f"{PREFIX}/2.json") is None
        process.terminate()
        assert process.wait(10) == 0
    assert patch is not None
    assert advisory is not None
    assert manifest.advisory is not None
    assert digest_bytes(advisory) == manifest.advisory.digest
    new = scan_tree(bench.new, skip_bytecode=True).tree
    assert overlay(scan_tree(bench.old, skip_bytecode=True).tree, manifest.components[0].layer) == new
    files = installed(manifest, patch, bench.old)
    assert files["module.py"] == b"VERSION = 2\n"
    assert files == {path: (bench.new / path).read_bytes() for path in files}
    assert {pin.path for pin in manifest.components[0].pins} == {"lib/libwebp-00000001.so.7.1.1", "module.py", "tool"}
    requests = [json.loads(line) for line in log.read_text().splitlines()]
    assert {request["method"] for request in requests} == {"GET"}
    assert any(request["path"] == "/metadata/timestamp.json" and request["status"] == 200 for request in requests)


def test_init_completes_the_product_file(bench: Bench) -> None:
    product = msgspec.json.decode((bench.workshop / "product.json").read_bytes(), type=Product)
    first_root = (bench.workshop / "repository" / "metadata" / "1.root.json").read_bytes()
    assert product.first_root == digest_bytes(first_root)
    assert product.product == "darkroom"
    assert bench.client().levels() == []


def test_the_next_level_is_patched_from_the_last_good_one_too(bench: Bench) -> None:
    bench.build()
    bench.release(1)
    shutil.rmtree(bench.workshop / "staging" / IDENTITY)
    third = bench.root / "third"
    write_tree(third, version=3)
    built = bench.build("--issued", "2026-03-02T12:00:00Z", cve="CVE-2024-28219", new=third)
    assert built["level"] == 2
    assert built["carried_cves"] == ["CVE-2023-4863"]
    assert [patch["from_level"] for patch in built["patches"]] == [0, 1]
    bench.release(2)
    device = bench.client()
    manifest = manifest_of(device.read(f"{PREFIX}/2.json"), 2)
    assert {fix.cve for fix in manifest.fixes} == {"CVE-2023-4863", "CVE-2024-28219"}
    for reference, old in zip(manifest.components[0].patches, (bench.old, bench.new), strict=True):
        patch = device.read(reference.target)
        assert patch is not None
        assert installed(manifest, patch, old)["module.py"] == b"VERSION = 3\n"
    assert device.levels() == [1, 2]


def test_recall_pause_resume_and_rollout(bench: Bench) -> None:
    bench.build()
    bench.release(1, "--permille", "10")
    device = bench.client()
    digest = device.index()["levels"][0]["digest"]
    assert device.rollout()["shares"] == [{"level": 1, "digest": digest, "permille": 10}]
    assert bench.good("rollout", "a", "--permille", "500", *bench.online)["changed"]
    assert not bench.good("rollout", "a", "--permille", "500", *bench.online)["changed"]
    assert device.rollout()["shares"][0]["permille"] == 500
    assert bench.good("pause", "--hours", "2", "--reason", "crashes", *bench.online)["changed"]
    assert device.rollout()["pause"]["reason"] == "crashes"
    assert bench.good("status")["baselines"][0]["pause"]["reason"] == "crashes"
    assert bench.good("resume", *bench.online)["changed"]
    assert not bench.good("resume", *bench.online)["changed"]
    assert device.rollout()["pause"] is None
    assert bench.good("recall", "1", "--reason", "breaks thumbnails", *bench.passphrases)["changed"]
    assert not bench.good("recall", "1", "--reason", "again", *bench.passphrases)["changed"]
    recall = device.index()["recalls"]
    assert [(one["level"], one["digest"], one["reason"]) for one in recall] == [(1, digest, "breaks thumbnails")]
    assert device.rollout()["shares"] == []
    assert bench.good("status")["baselines"][0]["levels"][0]["state"] == "recalled"
    bench.refused("rollout", "1", "--permille", "1", *bench.online, code="bad-input")


def test_a_level_after_recalled_ones_carries_nothing_of_them(bench: Bench) -> None:
    bench.build()
    bench.release(1)
    bench.good("recall", "1", "--reason", "bad", *bench.passphrases)
    built = bench.build(cve="CVE-2024-28219")
    assert (built["level"], built["carried_cves"], len(built["patches"])) == (2, [], 1)
    bench.release(2)
    assert bench.client().levels() == [1, 2]


def test_building_is_deterministic_to_the_byte(bench: Bench) -> None:
    first = bench.build()
    directory = Path(first["directory"])
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    again = bench.build("--level", "1")
    assert not again["changed"]
    other = bench.root / "elsewhere"
    subprocess.run(["cp", "-r", str(bench.new), str(other)], check=True)
    bench.build("--level", "1", "--replace", new=other)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert first["digest"] == again["digest"] == digest_bytes(before["manifest.json"])


def test_bytecode_is_never_shipped(bench: Bench) -> None:
    (bench.new / "__pycache__" / "module.pyc").write_bytes(b"other bytes")
    built = bench.build()
    assert not any("__pycache__" in file["path"] for patch in built["patches"] for file in patch["files"])


def test_an_improvement_from_a_file_with_two_components(bench: Bench) -> None:
    write_tree(bench.root / "codecs-old", version=4)
    write_tree(bench.root / "codecs-new", version=5)
    toml = bench.root / "improvement.toml"
    toml.write_text(TWO_COMPONENTS)
    built = bench.good("build", "--from-file", str(toml))
    assert built["baseline"] == IDENTITY
    assert {patch["component"] for patch in built["patches"]} == {"imaging", "codecs"}
    bench.release(1)
    manifest = manifest_of(bench.client().read(f"{PREFIX}/1.json"), 1)
    assert [type(check).__name__ for check in manifest.health] == ["HttpCheck", "CommandCheck", "StaysUpCheck"]
    assert manifest.restart.units == ("darkroom.service",)
    message = bench.refused("build", *bench.build_words(), code="bad-input")
    assert "codecs" in message


def test_two_baselines_live_side_by_side(bench: Bench) -> None:
    bench.build()
    bench.release(1)
    words = bench.build_words()
    words[1] = "1.1-2-aarch64"
    bench.good("build", *words)
    bench.refused("release", "1", *bench.passphrases, code="usage")
    before = bench.client().index()
    bench.release(1, "--baseline", "1.1-2-aarch64")
    device = bench.client("another")
    assert device.index() == before
    other = device.document("improvements/darkroom/1.1-2-aarch64/index.json")
    assert [entry["level"] for entry in other["levels"]] == [1]


def test_the_command_speaks_to_people_too(bench: Bench) -> None:
    answer = bench.run("build", *bench.build_words())
    assert answer.code == 0
    assert "1.0 (a)" in answer.out
    assert "zstd -19" in answer.out
    assert "CVE-2023-4863" in answer.out
    assert "released level 1" in bench.run("release", "(a)", *bench.passphrases).out
    assert "nothing was changed" in bench.run("release", "(a)", *bench.passphrases).out
    status = bench.run("status").out
    assert "release-1.0-x86_64" in status
    assert "1000/1000" in status
    assert "imaging/module.py" in answer.out
    assert bench.run("keys list").out.count("encrypted 0600") == 4
