"""Two trees to a layer and a patch, and back: the right bytes, or our error, and never another file."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from suture.core.digests import digest_bytes
from suture.core.errors import DigestMismatchError, SutureError, TreeError
from suture.improvement.apply import apply_patch
from suture.improvement.build import build_layer, build_patch, merge_pins
from suture.improvement.layer import Layer, layer_digest
from suture.improvement.manifest import Pin
from suture.improvement.paths import parents_of
from suture.improvement.tree import DirectoryEntry, Entry, FileEntry, LinkEntry, Tree
from suture.improvement.tree_rules import overlay, sorted_tree

Files = dict[str, bytes]


def tree_of(files: Files, *, modes: dict[str, str] | None = None, links: dict[str, str] | None = None) -> Tree:
    entries: dict[str, Entry] = {}
    for path, data in files.items():
        entries[path] = FileEntry(path, (modes or {}).get(path, "0644"), len(data), digest_bytes(data))
    for path, target in (links or {}).items():
        entries[path] = LinkEntry(path, target)
    for path in list(entries):
        entries.update((parent, DirectoryEntry(parent, "0755")) for parent in parents_of(path))
    return sorted_tree(tuple(entries.values()))


class Kept(io.BytesIO):
    """A sink that keeps its bytes after it is closed."""

    def __init__(self, keep: Callable[[bytes], None]) -> None:
        super().__init__()
        self._keep = keep

    def close(self) -> None:
        if not self.closed:
            self._keep(self.getvalue())
        super().close()


def apply_to(layer: Layer, patch: bytes, old: Files) -> Files:
    result: Files = {}

    def open_sink(entry: FileEntry) -> Kept:
        return Kept(lambda data: result.__setitem__(entry.path, data))

    apply_patch(layer, patch, read_old=old.__getitem__, open_sink=open_sink)
    return result


OLD: Files = {
    "pkg-1.0.dist-info/RECORD": b"".join(b"%d,sha256\n" % (n * n) for n in range(200)),
    "lib/libwebp-9a3c1e5b.so.7.1.7": bytes(range(256)) * 40,
    "lib/same.so": b"same" * 100,
    "lib/gone.txt": b"gone",
    "run": b"#!/bin/sh\n",
}
NEW: Files = {
    "pkg-1.1.dist-info/RECORD": b"new\n" + b"".join(b"%d,sha256\n" % (n * n) for n in range(200)),
    "lib/libwebp-850e2bec.so.7.1.8": bytes(range(256)) * 20 + b"changed" + bytes(range(256)) * 20,
    "lib/same.so": b"same" * 100,
    "run": b"#!/bin/sh\n",
    "new/empty": b"",
}


def built() -> tuple[Tree, Tree, Layer, bytes]:
    old, new = tree_of(OLD), tree_of(NEW, modes={"run": "0755"}, links={"lib/link": "same.so"})
    layer = build_layer(old, new)
    return old, new, layer, build_patch(layer, old, OLD.__getitem__, NEW.__getitem__).data


def test_two_trees_there_and_back() -> None:
    old, new, layer, patch = built()
    assert overlay(old, layer) == new
    assert apply_to(layer, patch, OLD) == {entry.path: NEW[entry.path] for entry in layer.files()}


def test_choices_and_pins_say_what_is_read() -> None:
    old, _, layer, _ = built()
    patch = build_patch(layer, old, OLD.__getitem__, NEW.__getitem__)
    choices = {choice.path: choice for choice in patch.choices}
    assert choices["lib/libwebp-850e2bec.so.7.1.8"].reads == "lib/libwebp-9a3c1e5b.so.7.1.7"
    assert choices["pkg-1.1.dist-info/RECORD"].reads == "pkg-1.0.dist-info/RECORD"
    assert (choices["run"].engine, choices["run"].reads) == ("copy", "run")
    assert choices["new/empty"].reads is None
    assert [pin.path for pin in patch.pins] == sorted(set(OLD) - {"lib/same.so"})


def test_building_is_deterministic_to_the_byte() -> None:
    first, second = built(), built()
    assert first[3] == second[3]
    assert layer_digest(first[2]) == layer_digest(second[2])


def test_every_byte_flipped_and_every_prefix_cut_gives_the_right_bytes_or_our_error() -> None:
    _, _, layer, patch = built()
    right = apply_to(layer, patch, OLD)
    damaged = [patch[:end] for end in range(len(patch))] + [patch + b"\0"]
    for position in range(len(patch)):
        for bit in (0x01, 0x80, 0xFF):
            damaged.append(patch[:position] + bytes([patch[position] ^ bit]) + patch[position + 1 :])
    for bad in damaged:
        try:
            result = apply_to(layer, bad, {**OLD})
        except (SutureError, KeyError):  # KeyError: the test's own reader has no such path
            continue
        assert result == right


def test_another_old_file_of_the_same_size_is_a_digest_mismatch() -> None:
    _, _, layer, patch = built()
    wrong = {path: bytes(len(data)) for path, data in OLD.items()}
    with pytest.raises(DigestMismatchError):
        apply_to(layer, patch, wrong)


def test_a_tree_that_changes_while_it_is_built_is_refused() -> None:
    old, _, layer, _ = built()
    with pytest.raises(DigestMismatchError, match="changed since it was scanned"):
        build_patch(layer, old, OLD.__getitem__, lambda path: NEW[path] + b"!")


def test_a_patch_from_an_earlier_level_reads_it_and_pins_only_baseline_files() -> None:
    baseline, first = tree_of(OLD), tree_of({**OLD, "lib/same.so": b"same" * 99 + b"a"})
    second_files = {**OLD, "lib/same.so": b"same" * 99 + b"ab"}
    level_one = overlay(baseline, build_layer(baseline, first))
    layer = build_layer(baseline, tree_of(second_files))
    from_files = {**OLD, "lib/same.so": b"same" * 99 + b"a"}
    patch = build_patch(layer, level_one, from_files.__getitem__, second_files.__getitem__, baseline=baseline)
    assert apply_to(layer, patch.data, from_files) == {"lib/same.so": second_files["lib/same.so"]}
    same = OLD["lib/same.so"]
    assert patch.pins == (Pin("lib/same.so", len(same), digest_bytes(same)),)


def test_a_file_becomes_a_directory_and_back() -> None:
    one, two = tree_of({"a": b"file"}), tree_of({"a/b": b"below"})
    for old, new in ((one, two), (two, one)):
        assert overlay(old, build_layer(old, new)) == new


def test_a_layer_for_another_tree_does_not_fit() -> None:
    layer = build_layer(tree_of({"a": b"", "b": b""}), tree_of({"a": b""}))
    with pytest.raises(TreeError, match="does not have it"):
        overlay(tree_of({"a": b""}), layer)


def test_pins_of_different_bytes_do_not_merge() -> None:
    pin, other = Pin("a", 1, digest_bytes(b"a")), Pin("a", 1, digest_bytes(b"b"))
    assert merge_pins([[pin], [pin]]) == (pin,)
    with pytest.raises(TreeError, match="different bytes"):
        merge_pins([[pin], [other]])
