"""The product file: how a device learns a product, once, from a file its vendor hands out (spec/product.md).

It is the device's own list of what that vendor's manifests may touch, restart and run. Everything else is refused.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from suture.core.digests import DIGEST_PATTERN
from suture.core.identifiers import NAME_PATTERN, UNIT_PATTERN, VERSION_PATTERN

PRODUCT_FORMAT = "suture-product/1"
FIRST_WORD_PATTERN = r"\A\s*(\S+)"

_Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
_AbsolutePath = Annotated[str, msgspec.Meta(pattern=r"^/[^\x00-\x1f\x7f]*$", max_length=1024)]
_RelativePath = Annotated[str, msgspec.Meta(pattern=r"^[^/\x00-\x1f\x7f][^\x00-\x1f\x7f]*$", max_length=512)]
_Url = Annotated[str, msgspec.Meta(pattern=r"^https?://[!-~]+$", max_length=500)]
_Loopback = Annotated[str, msgspec.Meta(pattern=r"^http://(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?/[!-~]*$")]
_Unit = Annotated[str, msgspec.Meta(pattern=UNIT_PATTERN)]
_UnitOrService = Annotated[str, msgspec.Meta(pattern=f"{NAME_PATTERN}|{UNIT_PATTERN}")]


class FileRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="file"):
    """The release is the first group of `pattern` in the file's first 64 KiB (default: its first line)."""

    path: _AbsolutePath
    pattern: Annotated[str, msgspec.Meta(max_length=200)] = FIRST_WORD_PATTERN


class OsRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="os-release"):
    """The release is a field of os-release(5)."""

    field: Annotated[str, msgspec.Meta(pattern=r"^[A-Z_]{1,40}$")] = "VERSION_ID"


class DpkgRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="dpkg"):
    """The release is the installed version of a Debian package (an epoch's colon becomes ``~``)."""

    package: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9+.-]{1,100}$")]


class CommandRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="command"):
    """The release is the first line that the command prints within 10 s, run as the product's `run_as` user."""

    argv: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=20)]


class FixedRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="fixed"):
    """The release never changes: the file is handed out with the release itself."""

    version: Annotated[str, msgspec.Meta(pattern=VERSION_PATTERN)]


ReleaseDetection = FileRelease | OsRelease | DpkgRelease | CommandRelease | FixedRelease


class ProductComponent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A component and where it lies under the baseline's root. With `files` it is those files of a directory that it
    shares with others, and each is grafted on its own (`overlay` alone can do that)."""

    name: _Name
    path: _RelativePath
    files: Annotated[tuple[_RelativePath, ...], msgspec.Meta(max_length=100)] = ()


class AllowedCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command that health checks may name."""

    name: _Name
    argv: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=40)]


class AllowedUrl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A loopback address that health checks may name."""

    name: _Name
    url: _Loopback


class UnitWay(StrEnum):
    """How a unit takes new code: by its own reload (its program must re-execute itself then), or by a restart."""

    RELOAD = "reload"
    TRY_RESTART = "try-restart"


class ProductDefaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vendor's defaults for settings; a person, an administrator and a managed policy all override them."""

    automatic_install: bool = True
    ask_first: bool = False
    notify: bool = True


class Product(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a vendor hands out. With `graft` ``switch``, programs reach the product through `pointer`, a symbolic link
    that Suture swaps between `root` (the untouched baseline) and the versioned trees of its store. With ``overlay``
    they use the components' own paths, and there is no pointer."""

    format: Literal["suture-product/1"]
    product: _Name
    title: _Text
    vendor: _Text
    release: ReleaseDetection
    root: _AbsolutePath
    components: Annotated[tuple[ProductComponent, ...], msgspec.Meta(min_length=1, max_length=100)]
    repositories: Annotated[tuple[_Url, ...], msgspec.Meta(min_length=1, max_length=10)]
    first_root: Annotated[str, msgspec.Meta(pattern=DIGEST_PATTERN)]
    """Digest of the bytes of the repository's ``1.root.json``."""
    graft: Literal["switch", "overlay"] = "switch"
    pointer: _AbsolutePath | None = None
    architecture: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,32}$")] | None = None
    """Left out: the machine's own; ``any`` for products without native code."""
    units: Annotated[tuple[_Unit, ...], msgspec.Meta(max_length=100)] = ()
    services: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=100)] = ()
    unit_ways: Annotated[dict[_Unit, UnitWay], msgspec.Meta(max_length=100)] = {}
    """Left out: ``try-restart``. A reload that leaves old code running is followed by a restart."""
    restart_order: Annotated[tuple[_UnitOrService, ...], msgspec.Meta(max_length=200)] = ()
    """Units and services in the order in which they restart; those that it does not name come after them."""
    never_restart: Annotated[tuple[_UnitOrService, ...], msgspec.Meta(max_length=200)] = ()
    """Units and services that Suture must not restart: their users hold a level back until somebody else does."""
    commands: Annotated[tuple[AllowedCommand, ...], msgspec.Meta(max_length=50)] = ()
    urls: Annotated[tuple[AllowedUrl, ...], msgspec.Meta(max_length=50)] = ()
    run_as: Annotated[str, msgspec.Meta(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] | None = None
    """The user that health and release commands run as; needed where the agent is root and commands are allowed."""
    support_ends: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None
    defaults: ProductDefaults = ProductDefaults()
