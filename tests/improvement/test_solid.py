"""Files that share one stream: smaller than alone, in the layer's order, bounded, and strict about every byte."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suture import delta
from suture.core.digests import digest_bytes
from suture.core.errors import PatchError, SutureError
from suture.core.limits import MIB
from suture.delta.engines import ENGINES
from suture.improvement import grouping, solid
from suture.improvement.apply import apply_patch
from suture.improvement.build import BuiltPatch, build_layer, build_patch
from suture.improvement.container import read_container, write_container
from suture.improvement.container_parts import OldPaths
from suture.improvement.container_two import PlannedGroup, PlannedMember
from suture.improvement.layer import Layer
from suture.improvement.paths import parents_of
from suture.improvement.similarity import match_similar, sketch_of
from suture.improvement.solid import layer_lines, prefix_of
from suture.improvement.tree import DirectoryEntry, Entry, FileEntry, Tree
from suture.improvement.tree_rules import sorted_tree

Files = dict[str, bytes]


def text(seed: int, lines: int = 120) -> bytes:
    return b"".join(b"    value_%d = compute(%d, %d)\n" % (n, n * seed, n * n + seed) for n in range(lines))


OLD: Files = {f"pkg/module_{name}.py": text(ord(name)) for name in "abcdef"} | {
    "pkg/data.bin": bytes(range(256)) * 8,
    "pkg/old_name.py": text(1000, 300),
}
NEW: Files = {path: data.replace(b"value_7 ", b"checked_value_7 ") for path, data in OLD.items()} | {
    "pkg/data.bin": bytes(range(256)) * 8,
    "pkg/empty": b"",
    "pkg/copied.py": OLD["pkg/module_a.py"],
}


def tree_of(files: Files) -> Tree:
    entries: dict[str, Entry] = {
        path: FileEntry(path, "0644", len(data), digest_bytes(data)) for path, data in files.items()
    }
    for path in list(entries):
        entries.update((parent, DirectoryEntry(parent, "0755")) for parent in parents_of(path))
    return sorted_tree(tuple(entries.values()))


def built(old: Files, new: Files) -> tuple[Layer, BuiltPatch]:
    before = tree_of(old)
    layer = build_layer(before, tree_of(new))
    return layer, build_patch(layer, before, old.__getitem__, new.__getitem__)


def apply_to(layer: Layer, patch: bytes, read_old: Callable[[str], delta.Buffer]) -> Files:
    result: Files = {}

    class Kept(io.BytesIO):
        path = ""

        def close(self) -> None:
            result[self.path] = self.getvalue()
            super().close()

    def open_sink(entry: FileEntry) -> Kept:
        assert all(sink.closed for sink in sinks), "two files are open at once"
        sinks.append(Kept())
        sinks[-1].path = entry.path
        return sinks[-1]

    sinks: list[Kept] = []
    apply_patch(layer, patch, read_old=read_old, open_sink=open_sink)
    assert [sink.path for sink in sinks] == [entry.path for entry in layer.files()]
    return result


def changed(layer: Layer, new: Files) -> Files:
    return {entry.path: new[entry.path] for entry in layer.files()}


@pytest.fixture
def only_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the engine that is strong enough alone on these small, nearly equal files."""
    monkeypatch.setattr("suture.delta.codec.ENGINES", ENGINES[:3])


@pytest.mark.usefixtures("only_zstd")
def test_text_shares_one_stream_and_is_smaller_than_alone() -> None:
    layer, patch = built(OLD, NEW)
    assert apply_to(layer, patch.data, OLD.__getitem__) == changed(layer, NEW)
    engines = {choice.path: choice.engine for choice in patch.choices}
    assert engines["pkg/module_a.py"] == engines["pkg/module_f.py"] == "solid"
    assert engines["pkg/copied.py"] == "copy"
    alone = sum(choice.alone_size for choice in patch.choices)
    assert len(patch.data) < alone / 2
    container = read_container(patch.data)
    assert sum(choice.delta_size for choice in patch.choices if choice.group == 0) == (
        container.groups[0].end - container.groups[0].start
    )


def test_every_old_file_of_a_group_is_pinned() -> None:
    layer, patch = built(OLD, NEW | {"pkg/newly_named.py": OLD["pkg/old_name.py"] + b"# more\n"})
    paths = OldPaths(layer)
    read = {paths.path(old) for group in read_container(patch.data).groups for old in group.reads}
    assert read <= {pin.path for pin in patch.pins}
    assert "pkg/old_name.py" in read


def test_a_file_of_another_name_finds_what_it_was() -> None:
    old = OLD | {"pkg/unrelated.py": text(77, 300)}
    new = {path: data for path, data in old.items() if path != "pkg/old_name.py"}
    new["lib/quite_different.py"] = OLD["pkg/old_name.py"].replace(b"value_9 ", b"worth_9 ")
    layer, patch = built(old, new)
    (choice,) = patch.choices
    assert choice.reads == "pkg/old_name.py"
    assert len(patch.data) < 120
    assert apply_to(layer, patch.data, old.__getitem__) == changed(layer, new)


