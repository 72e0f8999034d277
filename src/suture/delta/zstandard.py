"""The two Zstandard engines (RFC 8878): the whole file, and the file against its old self as ``zstd --patch-from``.

Both refuse what the signed sizes do not allow: the window a frame may ask for comes from the new size, never from the
frame's own header; output stops at the new size; every byte of the payload must have been used.

``zstd-from`` works in segments so that neither side holds a large file: each segment gives at most
`SEGMENT_NEW_BYTES` of new bytes and sees at most `SEGMENT_OLD_BYTES` of the old file (spec/delta.md §3.3).
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from typing import Final

from suture.core.errors import PatchError
from suture.core.limits import MIB
from suture.delta.buffers import CHUNK_BYTES, Output

if sys.version_info >= (3, 14):
    from compression.zstd import (  # type: ignore[import-not-found,unused-ignore]  # absent before 3.14
        CompressionParameter,
        DecompressionParameter,
        ZstdCompressor,
        ZstdDecompressor,
        ZstdDict,
        ZstdError,
    )
else:
    from backports.zstd import (
        CompressionParameter,
        DecompressionParameter,
        ZstdCompressor,
        ZstdDecompressor,
        ZstdDict,
        ZstdError,
    )

WHOLE_WINDOW_LOG: Final = 23
"""8 MiB: level 19's own window, and what any zstd decoder must support (RFC 8878 §3.1.1.1.2)."""
SEGMENT_NEW_BYTES: Final = 32 * MIB
SEGMENT_OLD_BYTES: Final = 64 * MIB
_SMALLEST_WINDOW_LOG: Final = 10
_SMALLEST_DICTIONARY: Final = 8
"""Bytes; a shorter prefix is refused by the library (and would not pay)."""
_LONG_MATCHES_FROM_EFFORT: Final = 19
_LONG_MATCHES_WITHIN_BYTES: Final = 4 * MIB
"""Of new bytes: repetitive ones take the parser up to 1.5 s a MiB."""
_LONG_MATCH_BYTES: Final = 4096
"""In a group most matches are long: the parser looks this far ahead, where level 19 itself looks 256 bytes."""
_FRAME_MAGIC: Final = bytes.fromhex("28b52ffd")
"""RFC 8878 §3.1.1."""
_SEGMENT: Final = struct.Struct("<QIII")
"""Old offset, old length, new length, frame length; little-endian."""
_INPUT_BYTES: Final = 64 * 1024


def encode_whole(_old: memoryview, new: memoryview, effort: int) -> bytes | None:
    """The new bytes alone in one frame."""
    options = _frame_options(effort, min(WHOLE_WINDOW_LOG, _window_log(len(new))))
    return _compress(new, options, None)


def apply_whole(_old: memoryview, payload: memoryview, output: Output, new_size: int) -> None:
    """Give the bytes of one frame.

    Raises:
        PatchError: no frame, a window beyond the bound, another size than `new_size`, bytes after the frame.
    """
    _decompress(payload, None, output, new_size, min(WHOLE_WINDOW_LOG, _window_log(new_size)))


def encode_from(old: memoryview, new: memoryview, effort: int) -> bytes | None:
    """The new bytes against the old ones, segment by segment; None where there is too little old to read."""
    if len(old) < _SMALLEST_DICTIONARY or not len(new):
        return None
    parts: list[bytes] = []
    for start in range(0, len(new), SEGMENT_NEW_BYTES):
        piece = new[start : start + SEGMENT_NEW_BYTES]
        old_offset, old_length = _old_segment(len(old), len(new), start, len(piece))
        prefix = ZstdDict(old[old_offset : old_offset + old_length], is_raw=True)
        # The window must reach from the segment's end to the prefix's beginning, and over both for matches found far
        # apart; the frame names the segment's own size, so the decoder's window is never larger than the segment.
        options = _frame_options(effort, _window_log(old_length + len(piece)))
        options[CompressionParameter.enable_long_distance_matching] = 1
        frame = _compress(piece, options, prefix)
        parts += (_SEGMENT.pack(old_offset, old_length, len(piece), len(frame)), frame)
    return b"".join(parts)


def apply_from(old: memoryview, payload: memoryview, output: Output, new_size: int) -> None:
    """Give the segments' bytes in order.

    Raises:
        PatchError: a segment outside the old bytes, over its bounds or beyond `new_size`; a bad frame; bytes left over.
    """
    position = given = 0
    while given < new_size:
        if len(payload) - position < _SEGMENT.size:
            raise PatchError("cannot apply the patch: it ends inside a segment's header")
        old_offset, old_length, new_length, frame_length = _SEGMENT.unpack_from(payload, position)
        position += _SEGMENT.size
        if not 1 <= new_length <= min(SEGMENT_NEW_BYTES, new_size - given):
            raise PatchError("cannot apply the patch: a segment's new length is out of bounds")
        if not _SMALLEST_DICTIONARY <= old_length <= SEGMENT_OLD_BYTES or old_offset + old_length > len(old):
            raise PatchError("cannot apply the patch: a segment reads outside the old file")
        if frame_length > len(payload) - position:
            raise PatchError("cannot apply the patch: it ends inside a segment")
        prefix = ZstdDict(old[old_offset : old_offset + old_length], is_raw=True)
        frame = payload[position : position + frame_length]
        _decompress(frame, prefix, output, new_length, _window_log(new_length))
        position += frame_length
        given += new_length
    if position != len(payload):
        raise PatchError("cannot apply the patch: bytes follow its last segment")


