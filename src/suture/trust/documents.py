"""The two signed documents beside the manifests: the release role's index and the online role's rollout document.

spec/repository.md §4 and §5. Unknown fields are ignored. Digests of levels are digests of the manifest's bytes.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from suture.core.digests import DIGEST_PATTERN
from suture.core.identifiers import NAME_PATTERN
from suture.core.level import MAXIMUM_LEVEL
from suture.core.limits import MAXIMUM_MANIFEST_BYTES

INDEX_FORMAT = "suture-index/1"
ROLLOUT_FORMAT = "suture-rollout/1"

_Level = Annotated[int, msgspec.Meta(ge=1, le=MAXIMUM_LEVEL)]
_Digest = Annotated[str, msgspec.Meta(pattern=DIGEST_PATTERN)]
_Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
_Text = Annotated[str, msgspec.Meta(max_length=500)]
_Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]


class IndexedLevel(msgspec.Struct, frozen=True):
    """A level that was ever released: its manifest's digest and size in bytes."""

    level: _Level
    digest: _Digest
    size: Annotated[int, msgspec.Meta(ge=1, le=MAXIMUM_MANIFEST_BYTES)]


class Recall(msgspec.Struct, frozen=True):
    """The publisher's word that devices leave this level. The digest says which bytes are meant."""

    level: _Level
    digest: _Digest
    issued: _Time
    reason: _Text


class Index(msgspec.Struct, frozen=True):
    """Signed by the release role: every level of one baseline release, and what is recalled."""

    format: Literal["suture-index/1"]
    product: _Name
    baseline: _Text
    """`Baseline.identity`."""
    issued: _Time
    levels: tuple[IndexedLevel, ...] = ()
    recalls: tuple[Recall, ...] = ()


class Share(msgspec.Struct, frozen=True):
    """How much of the world may install `level` now, in thousandths."""

    level: _Level
    digest: _Digest
    permille: Annotated[int, msgspec.Meta(ge=0, le=1000)]


class Pause(msgspec.Struct, frozen=True):
    """The online key stops new installs until `until`. It never installs, recalls or removes."""

    since: _Time
    until: _Time
    reason: _Text


class Rollout(msgspec.Struct, frozen=True):
    """Signed by the online rollout role; missing or expired, nothing new is offered and nothing is removed."""

    format: Literal["suture-rollout/1"]
    product: _Name
    baseline: _Text
    issued: _Time
    shares: tuple[Share, ...] = ()
    pause: Pause | None = None
