"""The golden vectors of spec/vectors: formats that are released decode for ever, and canonical bytes never move.

Compressed bytes are only decoded, never compared: another zstd library may write others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from suture import delta
from suture.core.digests import digest_bytes
from suture.core.errors import PatchError, TreeError
from suture.improvement.apply import apply_patch
from suture.improvement.build import build_layer
from suture.improvement.container_parts import StandAlone
from suture.improvement.layer import Layer, layer_digest
from suture.improvement.manifest_rules import encode_manifest, parse_manifest
from suture.improvement.paths import check_link, check_path, check_twins
from suture.improvement.solid import layer_lines
from suture.improvement.stand_alone import read_stand_alone
from suture.improvement.stand_alone_part import PREFIX
from suture.improvement.tree import Entry, FileEntry, Tree
from suture.improvement.tree_rules import check_tree, overlay, tree_digest

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
DELTA: dict[str, Any] = json.loads((VECTORS / "delta.json").read_text())
IMPROVEMENT: dict[str, Any] = json.loads((VECTORS / "improvement.json").read_text())


def tree_of(name: str) -> Tree:
    return check_tree(Tree(msgspec.convert(IMPROVEMENT[name], tuple[Entry, ...])))


@pytest.mark.parametrize("vector", DELTA["valid"], ids=lambda vector: vector["name"])
def test_deltas_that_decode_for_ever(vector: dict[str, str]) -> None:
    new = bytes.fromhex(vector["new"])
    chunks: list[bytes] = []
    delta.apply(bytes.fromhex(vector["old"]), bytes.fromhex(vector["patch"]), chunks.append, new_size=len(new))
    assert b"".join(chunks) == new


@pytest.mark.parametrize("vector", DELTA["invalid"], ids=lambda vector: vector["name"])
def test_deltas_that_are_refused_for_ever(vector: dict[str, Any]) -> None:
    with pytest.raises(PatchError):
        delta.apply(
            bytes.fromhex(vector["old"]), bytes.fromhex(vector["patch"]), lambda _: None, new_size=vector["new_size"]
        )


def test_trees_layer_and_their_digests() -> None:
    old, new = tree_of("old_tree"), tree_of("new_tree")
    layer = msgspec.convert(IMPROVEMENT["layer"], Layer)
    assert build_layer(old, new) == layer
    assert overlay(old, layer) == new
    assert (tree_digest(old), tree_digest(new)) == (IMPROVEMENT["old_tree_digest"], IMPROVEMENT["new_tree_digest"])
    assert layer_digest(layer) == IMPROVEMENT["layer_digest"]


def apply_vector(patch: str) -> dict[str, str]:
    old = {path: bytes.fromhex(data) for path, data in IMPROVEMENT["old_files"].items()}
    new: dict[str, bytearray] = {}

    class Sink:
        def __init__(self, entry: FileEntry) -> None:
            self._data = new.setdefault(entry.path, bytearray())

        def write(self, data: bytes, /) -> None:
            self._data.extend(data)

        def close(self) -> None:
            """Nothing to close."""

    layer = msgspec.convert(IMPROVEMENT["layer"], Layer)
    apply_patch(layer, bytes.fromhex(patch), read_old=old.__getitem__, open_sink=Sink)
    return {path: bytes(data).hex() for path, data in new.items()}


def test_the_patch_of_version_1_gives_the_new_files() -> None:
    assert apply_vector(IMPROVEMENT["patch"]) == IMPROVEMENT["new_files"]


@pytest.mark.parametrize("vector", IMPROVEMENT["container_2"]["valid"], ids=lambda vector: vector["name"])
def test_patches_of_version_2_give_the_new_files(vector: dict[str, str]) -> None:
    assert apply_vector(vector["patch"]) == IMPROVEMENT["new_files"]


@pytest.mark.parametrize("vector", IMPROVEMENT["container_2"]["invalid"], ids=lambda vector: vector["name"])
def test_patches_of_version_2_that_are_refused_for_ever(vector: dict[str, str]) -> None:
    with pytest.raises(PatchError):
        apply_vector(vector["patch"])


@pytest.mark.parametrize("vector", IMPROVEMENT["container_2"]["stand_alone"])
def test_stand_alone_patches_of_version_2(vector: dict[str, Any]) -> None:
    expected = StandAlone(vector["kind"], msgspec.convert(vector["layer"], Layer), vector["result"])
    assert read_stand_alone(bytes.fromhex(vector["patch"])) == expected


def test_what_both_sides_of_version_2_know() -> None:
    assert (
        layer_lines(msgspec.convert(IMPROVEMENT["layer"], Layer)).decode() == IMPROVEMENT["container_2"]["layer_lines"]
    )
    assert PREFIX.decode() == IMPROVEMENT["container_2"]["prefix"]


def test_the_manifest_and_its_canonical_bytes() -> None:
    data = IMPROVEMENT["manifest"].encode()
    assert digest_bytes(data) == IMPROVEMENT["manifest_digest"]
    manifest = parse_manifest(data, agent_version="0.1.0", product="darkroom", baseline_identity="1.0-x86_64", level=1)
    assert encode_manifest(manifest) == data
    assert list(msgspec.to_builtins(manifest.components[0].pins)) == IMPROVEMENT["pins"]


def test_paths_links_and_twins() -> None:
    for path in IMPROVEMENT["good_paths"]:
        check_path(path)
    for path in IMPROVEMENT["bad_paths"]:
        with pytest.raises(TreeError):
            check_path(path)
    for path, target in IMPROVEMENT["good_links"]:
        check_link(path, target)
    for path, target in IMPROVEMENT["bad_links"]:
        with pytest.raises(TreeError):
            check_link(path, target)
    for twins in IMPROVEMENT["twins"]:
        with pytest.raises(TreeError):
            check_twins(twins)