def test_likeness_is_of_content_and_needs_some() -> None:
    data = {"a": text(1), "b": text(2), "c": bytes(range(256)) * 4, "new": b"# inserted\n" + text(2)}
    old = [FileEntry(path, "0644", len(data[path]), digest_bytes(data[path])) for path in "abc"]
    new = [FileEntry("new", "0644", len(data["new"]), digest_bytes(data["new"]))]
    assert match_similar(new, old, data.__getitem__, data.__getitem__) == {"new": old[1]}
    data["new"] = b"nothing of this is anywhere else\n" * 3
    assert match_similar(new, old, data.__getitem__, data.__getitem__) == {}
    assert len(sketch_of(text(3, 5000))) <= 256
    assert sketch_of(b"") == frozenset()


def test_a_list_of_the_trees_own_digests_costs_almost_nothing() -> None:
    def with_record(files: Files) -> Files:
        lines = layer_lines(Layer(tuple(e for e in tree_of(files).entries if isinstance(e, FileEntry))))
        return files | {"RECORD": lines}

    _, without = built(OLD, NEW)
    _, record = built(with_record(OLD), with_record(NEW))
    assert len(record.data) - len(without.data) < 8 * 32  # eight digests changed, of 32 bytes that no engine shrinks


@pytest.mark.usefixtures("only_zstd")
def test_groups_keep_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "SOLID_NEW_BYTES", 10_000)
    layer, patch = built(OLD, NEW)
    container = read_container(patch.data)
    assert len(container.groups) > 1
    assert apply_to(layer, patch.data, OLD.__getitem__) == changed(layer, NEW)


def layer_of(new: Files, removed: tuple[str, ...] = ()) -> Layer:
    return Layer(tuple(FileEntry(path, "0644", len(data), digest_bytes(data)) for path, data in new.items()), removed)


def test_a_group_between_files_of_their_own() -> None:
    new = {"a": b"first of the group", "b": b"alone", "c": b"second of the group", "d": b"another group"}
    layer = layer_of(new, ("gone",))
    lines = layer_lines(layer)
    one = delta.encode_solid(prefix_of([b"old a", b"went"], lines), new["a"] + new["c"], 3)
    two = delta.encode_solid(prefix_of([], lines), new["d"], 3)
    own = delta.payload_of(delta.encode(b"", new["b"]))
    member = PlannedMember(own.engine, 0, own.data)
    groups = [PlannedGroup(2, (0, 4), one), PlannedGroup(1, (), two)]
    patch = write_container([None, member, None, None], groups)
    assert apply_to(layer, patch, {"a": b"old a", "gone": b"went"}.__getitem__) == new


@pytest.mark.parametrize(
    ("size", "reads", "frame_of"),
    [(0, (), b"x"), (3, (5,), b"abc"), (33 * MIB, (), b"x"), (3, (), b"abcd"), (3, (), b"ab"), (3, (0, 1), b"abc")],
    ids=["no bytes", "no such old file", "over the new bound", "too many bytes", "too few", "over the old bound"],
)
def test_a_group_out_of_bounds_is_refused(size: int, reads: tuple[int, ...], frame_of: bytes) -> None:
    entry = FileEntry("a", "0644", size, digest_bytes(b"abc"))
    layer = Layer((entry,), ("b",))
    frame = delta.encode_solid(prefix_of([], layer_lines(layer)), frame_of, 1)
    patch = write_container([None], [PlannedGroup(1, reads, frame)])
    with pytest.raises(PatchError):
        apply_to(layer, patch, lambda _: bytes(40 * MIB if reads == (0, 1) else 10))


def test_layer_lines_are_bounded_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_of({f"file_{n}": b"" for n in range(10)})
    every = layer_lines(layer)
    assert every.startswith(b"file_0,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n")
    monkeypatch.setattr(solid, "LINES_BYTES", len(every) // 2 + 5)
    assert layer_lines(layer) == b"".join(every.splitlines(keepends=True)[:5])


def test_every_byte_flipped_and_every_prefix_cut_gives_the_right_bytes_or_our_error() -> None:
    layer, patch = built(OLD, NEW)
    right = apply_to(layer, patch.data, OLD.__getitem__)
    whole = patch.data
    damaged = [whole[:end] for end in range(len(whole))] + [whole + b"\0"]
    for at in range(len(whole)):
        damaged += [whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :] for bit in (0x01, 0x80, 0xFF)]
    for bad in damaged:
        try:
            assert apply_to(layer, bad, lambda path: OLD.get(path, b"")) == right
        except SutureError:
            continue


names = st.sampled_from(["a", "b", "lib-1.0/x", "lib-1.1/x", "lib-1.1/y", "z.so.1", "z.so.2"])
contents = st.one_of(
    st.binary(max_size=80),
    st.builds(text, st.integers(1, 3), st.integers(0, 12)),
)


@given(st.dictionaries(names, contents), st.dictionaries(names, contents))
def test_any_two_trees_there_and_back(old: Files, new: Files) -> None:
    layer, patch = built(old, new)
    assert apply_to(layer, patch.data, old.__getitem__) == changed(layer, new)
