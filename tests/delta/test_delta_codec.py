"""The delta door: the right bytes or `PatchError`, never another exception, never more than the signed size."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suture import delta
from suture.core.errors import InputError, PatchError
from suture.delta import zstandard
from suture.testing.strategies import old_and_new

HEADER = 24
CONTENT_SIZE_FLAG = 200
"""ZSTD_c_contentSizeFlag."""
OLD = bytes(range(256)) * 8
NEW = OLD[:700] + b"patched" + OLD[720:] + b"tail"


def applied(old: delta.Buffer, patch: delta.Buffer, new_size: int) -> bytes:
    chunks: list[bytes] = []
    delta.apply(old, patch, chunks.append, new_size=new_size)
    return b"".join(chunks)


def forged(engine: int, payload: bytes, *, old_size: int = 0, new_size: int = 0) -> bytes:
    return struct.pack("<4sBBHQQ", b"SUTD", 1, engine, 0, old_size, new_size) + payload


@given(old_and_new(), st.integers(1, 22))
@settings(max_examples=150, deadline=None)
def test_any_two_files_there_and_back(pair: tuple[bytes, bytes], effort: int) -> None:
    old, new = pair
    patch = delta.encode(old, new, effort=effort)
    info = delta.inspect(patch)
    assert applied(old if info.reads_old else b"", patch, len(new)) == new
    assert (info.new_size, info.payload_size) == (len(new), len(patch) - HEADER)
    assert info.old_size == (len(old) if info.reads_old else 0)


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 5000))
@settings(max_examples=300, deadline=None)
def test_any_bytes_as_a_patch_end_in_our_error_or_the_signed_size(old: bytes, patch: bytes, new_size: int) -> None:
    for candidate in (patch, *(forged(n, patch, old_size=len(old), new_size=new_size) for n in (1, 2, 3, 4))):
        try:
            assert len(applied(old, candidate, new_size)) == new_size
        except PatchError:
            continue


@pytest.mark.parametrize(
    ("old", "new", "engine"),
    [(OLD, OLD, "copy"), (OLD, NEW, "executable"), (b"", NEW, "zstd"), (b"", b"", "copy"), (OLD, b"", "zstd")],
)
def test_the_smallest_engine_wins(old: bytes, new: bytes, engine: str) -> None:
    patch = delta.encode(old, new)
    assert delta.inspect(patch).engine == engine
    assert applied(old, patch, len(new)) == new
    assert delta.encode(old, new) == patch


def test_every_byte_flipped_and_every_prefix_cut() -> None:
    for old, new in ((OLD, NEW), (b"", NEW), (OLD, OLD)):
        patch = delta.encode(old, new)
        damaged = [patch[:end] for end in range(len(patch))]
        damaged += [
            patch[:at] + bytes([patch[at] ^ 1 << bit]) + patch[at + 1 :] for at in range(len(patch)) for bit in range(8)
        ]
        for bad in damaged:
            taken: list[bytes] = []
            try:
                delta.apply(old, bad, taken.append, new_size=len(new))
            except PatchError:
                assert sum(map(len, taken)) <= len(new)
            else:
                # No digest is inside: a flipped literal is for the signed layer to find. The size never lies.
                assert sum(map(len, taken)) == len(new)


def test_a_skippable_frame_is_no_frame() -> None:
    """RFC 8878 §3.1.2: it gives no bytes, so it would be a second spelling of an empty file."""
    skippable = bytes.fromhex("502a4d18") + (4).to_bytes(4, "little") + b"skip"
    for payload in (skippable, skippable + zstandard._compress(memoryview(b""), zstandard._frame_options(3, 10), None)):
        with pytest.raises(PatchError, match="no Zstandard frame"):
            applied(b"", forged(2, payload), 0)


def test_trailing_bytes_are_refused() -> None:
    for old, new in ((OLD, NEW), (b"", NEW), (OLD, OLD), (b"", b"")):
        with pytest.raises(PatchError):
            applied(old, delta.encode(old, new) + b"\0", len(new))


def test_a_decompression_bomb_stops_at_the_signed_size() -> None:
    bomb = zstandard.encode_whole(memoryview(b""), memoryview(bytes(64 * 1024 * 1024)), 3)
    assert bomb is not None
    assert len(bomb) < 10_000
    for size in (0, 1, 4096):
        taken: list[bytes] = []
        with pytest.raises(PatchError):
            delta.apply(b"", forged(2, bomb, new_size=size), taken.append, new_size=size)
        assert sum(map(len, taken)) <= size


def test_a_bomb_without_a_size_in_its_frame_stops_at_the_signed_size() -> None:
    options = zstandard._frame_options(3, 17)
    options[CONTENT_SIZE_FLAG] = 0
    bomb = zstandard._compress(memoryview(bytes(1 << 24)), options, None)
    taken: list[bytes] = []
    with pytest.raises(PatchError, match="more than the signed"):
        delta.apply(b"", forged(2, bomb, new_size=1 << 20), taken.append, new_size=1 << 20)
    assert sum(map(len, taken)) <= 1 << 20


def test_a_window_larger_than_the_signed_size_is_refused() -> None:
    # RFC 8878 §3.1.1: magic, a descriptor without a content size, a window of 2**(10 + exponent), one raw last block.
    def frame_of(exponent: int) -> bytes:
        block = (5000 << 3 | 1).to_bytes(3, "little") + bytes(5000)
        return bytes.fromhex("28b52ffd00") + bytes([exponent << 3]) + block

    assert applied(b"", forged(2, frame_of(3), new_size=5000), 5000) == bytes(5000)
    for exponent in (4, 17, 21, 31):
        frame = frame_of(exponent)
        with pytest.raises(PatchError, match="compressed bytes are bad"):
            applied(b"", forged(2, frame, new_size=5000), 5000)


@pytest.mark.parametrize(
    "segment",
    [
        (0, 2048, 0, 0),  # gives nothing
        (0, 2048, 6000, 0),  # gives more than is signed
        (1, 2048, 5000, 0),  # reads past the old file
        (2**64 - 1, 2048, 5000, 0),
        (0, 7, 5000, 0),  # shorter than a prefix may be
        (0, 2048, 5000, 2**32 - 1),  # ends past the patch
    ],
)
def test_a_segment_out_of_bounds(segment: tuple[int, int, int, int]) -> None:
    patch = forged(3, struct.pack("<QIII", *segment) + bytes(40), old_size=2048, new_size=5000)
    with pytest.raises(PatchError):
        applied(OLD, patch, 5000)


def test_another_old_or_new_size_than_signed() -> None:
    patch = delta.encode(OLD, NEW)
    for old, size in ((OLD + b"!", len(NEW)), (OLD, len(NEW) + 1), (OLD, len(NEW) - 1), (b"", len(NEW))):
        with pytest.raises(PatchError):
            applied(old, patch, size)


@pytest.mark.parametrize(
    "bad",
    [b"", b"SUTD", b"BSDIFF40" + bytes(30), forged(9, b""), forged(1, b"", old_size=2**63), forged(2, b"", old_size=4)],
)
def test_no_patch_is_no_patch(bad: bytes) -> None:
    with pytest.raises(PatchError):
        delta.inspect(bad)


def test_a_later_format_version_is_refused() -> None:
    patch = bytearray(delta.encode(OLD, NEW))
    patch[4] = 2
    with pytest.raises(PatchError, match="version 2"):
        delta.inspect(patch)


def test_what_the_output_raises_passes_through() -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        delta.apply(OLD, delta.encode(OLD, NEW), full, new_size=len(NEW))


def test_an_effort_out_of_range() -> None:
    for effort in (0, 23, -1):
        with pytest.raises(InputError):
            delta.encode(OLD, NEW, effort=effort)


def test_mapped_files_and_views_can_be_closed_afterwards(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(OLD)
    patch = delta.encode(OLD, NEW)
    with (tmp_path / "old").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as old:
        assert applied(old, memoryview(patch), len(NEW)) == NEW
        assert delta.encode(old, memoryview(NEW)) == patch


def test_a_large_file_goes_in_segments_whose_windows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstandard, "SEGMENT_NEW_BYTES", 4096)
    monkeypatch.setattr(zstandard, "SEGMENT_OLD_BYTES", 8192)
    old = b"".join(struct.pack("<I", n * n % 2**32) for n in range(10_000))
    new = old[:15_000] + b"inserted" + old[15_000:-100]
    payload = zstandard.encode_from(memoryview(old), memoryview(new), delta.DEFAULT_EFFORT)
    assert payload is not None
    patch = forged(3, payload, old_size=len(old), new_size=len(new))
    assert len(patch) < len(new) // 20
    assert applied(old, patch, len(new)) == new
    lengths = [struct.unpack_from("<QIII", patch, HEADER)[1:3]]
    assert lengths == [(8192, 4096)]


def test_output_comes_in_chunks() -> None:
    new = bytes(3_000_000)
    sizes: list[int] = []
    delta.apply(b"", delta.encode(b"", new, effort=1), lambda chunk: sizes.append(len(chunk)), new_size=len(new))
    assert sum(sizes) == len(new)
    assert max(sizes) <= 256 * 1024
