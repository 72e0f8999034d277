"""The patch container: bounded before it is believed."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suture.core.canonical import canonical_json
from suture.core.errors import BaselineMismatchError, DigestMismatchError, PatchError
from suture.improvement.apply import apply_patch
from suture.improvement.container import read_container, write_container
from suture.improvement.container_parts import MAXIMUM_HEADER_BYTES, Member, OldFile
from suture.improvement.container_two import PlannedGroup, PlannedMember
from suture.improvement.layer import Layer
from suture.improvement.stand_alone import build_stand_alone, expected_result, file_tree, read_stand_alone
from suture.improvement.tree import FileEntry

DIGEST = "sha256:" + "0" * 64


def container_of(header: bytes, body: bytes = b"", *, version: int = 1, size: int | None = None) -> bytes:
    return struct.pack("<4sBBHI", b"SUTP", version, 0, 0, len(header) if size is None else size) + header + body


def first_version(reads: list[str | None], deltas: list[bytes]) -> bytes:
    """What version 1 wrote."""
    members = [{"reads": path, "size": len(delta)} for path, delta in zip(reads, deltas, strict=True)]
    return container_of(canonical_json({"members": members}), b"".join(deltas))


def test_written_and_read() -> None:
    members = [PlannedMember(3, 1, b"12"), None, PlannedMember(2, 0, b"345"), PlannedMember(1, 5, b"")]
    data = write_container(members, [PlannedGroup(1, (0, 4, 300), b"frame")], ["a"])
    container = read_container(data)
    assert [data[member.start : member.end] for member in container.members] == [b"12", b"", b"345", b""]
    assert [member.reads for member in container.members] == [
        OldFile("file", 0),
        None,
        None,
        OldFile("named", 0, "a"),
    ]
    assert [(member.engine, member.group) for member in container.members] == [
        (3, None),
        (None, 0),
        (2, None),
        (1, None),
    ]
    (group,) = container.groups
    assert group.reads == (OldFile("file", 0), OldFile("named", 0, "a"), OldFile("removed", 295))
    assert data[group.start : group.end] == b"frame"


def test_the_first_version_is_read_for_ever() -> None:
    data = first_version(["a", None], [b"12", b"345"])
    container = read_container(data)
    start = container.body_offset
    assert container.members == (
        Member(None, None, OldFile("named", 0, "a"), start, start + 2),
        Member(None, None, None, start + 2, start + 5),
    )


def table_of(table: bytes, body: bytes = b"", *, kind: int = 0) -> bytes:
    return struct.pack("<4sBBHI", b"SUTP", 2, kind, 0, len(table)) + table + body


@pytest.mark.parametrize(
    "data",
    [
        table_of(b""),
        table_of(b"\0\0\0", kind=3),
        table_of(b"\0\0\0", b"trailing"),
        table_of(b"\0\0\0\0"),
        table_of(b"\x80\0\0\0"),  # a number longer than it needs to be
        table_of(b"\xff\xff\xff\xff\xff\xff\xff\x01"),
        table_of(b"\1\0\0\2\0\5", b"1234"),
        table_of(b"\1\0\0\0"),  # a member of a group, and no group
        table_of(b"\1\0\1\1\0\0\2\0\0"),  # a group of one, and no member of it
        table_of(b"\0\0\1\0\0\0"),  # a group of none
        table_of(b"\2\0\1\1\0\0\0\0"),  # more members than its groups have
        table_of(b"\0\1\2..\0"),
        table_of(b"\0\1\2/a\0"),
        table_of(b"\0\1\2\xff\xff\0"),
        table_of(b"\0\2\1b\1a\0"),
        table_of(b"\0\0\0", kind=1),
        table_of(b"\0\0\0\x01\x05abcde", kind=1),
        struct.pack("<4sBBHI", b"SUTP", 2, 0, 1, 3) + b"\0\0\0",
        struct.pack("<4sBBHI", b"SUTP", 2, 0, 0, 2**32 - 1) + b"\0\0\0",
    ],
)
def test_a_bad_table(data: bytes) -> None:
    with pytest.raises(PatchError):
        read_container(data)


@given(st.binary(max_size=60), st.binary(max_size=20), st.integers(0, 2))
def test_any_bytes_are_a_table_or_a_patch_error(table: bytes, body: bytes, kind: int) -> None:
    try:
        read_container(table_of(table, body, kind=kind))
    except PatchError:
        return


def test_an_endless_count_of_members_costs_nothing() -> None:
    group = b"\xff\xff\x0b\0\0"  # 196,607 members, no old file, no bytes
    table = b"\xc0\x9a\x0c\0\x80\x20" + group * 4096  # 200,000 files, 4,096 groups
    with pytest.raises(PatchError):
        read_container(table_of(table))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SUTP",
        b"PK\3\4" + bytes(20),
        container_of(b"{}"),
        container_of(b"not json"),
        container_of(b"[" * 5000),
        container_of(b'{"members":[]}', version=3),
        container_of(b'{"members":[]}', size=2**32 - 1),
        container_of(b'{"members":[]}', size=MAXIMUM_HEADER_BYTES + 1),
        container_of(b'{"members":[]}', b"trailing"),
        container_of(b'{"members":[{"reads":null,"size":5}]}', b"1234"),
        container_of(b'{"members":[{"reads":null,"size":-1},{"reads":null,"size":1}]}'),
        container_of(b'{"members":[{"reads":null,"size":1e30}]}'),
        container_of(b'{"members":[{"reads":"../../etc/shadow","size":0}]}'),
        container_of(b'{"members":[{"reads":"/etc/shadow","size":0}]}'),
        container_of(b'{"members":[{"reads":"\\ud800","size":0}]}'),
        container_of(canonical_json({"members": [], "stand_alone": {"kind": "tree", "layer": {}, "result": "x"}})),
        container_of(
            canonical_json(
                {"members": [], "stand_alone": {"kind": "tree", "layer": {"removed": [".."]}, "result": DIGEST}}
            )
        ),
    ],
)
def test_a_bad_container(data: bytes) -> None:
    with pytest.raises(PatchError):
        read_container(data)


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_any_bytes_are_a_container_or_a_patch_error(header: bytes, body: bytes) -> None:
    for data in (header, container_of(header, body)):
        try:
            read_container(data)
        except PatchError:
            continue


def test_more_or_fewer_members_than_the_layer_has_files() -> None:
    layer = Layer((FileEntry("a", "0644", 0, DIGEST),))
    for deltas in ([], [b"", b""]):
        with pytest.raises(PatchError, match="its layer 1"):
            apply_patch(
                layer,
                write_container([PlannedMember(2, 0, delta) for delta in deltas]),
                read_old=lambda _: b"",
                open_sink=lambda _: pytest.fail("nothing may be opened"),
            )


def test_a_bomb_in_a_container_costs_no_memory() -> None:
    from suture.delta import zstandard

    bomb = zstandard.encode_whole(memoryview(b""), memoryview(bytes(1 << 27)), 1)
    assert bomb is not None
    delta = struct.pack("<4sBBHQQ", b"SUTD", 1, 2, 0, 0, 1000) + bomb
    written: list[int] = []

    class Counting:
        def write(self, data: bytes, /) -> None:
            written.append(len(data))

        def close(self) -> None:
            written.append(0)

    tracemalloc.start()
    try:
        with pytest.raises(PatchError):
            apply_patch(
                Layer((FileEntry("a", "0644", 1000, DIGEST),)),
                first_version([None], [delta]),
                read_old=lambda _: b"",
                open_sink=lambda _: Counting(),
            )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(written) <= 1000
    assert written[-1] == 0
    assert peak < 1 << 20


def test_a_sink_is_closed_on_a_wrong_digest_too() -> None:
    from suture import delta

    closed: list[bool] = []

    class Sink:
        def write(self, data: bytes, /) -> None:
            """Nowhere."""

        def close(self) -> None:
            closed.append(True)

    layer = Layer((FileEntry("a", "0644", 5, DIGEST),))
    with pytest.raises(DigestMismatchError, match="not the signed ones"):
        apply_patch(
            layer,
            first_version([None], [delta.encode(b"", b"wrong")]),
            read_old=lambda _: b"",
            open_sink=lambda _: Sink(),
        )
    assert closed == [True]


def test_a_published_patch_is_not_stand_alone_and_a_wrong_old_file_is_found() -> None:
    from suture.core.digests import digest_bytes

    with pytest.raises(PatchError, match="published"):
        read_stand_alone(write_container([]))
    old, new = file_tree("0644", 3, digest_bytes(b"old")), file_tree("0644", 3, digest_bytes(b"new"))
    built = build_stand_alone("file", old, new, lambda _: b"old", lambda _: b"new")
    stand_alone = read_stand_alone(built.data)
    assert expected_result(old, stand_alone) == new
    tree_patch = build_stand_alone(
        "tree", file_tree("0600", 3, digest_bytes(b"old")), new, lambda _: b"old", lambda _: b"new"
    )
    assert expected_result(old, read_stand_alone(tree_patch.data)) == new
    empty = file_tree("0644", 0, digest_bytes(b""))
    same = read_stand_alone(build_stand_alone("file", old, old, lambda _: b"old", lambda _: b"old").data)
    with pytest.raises(BaselineMismatchError):
        expected_result(empty, same)
