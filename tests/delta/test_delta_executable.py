"""The executable-aware engine: kernel and plain Python agree, vectors decode for ever, damage ends in our error."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suture import delta
from suture.core.digests import digest_bytes
from suture.core.errors import PatchError
from suture.delta import executable, kernel, reference
from suture.testing.strategies import old_and_new

VECTORS = Path(__file__).parents[2] / "spec" / "vectors" / "delta-executable.json"


class Vector(NamedTuple):
    name: str
    old: bytes
    new: bytes
    payload: bytes
    digest: str


def read_vectors() -> list[Vector]:
    document = json.loads(VECTORS.read_text())
    assert document["format"] == "suture-delta-executable-vectors/1"

    def content(text: str) -> bytes:
        return zlib.decompress(base64.b64decode(text))

    return [
        Vector(v["name"], content(v["old"]), content(v["new"]), bytes.fromhex(v["payload"]), v["new_digest"])
        for v in document["valid"]
    ]


ALL = read_vectors()
EXECUTABLES = [v for v in ALL if v.old[:4] == b"\x7fELF"]
each_vector = pytest.mark.parametrize("vector", ALL, ids=lambda v: v.name)
each_executable = pytest.mark.parametrize("vector", EXECUTABLES, ids=lambda v: v.name)


def kernel_applied(old: bytes, payload: bytes, new_size: int) -> bytes:
    chunks: list[bytes] = []
    kernel.apply_executable(memoryview(old), memoryview(payload), new_size, chunks.append)
    return b"".join(chunks)


def outcome(apply: object, old: bytes, payload: bytes, new_size: int) -> bytes | None:
    try:
        result = apply(old, payload, new_size)  # type: ignore[operator]  # either of the two decoders
    except PatchError:
        return None
    assert isinstance(result, bytes)
    assert len(result) == new_size
    return result


@each_vector
def test_a_golden_vector_decodes_for_ever(vector: Vector) -> None:
    assert digest_bytes(vector.new) == vector.digest
    assert kernel_applied(vector.old, vector.payload, len(vector.new)) == vector.new
    assert reference.apply(vector.old, vector.payload, len(vector.new)) == vector.new


@each_executable
def test_a_changed_executable_costs_little(vector: Vector) -> None:
    patch = delta.encode(vector.old, vector.new)
    assert delta.inspect(patch).engine == "executable"
    assert len(patch) <= len(vector.payload) + 24 + 40
    assert len(patch) < len(zlib.compress(vector.new, 9)) // 2


@pytest.mark.slow
@each_executable
def test_every_byte_flipped_and_every_prefix_cut(vector: Vector) -> None:
    size = len(vector.new)
    payload = vector.payload
    for at in range(len(payload)):
        outcome(kernel_applied, vector.old, payload[:at], size)
        for bit in (0, 3, 7):
            outcome(
                kernel_applied, vector.old, payload[:at] + bytes([payload[at] ^ 1 << bit]) + payload[at + 1 :], size
            )


@each_vector
def test_a_patch_cut_by_more_than_its_coder_looks_ahead_is_refused(vector: Vector) -> None:
    """A cut patch decodes zeros; where that is not found out, the bytes are wrong and the signed digest says so."""
    for cut in range(1, min(len(vector.payload), 40)):
        result = outcome(kernel_applied, vector.old, vector.payload[:-cut], len(vector.new))
        assert result is None or cut < 8 or result != vector.new


@each_vector
def test_another_size_or_version_than_signed(vector: Vector) -> None:
    for size in (0, 1, len(vector.new) - 1, len(vector.new) + 1, 2**31, 2**63):
        assert outcome(kernel_applied, vector.old, vector.payload, size) is None or size < len(vector.new) + 2
    for start in (b"\0\0", b"\2\0", b"\1\2", b"\1\xff", b"\1", b""):
        with pytest.raises(PatchError):
            kernel_applied(vector.old, start + vector.payload[2:] if len(start) == 2 else start, len(vector.new))


@pytest.mark.slow
@each_executable
def test_another_old_file_is_no_crash(vector: Vector) -> None:
    for old in (
        b"",
        b"\x7fELF",
        vector.old[:64],
        vector.old[:-1],
        vector.old[::-1],
        vector.new,
        bytes(len(vector.old)),
    ):
        outcome(kernel_applied, old, vector.payload, len(vector.new))
    for at in range(0, min(len(vector.old), 4096), 7):
        damaged = vector.old[:at] + bytes([vector.old[at] ^ 0xFF]) + vector.old[at + 1 :]
        outcome(kernel_applied, damaged, vector.payload, len(vector.new))


@given(old_and_new())
@settings(max_examples=40, deadline=None)
def test_kernel_and_reference_agree_on_raw_files(pair: tuple[bytes, bytes]) -> None:
    old, new = pair
    payload = executable.encode(memoryview(old), memoryview(new), 19)
    if payload is not None:
        assert kernel_applied(old, payload, len(new)) == new
        if len(new) < 600:
            assert reference.apply(old, payload, len(new)) == new


@st.composite
def edited_executables(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """An executable and a version of it with bytes inserted, removed and overwritten anywhere, headers included."""
    vector = draw(st.sampled_from(EXECUTABLES))
    new = bytearray(vector.new if draw(st.booleans()) else vector.old)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(new)))
        what = draw(st.binary(max_size=24))
        new[at : at + draw(st.integers(0, 24))] = what
    return vector.old, bytes(new)


@given(edited_executables())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_edited_executable_there_and_back(pair: tuple[bytes, bytes]) -> None:
    old, new = pair
    for first, second in ((old, new), (new, old)):
        payload = executable.encode(memoryview(first), memoryview(second), 19)
        if payload is not None:
            assert kernel_applied(first, payload, len(second)) == second


@pytest.mark.slow
@given(edited_executables())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_kernel_and_reference_agree_on_edited_executables(pair: tuple[bytes, bytes]) -> None:
    old, new = pair
    payload = executable.encode(memoryview(old), memoryview(new), 19)
    if payload is not None:
        assert reference.apply(old, payload, len(new)) == new


@pytest.mark.slow
@given(st.sampled_from(EXECUTABLES), st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_kernel_and_reference_agree_on_damaged_patches(vector: Vector, data: st.DataObject) -> None:
    payload = bytearray(vector.payload)
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    size = len(vector.new)
    damaged = bytes(payload)
    assert outcome(kernel_applied, vector.old, damaged, size) == outcome(reference.apply, vector.old, damaged, size)


def test_where_the_bytes_of_a_patch_go() -> None:
    vector = EXECUTABLES[0]
    patch = delta.encode(vector.old, vector.new)
    shares = delta.explain(vector.old, patch)
    parts = [s for s in shares if s.group == "part"]
    assert [s.name for s in parts][:3] == ["layout", "blocks", "literals"]
    assert sum(s.size for s in parts) == pytest.approx(delta.inspect(patch).payload_size, rel=0.05, abs=12)
    assert any(s.group == "kind" and s.name == "branch" and s.count for s in shares)
    assert any(s.group == "section" for s in shares)
    assert delta.explain(b"", delta.encode(b"", b"new" * 50)) == ()
    with pytest.raises(PatchError):
        delta.explain(vector.old + b"!", patch)


def test_what_the_output_raises_passes_through() -> None:
    vector = EXECUTABLES[0]

    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        kernel.apply_executable(memoryview(vector.old), memoryview(vector.payload), len(vector.new), full)


def test_a_file_that_is_mostly_new_is_for_another_engine() -> None:
    assert executable.encode(memoryview(b""), memoryview(b"new"), 19) is None
    assert executable.encode(memoryview(b"old"), memoryview(b""), 19) is None
