"""Trees, layers and what one makes of the other: properties, and every rule broken once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from suture.core.errors import SutureError, TreeError
from suture.improvement.build import build_layer, build_patch
from suture.improvement.layer import Layer, layer_digest
from suture.improvement.predecessor import match_predecessors, name_stem
from suture.improvement.tree import DirectoryEntry, Entry, FileEntry, LinkEntry, Tree
from suture.improvement.tree_rules import check_layer, check_tree, overlay, sorted_tree, tree_digest
from suture.testing.strategies import trees

ZERO = "sha256:" + "0" * 64
TreeAndFiles = tuple[Tree, dict[str, bytes]]


def file(path: str, size: int = 0) -> FileEntry:
    return FileEntry(path, "0644", size, ZERO)


@given(trees(), trees())
@settings(max_examples=150, deadline=None)
def test_a_layer_turns_the_old_tree_into_the_new_one(old: TreeAndFiles, new: TreeAndFiles) -> None:
    try:
        layer = build_layer(old[0], new[0])
    except TreeError as error:
        assert "only in case" in error.message  # noqa: PT017 -- the strategy's names have none, a safety net
        return
    assert overlay(old[0], layer) == new[0]
    assert build_layer(old[0], overlay(old[0], layer)) == layer
    assert (layer == Layer()) == (old[0] == new[0])


@given(trees(), trees())
@settings(max_examples=60, deadline=None)
def test_a_patch_gives_every_file_of_the_layer(old: TreeAndFiles, new: TreeAndFiles) -> None:
    from suture.improvement.apply import apply_patch

    layer = build_layer(old[0], new[0])
    patch = build_patch(layer, old[0], old[1].__getitem__, new[1].__getitem__, effort=3)
    result: dict[str, bytearray] = {}

    class Sink:
        def __init__(self, entry: FileEntry) -> None:
            self.data = result.setdefault(entry.path, bytearray())

        def write(self, data: bytes, /) -> None:
            self.data.extend(data)

        def close(self) -> None:
            """Nothing to close."""

    apply_patch(layer, patch.data, read_old=old[1].__getitem__, open_sink=Sink)
    assert result == {entry.path: new[1][entry.path] for entry in layer.files()}
    baseline_files = {entry.path for entry in old[0].entries if isinstance(entry, FileEntry)}
    touched = {entry.path for entry in layer.entries} | set(layer.removed) | {c.reads for c in patch.choices if c.reads}
    assert [pin.path for pin in patch.pins] == sorted(baseline_files & touched, key=str.encode)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([file("a"), file("a")], "twice"),
        ([file("b"), file("a")], "order"),
        ([file("a"), file("a/b")], "no directory"),
        ([LinkEntry("a", "b"), file("a/c")], "no directory"),
        ([file("A"), file("a")], "only in case"),
        ([file("d/a")], "missing"),
        ([LinkEntry("a", "/etc")], "absolute"),
        ([file("..")], "name is .."),
    ],
)
def test_a_tree_that_breaks_a_rule(entries: list[Entry], reason: str) -> None:
    with pytest.raises(TreeError, match=reason):
        check_tree(Tree(tuple(entries)))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Layer((file("a"),), ("a",)), "holds and removes"),
        (Layer((file("d/a"),), ("d",)), "removes"),
        (Layer((), ("b", "a")), "order"),
        (Layer((), ("../a",)), "name is .."),
        (Layer((file("a"), file("a/b"))), "no directory"),
    ],
)
def test_a_layer_that_breaks_a_rule(layer: Layer, reason: str) -> None:
    with pytest.raises(TreeError, match=reason):
        check_layer(layer)


def test_an_overlay_whose_result_breaks_a_rule() -> None:
    base = sorted_tree((DirectoryEntry("d", "0755"), file("d/a")))
    for layer in (Layer((file("d"),)), Layer((file("e/a"),)), Layer((), ("d",)), Layer((file("D"),))):
        with pytest.raises(TreeError):
            overlay(base, layer)


def test_digests_cover_every_path_mode_link_and_byte() -> None:
    base: list[Entry] = [DirectoryEntry("d", "0755"), file("d/a", 1), LinkEntry("l", "d")]
    variants: list[list[Entry]] = [
        base,
        [DirectoryEntry("d", "0700"), *base[1:]],
        [base[0], file("d/b", 1), base[2]],
        [base[0], file("d/a", 2), base[2]],
        [base[0], FileEntry("d/a", "0755", 1, ZERO), base[2]],
        [base[0], FileEntry("d/a", "0644", 1, ZERO[:-1] + "1"), base[2]],
        [*base[:2], LinkEntry("l", "d/a")],
        base[:2],
    ]
    assert len({tree_digest(Tree(tuple(entries))) for entries in variants}) == len(variants)
    assert len({layer_digest(Layer(tuple(entries))) for entries in variants}) == len(variants)
    assert layer_digest(Layer((), ("a",))) != layer_digest(Layer())


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ("libwebp-8a0843dd.so.7.1.8", ["libwebp-74f033ac.so.7.1.7", "libwebpmux-74f033ac.so.7.1.7"], 0),
        ("pkg-10.0.1.dist-info/RECORD", ["pkg-10.0.0.dist-info/METADATA", "pkg-10.0.0.dist-info/RECORD"], 1),
        ("lib/same", ["lib/same", "lib/other"], 0),
        ("lib/a.so.2", ["other/a.so.1", "lib/a.so.1"], 1),
        ("facade.py", ["decade.py"], None),
        ("brand-new.py", ["old.py"], None),
    ],
)
def test_predecessors_by_name(new: str, old: list[str], expected: int | None) -> None:
    matches = match_predecessors([new], old)
    assert matches.get(new) == (None if expected is None else old[expected])
    assert match_predecessors([new], list(reversed(old))) == matches


def test_a_predecessor_that_is_gone_comes_before_one_that_stays() -> None:
    assert match_predecessors(["a.3"], ["a.1", "a.2"], kept=["a.1"]) == {"a.3": "a.2"}


def test_a_stem_forgets_hashes_and_versions_only() -> None:
    assert name_stem("libx-0123abcd.so.1.2.3") == name_stem("libx-deadbee1.so.4")
    assert name_stem("libx.so") != name_stem("liby.so")


def test_every_error_of_this_room_is_ours() -> None:
    with pytest.raises(SutureError):
        check_tree(Tree((file("\ud800"),)))
