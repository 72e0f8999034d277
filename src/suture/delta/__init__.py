"""The delta engine: old bytes and new bytes to a patch, old bytes and a patch to new bytes. Pure (spec/delta.md).

The door: `encode`, `apply`, `inspect`, `explain` for whole deltas; `payload_of`, `apply_payload`, `engine_name`,
`encode_solid` and `solid_chunks` for the container, which keeps sizes itself. Nothing below it is for other rooms. It
never opens a file, never reads a clock, never holds a whole output, and never judges whose bytes they are: digests are
in the signed layer.
"""

from suture.delta.buffers import Buffer, view_of
from suture.delta.codec import (
    DEFAULT_EFFORT,
    PatchInfo,
    Payload,
    apply,
    apply_payload,
    encode,
    engine_name,
    engine_names,
    explain,
    inspect,
    payload_of,
)
from suture.delta.executable import Share
from suture.delta.kernel import self_test
from suture.delta.solid import SMALLEST_PREFIX_BYTES, SOLID_NEW_BYTES, SOLID_OLD_BYTES, encode_solid, solid_chunks

__all__ = [
    "DEFAULT_EFFORT",
    "SMALLEST_PREFIX_BYTES",
    "SOLID_NEW_BYTES",
    "SOLID_OLD_BYTES",
    "Buffer",
    "PatchInfo",
    "Payload",
    "Share",
    "apply",
    "apply_payload",
    "encode",
    "encode_solid",
    "engine_name",
    "engine_names",
    "explain",
    "inspect",
    "payload_of",
    "self_test",
    "solid_chunks",
    "view_of",
]
