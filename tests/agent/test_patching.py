"""The confined child: it gives the right bytes or our error, and it can neither open paths nor reach a network."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from suture.adapters.trees import read_member, scan_tree
from suture.agent.patching import ChildPatchApplier, new_file_name
from suture.core.errors import DigestMismatchError, PatchError
from suture.improvement.build import build_layer, build_patch
from suture.improvement.layer import Layer, layer_digest
from suture.improvement.manifest import Baseline, ComponentChange, Fix, Manifest, Severity
from suture.improvement.tree import FileEntry


def manifest_of(layer: Layer) -> Manifest:
    fix = Fix(cve="CVE-2023-4863", severity=Severity.CRITICAL, title="t", component="pkg:generic/x")
    change = ComponentChange(name="imaging", layer_digest=layer_digest(layer), layer=layer, pins=(), patches=())
    return Manifest(
        format="suture-manifest/1",
        minimum_agent="0.1.0",
        product="darkroom",
        baseline=Baseline("1.0", "x86_64"),
        level=1,
        issued="2026-03-01T00:00:00Z",
        full_by="2026-03-08T00:00:00Z",
        fixes=(fix,),
        components=(change,),
    )


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path, Layer, Path]:
    old, new = tmp_path / "old", tmp_path / "new"
    for root in (old, new):
        (root / "lib").mkdir(parents=True)
    (old / "lib/a.so").write_bytes(bytes(range(256)) * 500)
    (new / "lib/a.so").write_bytes(bytes(range(256)) * 499 + b"fixed")
    (new / "lib/empty").write_bytes(b"")
    for name in ("one.txt", "two.txt"):  # they go through one stream, read with both old ones
        (old / name).write_bytes(b"".join(b"%d of " % number + name.encode() + b"\n" for number in range(300)))
        (new / name).write_bytes((old / name).read_bytes().replace(b"77 of", b"seventy-seven of"))
    before, after = scan_tree(old).tree, scan_tree(new).tree
    layer = build_layer(before, after)
    built = build_patch(layer, before, lambda p: read_member(old, p), lambda p: read_member(new, p))
    patch = tmp_path / "a.patch"
    patch.write_bytes(built.data)
    return old, new, layer, patch


def test_the_child_gives_the_signed_bytes_and_is_confined(made: tuple[Path, Path, Layer, Path], tmp_path: Path) -> None:
    old, new, layer, patch = made
    applier = ChildPatchApplier()
    applier.apply(manifest_of(layer), "imaging", patch, old, tmp_path / "out")
    for entry in layer.files():
        assert (tmp_path / "out" / new_file_name(entry)).read_bytes() == (new / entry.path).read_bytes()
    assert {"limits", "no-new-privileges"} <= set(applier.confined)


def test_a_flipped_byte_gives_our_error(made: tuple[Path, Path, Layer, Path], tmp_path: Path) -> None:
    old, _, layer, patch = made
    data = bytearray(patch.read_bytes())
    data[-3] ^= 0xFF
    patch.write_bytes(data)
    with pytest.raises(PatchError):
        ChildPatchApplier().apply(manifest_of(layer), "imaging", patch, old, tmp_path / "out")


def test_another_baseline_gives_a_digest_mismatch(made: tuple[Path, Path, Layer, Path], tmp_path: Path) -> None:
    old, _, layer, patch = made
    (old / "lib/a.so").write_bytes(b"\1" * 128000)
    with pytest.raises((DigestMismatchError, PatchError)):
        ChildPatchApplier().apply(manifest_of(layer), "imaging", patch, old, tmp_path / "out")


def test_a_layer_that_lies_about_a_digest_is_refused(made: tuple[Path, Path, Layer, Path], tmp_path: Path) -> None:
    old, _, layer, patch = made
    lying = tuple(
        FileEntry(e.path, e.mode, e.size, "sha256:" + "0" * 64) if isinstance(e, FileEntry) and e.size else e
        for e in layer.entries
    )
    with pytest.raises(DigestMismatchError):
        ChildPatchApplier().apply(manifest_of(Layer(lying, layer.removed)), "imaging", patch, old, tmp_path / "out")


PROBE = """
import encodings.idna, socket, sys
from suture.adapters.confinement import Limits, confine
held = confine(Limits(1 << 31, 1 << 20, 20))
def refused(act):
    try:
        act()
    except OSError:
        return True
    return False
if "landlock" in held:
    assert refused(lambda: open("/etc/passwd")), "opened a path"
if "no-network" in held:
    assert refused(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)), "reached the network"
print(",".join(held))
"""


def test_a_confined_process_opens_no_path_and_reaches_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "-I", "-c", PROBE, str(port)], capture_output=True, text=True, check=False, timeout=60
        )
    assert result.returncode == 0, result.stderr
    print("confinement here:", result.stdout.strip())
    assert "no-new-privileges" in result.stdout
