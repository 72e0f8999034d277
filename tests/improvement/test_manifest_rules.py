"""A manifest is read once, at the door: each rule of spec/improvement.md §2.2 broken once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suture.core.canonical import canonical_json
from suture.core.errors import AgentTooOldError, ImprovementError, ManifestError, SutureError, WrongTargetError
from suture.core.limits import MAXIMUM_MANIFEST_BYTES
from suture.improvement.layer import Layer, layer_digest
from suture.improvement.manifest import (
    Advisory,
    Baseline,
    ComponentChange,
    Fix,
    Manifest,
    PatchReference,
    Pin,
    Severity,
)
from suture.improvement.manifest_rules import check_pins, encode_manifest, parse_manifest
from suture.improvement.tree import DirectoryEntry, FileEntry, LinkEntry
from suture.improvement.tree_rules import sorted_tree

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
PLACE = "improvements/darkroom/1.0-x86_64"


def change_of(layer: Layer, **changes: Any) -> ComponentChange:
    change = ComponentChange(
        name="imaging",
        layer_digest=layer_digest(layer),
        layer=layer,
        pins=(Pin("lib/a.so", 3, ONE),),
        patches=(PatchReference(0, f"{PLACE}/2.imaging.from-0.patch", TWO, 100),),
    )
    return msgspec.structs.replace(change, **changes)


LAYER = Layer((FileEntry("lib/a.so", "0644", 4, TWO), LinkEntry("lib/l", "a.so")), ("lib/old",))
GOOD = Manifest(
    format="suture-manifest/1",
    minimum_agent="0.1",
    product="darkroom",
    baseline=Baseline("1.0", "x86_64"),
    level=2,
    issued="2026-03-01T12:00:00Z",
    full_by="2026-03-03T12:00:00Z",
    fixes=(Fix("CVE-2023-4863", Severity.HIGH, "heap overflow", "pkg:generic/libwebp@1.3.1", True),),
    components=(change_of(LAYER),),
    advisory=Advisory("SUT-1", "1", f"{PLACE}/2.csaf.json", ONE, 10),
)


def parse(data: bytes, **place: Any) -> Manifest:
    where: dict[str, Any] = {
        "agent_version": "0.1.0",
        "product": "darkroom",
        "baseline_identity": "1.0-x86_64",
        "level": 2,
    }
    return parse_manifest(data, **(where | place))


def parse_changed(**changes: Any) -> Manifest:
    return parse(encode_manifest(msgspec.structs.replace(GOOD, **changes)))


def with_layer(layer: Layer, **changes: Any) -> Manifest:
    return parse_changed(components=(change_of(layer, **changes),))


def test_a_good_manifest_there_and_back() -> None:
    assert parse(encode_manifest(GOOD)) == GOOD
    assert encode_manifest(parse(encode_manifest(GOOD))) == encode_manifest(GOOD)


def test_unknown_fields_are_ignored() -> None:
    body = msgspec.json.decode(encode_manifest(GOOD))
    assert parse(canonical_json({**body, "colour": "red"})) == GOOD


def test_either_a_cve_or_an_advisory_is_enough_and_one_is_needed() -> None:
    assert parse_changed(advisory=None).fixes
    assert parse_changed(fixes=()).advisory
    with pytest.raises(ManifestError, match="neither a CVE nor an advisory"):
        parse_changed(fixes=(), advisory=None)


@pytest.mark.parametrize(
    ("minimum", "agent", "is_old"),
    [
        ("0.1", "0.1.0", False),
        ("0.1.0", "0.1", False),
        ("0.2", "0.10", False),
        ("0.10", "0.2", True),
        ("1", "0.9.9", True),
        ("0.1.1", "0.1.0.dev5", True),
    ],
)
def test_minimum_agent(minimum: str, agent: str, is_old: bool) -> None:
    data = encode_manifest(msgspec.structs.replace(GOOD, minimum_agent=minimum))
    if is_old:
        with pytest.raises(AgentTooOldError) as caught:
            parse(data, agent_version=agent)
        assert caught.value.code == "agent-too-old"
    else:
        parse(data, agent_version=agent)


def test_a_later_format_is_too_new_even_where_nothing_else_can_be_read() -> None:
    with pytest.raises(AgentTooOldError):
        parse(b'{"format":"suture-manifest/2","minimum_agent":"9","product":7}')
    with pytest.raises(AgentTooOldError):
        parse(b'{"format":"suture-manifest/1","minimum_agent":"9","product":7}')
    with pytest.raises(ManifestError):
        parse(b'{"format":"other/1","minimum_agent":"0.1"}')


@pytest.mark.parametrize(
    "place",
    [
        {"product": "lightroom"},
        {"baseline_identity": "1.1-x86_64"},
        {"baseline_identity": "1.0-aarch64"},
        {"level": 1},
        {"level": 3},
    ],
)
def test_another_product_release_architecture_or_level(place: dict[str, Any]) -> None:
    with pytest.raises(WrongTargetError):
        parse(encode_manifest(GOOD), **place)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"format":1}', b"[" * 5000, b'{"x":' * 5000, b"{" + b" " * 100, b"\0"],
)
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(ManifestError):
        parse(data)


def test_an_oversized_manifest_is_not_even_decoded() -> None:
    with pytest.raises(ManifestError, match="larger than"):
        parse(b" " * (MAXIMUM_MANIFEST_BYTES + 1))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"full_by": "2026-02-28T12:00:00Z"}, "before issued"),
        ({"issued": "2026-13-01T12:00:00Z"}, "time"),
        ({"coverage_ends": "2026-02-30T00:00:00Z"}, "time"),
        ({"fixes": GOOD.fixes * 2}, "twice"),
        ({"components": ()}, "no component"),
        ({"components": GOOD.components * 2}, "twice"),
        ({"advisory": Advisory("S", "1", "elsewhere.json", ONE, 10)}, "advisory is not at"),
        ({"level": 0}, "level"),
        ({"components": (change_of(LAYER, layer_digest=ONE),)}, "layer digest"),
        ({"components": (change_of(LAYER, patches=()),)}, "no patch from the bare baseline"),
        ({"components": (change_of(LAYER, name="../x"),)}, "name"),
    ],
)
def test_a_rule_broken(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        parse_changed(**changes)


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        (PatchReference(1, f"{PLACE}/2.imaging.from-0.patch", TWO, 1), "is not at"),
        (PatchReference(1, f"{PLACE}/../2.imaging.from-1.patch", TWO, 1), "is not at"),
        (PatchReference(2, f"{PLACE}/2.imaging.from-2.patch", TWO, 1), "starts at level 2"),
        (PatchReference(3, f"{PLACE}/2.imaging.from-3.patch", TWO, 1), "starts at level 3"),
        (PatchReference(0, f"{PLACE}/2.imaging.from-0.patch", TWO, 1), "twice"),
        (PatchReference(1, f"{PLACE}/2.imaging.from-1.patch", TWO, 0), "size"),
    ],
)
def test_a_bad_patch_reference(patch: PatchReference, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        with_layer(LAYER, patches=(*change_of(LAYER).patches, patch))


@pytest.mark.parametrize(
    "layer",
    [
        Layer((FileEntry("../evil", "0644", 1, ONE),)),
        Layer((FileEntry("/etc/passwd", "0644", 1, ONE),)),
        Layer((FileEntry("a\0b", "0644", 1, ONE),)),
        Layer((FileEntry("a\nb", "0644", 1, ONE),)),
        Layer((FileEntry("x" * 256, "0644", 1, ONE),)),
        Layer((FileEntry("a", "4755", 1, ONE),)),
        Layer((FileEntry("a", "0644", -1, ONE),)),
        Layer((FileEntry("a", "0644", 2**40, ONE),)),
        Layer((FileEntry("a", "0644", 1, "md5:00"),)),
        Layer((FileEntry("A", "0644", 1, ONE), FileEntry("a", "0644", 1, ONE))),
        Layer((LinkEntry("a", "/etc"),)),
        Layer((LinkEntry("a", "../../etc"),)),
        Layer((LinkEntry("a", "b"), FileEntry("a/c", "0644", 1, ONE))),
        Layer((FileEntry("b", "0644", 1, ONE), FileEntry("a", "0644", 1, ONE))),
        Layer((), ("..",)),
        Layer((FileEntry("a", "0644", 1, ONE),), ("a",)),
    ],
)
def test_a_bad_layer(layer: Layer) -> None:
    with pytest.raises(ManifestError):
        with_layer(layer, pins=())


@pytest.mark.parametrize(
    "pins",
    [
        (Pin("b", 1, ONE), Pin("a", 1, ONE)),
        (Pin("a", 1, ONE), Pin("a", 1, ONE)),
        (Pin("../a", 1, ONE),),
        (Pin("A", 1, ONE), Pin("a", 1, ONE)),
        (Pin("a", 1, ONE), Pin("a/b", 1, ONE)),
        (Pin("lib", 1, ONE),),
        (Pin("lib/a.so", 5, TWO),),
        (Pin("a", -1, ONE),),
    ],
)
def test_bad_pins(pins: tuple[Pin, ...]) -> None:
    with pytest.raises(ManifestError):
        with_layer(LAYER, pins=pins)


def test_a_pinned_file_may_become_a_directory() -> None:
    layer = Layer((DirectoryEntry("lib", "0755"), FileEntry("lib/a.so", "0644", 4, TWO)))
    with_layer(layer, pins=(Pin("lib", 1, ONE),))


def test_the_sum_of_sizes_is_bounded() -> None:
    files = tuple(FileEntry(f"f{number:02}", "0644", 4 * 2**30, TWO) for number in range(17))
    with pytest.raises(ManifestError, match="files have more than"):
        with_layer(Layer(files), pins=())


def test_pins_must_cover_what_changes_and_tell_the_truth() -> None:
    baseline = sorted_tree(
        (DirectoryEntry("lib", "0755"), FileEntry("lib/a.so", "0644", 3, ONE), FileEntry("lib/old", "0644", 1, ONE))
    )
    right = (Pin("lib/a.so", 3, ONE), Pin("lib/old", 1, ONE))
    check_pins(change_of(LAYER, pins=right), baseline)
    for wrong in (right[:1], right[1:], (right[0], Pin("lib/old", 1, TWO)), (*right, Pin("lib/none", 1, ONE))):
        with pytest.raises(ManifestError):
            check_pins(change_of(LAYER, pins=wrong), baseline)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_damage_ends_in_our_error_or_a_manifest_that_keeps_the_rules(data: st.DataObject) -> None:
    whole = bytearray(encode_manifest(GOOD))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        manifest = parse(bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole))
    except SutureError as error:
        assert isinstance(error, ImprovementError)  # noqa: PT017 -- the kind is what is tested
    else:
        assert parse(encode_manifest(manifest)) == manifest


def test_every_byte_flipped() -> None:
    whole = encode_manifest(GOOD)
    for position in range(len(whole)):
        for bit in (1, 0x20, 0x80):
            bad = whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :]
            try:
                parse(bad)
            except ImprovementError:
                continue
