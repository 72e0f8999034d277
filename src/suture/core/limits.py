"""Bounds on what comes from outside, each with where it comes from. Sizes in bytes, times in seconds."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

MAXIMUM_MANIFEST_BYTES: Final = 4 * MIB
"""A layer of 10,000 files at 200 B an entry is 2 MB."""
MAXIMUM_INDEX_BYTES: Final = 1 * MIB
MAXIMUM_ROLLOUT_BYTES: Final = 64 * KIB
MAXIMUM_PRODUCT_FILE_BYTES: Final = 256 * KIB
MAXIMUM_ADVISORY_BYTES: Final = 4 * MIB
MAXIMUM_PATCH_BYTES: Final = 1 * GIB
MAXIMUM_FILE_BYTES: Final = 4 * GIB
"""One file of a component; a browser engine is 186 MB."""
MAXIMUM_TREE_ENTRIES: Final = 200_000
MAXIMUM_PATH_BYTES: Final = 1024
"""Of a path inside a component; PATH_MAX is 4096 and the store's own prefix comes before it."""
MAXIMUM_NAME_BYTES: Final = 255
"""NAME_MAX on every file system we graft on."""

METADATA_DEADLINE_SECONDS: Final = 60
"""One deadline for a whole refresh, however many files it takes."""
DOWNLOAD_DEADLINE_SECONDS: Final = 3600
SLOWEST_BYTES_PER_SECOND: Final = 512
"""Below this over 30 s a transfer is given up: slow retrieval attack (TUF specification §1.5.2)."""

DEFAULT_POLL_INTERVAL_SECONDS: Final = 3600
DEFAULT_STORE_QUOTA_MIB: Final = 8192
"""Of all staged levels of a device: a browser engine's tree is 0.5 GiB, and two levels of it are kept."""
MAXIMUM_SETTINGS_BYTES: Final = 64 * KIB
MAXIMUM_STATUS_BYTES: Final = 8 * MIB
