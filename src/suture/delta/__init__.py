"""The delta engine: old bytes and new bytes to a patch, old bytes and a patch to new bytes. Pure (spec/delta.md).

The door: `encode`, `apply`, `inspect`, `explain`. Nothing below it is for other rooms. It never opens a file, never
reads a clock, never holds a whole output, and never judges whose bytes they are: digests are in the signed layer.
"""

from suture.delta.buffers import Buffer, view_of
from suture.delta.codec import DEFAULT_EFFORT, PatchInfo, apply, encode, engine_names, explain, inspect
from suture.delta.executable import Share

__all__ = [
    "DEFAULT_EFFORT",
    "Buffer",
    "PatchInfo",
    "Share",
    "apply",
    "encode",
    "engine_names",
    "explain",
    "inspect",
    "view_of",
]
