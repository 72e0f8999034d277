"""The manifest: all that is signed about one level of one baseline release (spec/improvement.md §2).

This module holds the shape; `suture.improvement.manifest_rules` holds what must be true of it beyond its shape.
Unknown fields are ignored, so a later publisher can say more; what an old agent must not ignore raises
`minimum_agent` or the `format`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from suture.core.identifiers import ARCHITECTURE_PATTERN, CVE_PATTERN, NAME_PATTERN, UNIT_PATTERN, VERSION_PATTERN
from suture.core.level import MAXIMUM_LEVEL
from suture.core.limits import MAXIMUM_ADVISORY_BYTES, MAXIMUM_PATCH_BYTES
from suture.improvement.layer import Layer
from suture.improvement.tree import DigestText, FileSize

MANIFEST_FORMAT = "suture-manifest/1"

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Version = Annotated[str, msgspec.Meta(pattern=VERSION_PATTERN)]
Architecture = Annotated[str, msgspec.Meta(pattern=ARCHITECTURE_PATTERN)]
Cve = Annotated[str, msgspec.Meta(pattern=CVE_PATTERN)]
Unit = Annotated[str, msgspec.Meta(pattern=UNIT_PATTERN)]
Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
ShortText = Annotated[str, msgspec.Meta(max_length=500)]
LevelNumber = Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_LEVEL)]


class Severity(StrEnum):
    """Qualitative severity, CVSS v3.1 §5."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class RestartClass(StrEnum):
    """CSAF 2.0 §3.2.3.12.4, `restart_required.category`: what must restart for the new bytes to run."""

    NONE = "none"
    VULNERABLE_COMPONENT = "vulnerable_component"
    SERVICE = "service"
    PARENT = "parent"
    DEPENDENCIES = "dependencies"
    CONNECTED = "connected"
    MACHINE = "machine"
    ZONE = "zone"
    SYSTEM = "system"


class Baseline(msgspec.Struct, frozen=True):
    """One product release for one architecture (``uname -m``'s word, or ``any``)."""

    version: Version
    architecture: Architecture

    @property
    def identity(self) -> str:
        """``1.0-x86_64``: as paths, roles and file names spell it (an architecture holds no dash)."""
        return f"{self.version}-{self.architecture}"


class Fix(msgspec.Struct, frozen=True):
    """One vulnerability that the level fixes. `component` is a purl; `known_exploited` as CISA's KEV means it."""

    cve: Cve
    severity: Severity
    title: ShortText
    component: ShortText
    known_exploited: bool = False


class Advisory(msgspec.Struct, frozen=True):
    """A CSAF document bound by digest. `target` is its TUF target path; `size` in bytes."""

    id: ShortText
    version: ShortText
    target: ShortText
    digest: DigestText
    size: Annotated[int, msgspec.Meta(ge=1, le=MAXIMUM_ADVISORY_BYTES)]


class Pin(msgspec.Struct, frozen=True):
    """A baseline file that the layer changes or removes or a patch reads: its exact bytes."""

    path: str
    size: FileSize
    digest: DigestText


class PatchReference(msgspec.Struct, frozen=True):
    """A patch of one component. It turns the component at `from_level` into the layer's files. `size` in bytes."""

    from_level: LevelNumber
    target: ShortText
    digest: DigestText
    size: Annotated[int, msgspec.Meta(ge=1, le=MAXIMUM_PATCH_BYTES)]


class ComponentChange(msgspec.Struct, frozen=True):
    """What the level does to one component. `layer_digest` is `layer.layer_digest(layer)`."""

    name: Name
    layer_digest: DigestText
    layer: Layer
    pins: tuple[Pin, ...]
    patches: tuple[PatchReference, ...]


class Restart(msgspec.Struct, frozen=True):
    """What must restart. The device checks it against its product file and against who really uses the old files."""

    category: RestartClass = RestartClass.SERVICE
    units: tuple[Unit, ...] = ()
    services: tuple[Name, ...] = ()
    """Services under `suture supervise`, by name."""


class CommandCheck(msgspec.Struct, frozen=True, tag_field="kind", tag="command"):
    """Healthy when the command named so in the device's product file ends with 0 in time."""

    name: Name
    timeout_seconds: Annotated[int, msgspec.Meta(ge=1, le=300)] = 30


class HttpCheck(msgspec.Struct, frozen=True, tag_field="kind", tag="http"):
    """Healthy when the loopback URL named so in the device's product file answers 200 in time."""

    name: Name
    timeout_seconds: Annotated[int, msgspec.Meta(ge=1, le=300)] = 10


class StaysUpCheck(msgspec.Struct, frozen=True, tag_field="kind", tag="stays-up"):
    """Healthy when the restarted services keep their main process for so long."""

    seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 5


HealthCheck = CommandCheck | HttpCheck | StaysUpCheck


class Manifest(msgspec.Struct, frozen=True):
    """One level. `issued` and `full_by` are RFC 3339 UTC; after `full_by` rollout shares are ignored."""

    format: Literal["suture-manifest/1"]
    minimum_agent: Version
    product: Name
    baseline: Baseline
    level: Annotated[int, msgspec.Meta(ge=1, le=MAXIMUM_LEVEL)]
    issued: Time
    full_by: Time
    fixes: tuple[Fix, ...]
    components: tuple[ComponentChange, ...]
    restart: Restart = Restart()
    health: tuple[HealthCheck, ...] = ()
    advisory: Advisory | None = None
    removable: bool = True
    coverage_ends: Time | None = None
    """Until when the publisher promises improvements for this baseline."""
