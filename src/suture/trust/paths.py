"""The grammar of target paths and role names. A path that is not made here is not asked for (spec/repository.md §2)."""

from __future__ import annotations

import re

from suture.core.errors import InputError
from suture.core.identifiers import check_name
from suture.core.level import check_level


def release_role(baseline_identity: str) -> str:
    """The delegated role that signs one baseline release's improvements."""
    return f"release-{baseline_identity}"


def rollout_role(baseline_identity: str) -> str:
    """The online role beside it, which signs only the rollout document."""
    return f"rollout-{baseline_identity}"


def release_prefix(product: str, baseline_identity: str) -> str:
    """Everything the release role may sign lies directly under this."""
    return f"improvements/{check_name(product, 'a product')}/{baseline_identity}"


def index_path(product: str, baseline_identity: str) -> str:
    """The release role's list of levels, digests and recalls."""
    return f"{release_prefix(product, baseline_identity)}/index.json"


def manifest_path(product: str, baseline_identity: str, level: int) -> str:
    """One level's manifest."""
    return f"{release_prefix(product, baseline_identity)}/{check_level(level)}.json"


def patch_path(product: str, baseline_identity: str, level: int, component: str, from_level: int) -> str:
    """A component's patch to `level` from `from_level`."""
    name = f"{check_level(level)}.{check_name(component, 'a component')}.from-{check_level(from_level)}.patch"
    return f"{release_prefix(product, baseline_identity)}/{name}"


def advisory_path(product: str, baseline_identity: str, level: int) -> str:
    """The level's CSAF document."""
    return f"{release_prefix(product, baseline_identity)}/{check_level(level)}.csaf.json"


def rollout_path(product: str, baseline_identity: str) -> str:
    """The online role's rollout document."""
    return f"rollouts/{check_name(product, 'a product')}/{baseline_identity}.json"


_TARGET = re.compile(r"(?:improvements|rollouts)(?:/[0-9A-Za-z](?:[0-9A-Za-z.+_~-]{0,198}[0-9A-Za-z])?){1,3}")


def check_target_path(path: str) -> str:
    """Return `path` if it can be one that this module makes; manifests name patches and advisories by such paths.

    Raises:
        InputError: another place, another character, or ``..`` (go-tuf CVE-2026-24686).
    """
    if not _TARGET.fullmatch(path) or ".." in path:
        raise InputError(
            f"cannot use {path[:80]!r} as a target's path: it must be one under improvements/ or rollouts/"
        )
    return path