def encode_solid(prefix: memoryview, new: memoryview, effort: int) -> bytes:
    """The new bytes in one frame against the prefix: what several small files share is sent once."""
    options = _frame_options(effort, _window_log(len(prefix) + len(new)))
    options[CompressionParameter.enable_long_distance_matching] = 1
    if effort >= _LONG_MATCHES_FROM_EFFORT and len(new) <= _LONG_MATCHES_WITHIN_BYTES:
        options[CompressionParameter.target_length] = _LONG_MATCH_BYTES
    return _compress(new, options, ZstdDict(prefix, is_raw=True))


def solid_chunks(prefix: memoryview, frame: memoryview, new_size: int) -> Iterator[bytes]:
    """The bytes of `encode_solid`'s frame, a chunk at a time; ends in peace only where all is as it must be.

    Raises:
        PatchError: no frame, a window beyond the new size, another size than `new_size`, bytes after the frame.
    """
    return _chunks(frame, ZstdDict(prefix, is_raw=True), new_size, _window_log(new_size))


def _old_segment(old_size: int, new_size: int, start: int, length: int) -> tuple[int, int]:
    """The part of the old file that a segment sees: all of a small one, else around the same relative place."""
    if old_size <= SEGMENT_OLD_BYTES:
        return 0, old_size
    centre = (start + length // 2) * old_size // new_size
    offset = min(max(0, centre - SEGMENT_OLD_BYTES // 2), old_size - SEGMENT_OLD_BYTES)
    return offset, SEGMENT_OLD_BYTES


def _window_log(size: int) -> int:
    """Smallest window logarithm that covers `size` bytes."""
    return max(_SMALLEST_WINDOW_LOG, (size - 1).bit_length() if size else 0)


def _frame_options(effort: int, window_log: int) -> dict[int, int]:
    """No checksum and no dictionary number: the signed layer holds the digest. The size is named: it bounds windows."""
    return {
        CompressionParameter.compression_level: effort,
        CompressionParameter.window_log: window_log,
        CompressionParameter.content_size_flag: 1,
        CompressionParameter.checksum_flag: 0,
        CompressionParameter.dict_id_flag: 0,
    }


def _compress(new: memoryview, options: dict[int, int], prefix: ZstdDict | None) -> bytes:
    compressor = ZstdCompressor(options=options, zstd_dict=None if prefix is None else prefix.as_prefix)
    return compressor.compress(new, ZstdCompressor.FLUSH_FRAME)


def _decompress(frame: memoryview, prefix: ZstdDict | None, output: Output, size: int, window_log: int) -> None:
    for chunk in _chunks(frame, prefix, size, window_log):
        output(chunk)


def _chunks(frame: memoryview, prefix: ZstdDict | None, size: int, window_log: int) -> Iterator[bytes]:
    """One frame, exactly `size` bytes, a chunk at a time."""
    if bytes(frame[: len(_FRAME_MAGIC)]) != _FRAME_MAGIC:
        raise PatchError("cannot apply the patch: it holds no Zstandard frame")  # a skippable one neither
    decoder = _decoder(prefix, window_log)
    position = given = 0
    while not decoder.eof:
        data = b""
        if decoder.needs_input:
            data = bytes(frame[position : position + _INPUT_BYTES])
            position += len(data)
            if not data:
                raise PatchError("cannot apply the patch: it ends before the file does")
        # One byte more than may come, so that a frame that gives too much is seen and stopped, not believed.
        try:
            chunk = decoder.decompress(data, min(CHUNK_BYTES, size - given + 1))
        except (ZstdError, EOFError, ValueError, MemoryError) as error:
            raise PatchError(f"cannot apply the patch: its compressed bytes are bad ({error})") from error
        given += len(chunk)
        if given > size:
            raise PatchError(f"cannot apply the patch: it gives more than the signed {size:,} bytes")
        if chunk:
            yield chunk
    if given != size:
        raise PatchError(f"cannot apply the patch: it gives {given:,} bytes instead of {size:,}")
    if decoder.unused_data or position != len(frame):
        raise PatchError("cannot apply the patch: bytes follow its end")


def _decoder(prefix: ZstdDict | None, window_log: int) -> ZstdDecompressor:
    return ZstdDecompressor(
        zstd_dict=None if prefix is None else prefix.as_prefix,
        options={DecompressionParameter.window_log_max: window_log},
    )
