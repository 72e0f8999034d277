"""What stands in the workshop: what expires when, levels, recalls, pause, sizes. Reads only; needs no key."""

from __future__ import annotations

from datetime import datetime

import msgspec

from suture.core.clock import format_time
from suture.core.digests import digest_bytes
from suture.core.level import display_of
from suture.improvement.manifest import Manifest
from suture.improvement.manifest_rules import encode_manifest
from suture.publisher.earlier import read_index, read_manifest
from suture.publisher.published import Published, read_published
from suture.publisher.refreshing import role_lives
from suture.publisher.rolling import read_rollout
from suture.publisher.staged import Staged, read_staged, staged_baselines, staged_levels
from suture.publisher.workshop import Workshop
from suture.trust.documents import Index, Pause, Rollout
from suture.trust.verdicts import level_entry


class RoleReport(msgspec.Struct, frozen=True):
    """One role. `due`: less than half of its life is left."""

    role: str
    offline: bool
    version: int
    expires: str
    days_left: float
    due: bool


class LevelReport(msgspec.Struct, frozen=True):
    """One level. `state`: ``staged``, ``released`` or ``recalled``; sizes in bytes, `full_bytes` None: not measured."""

    level: int
    display: str
    state: str
    digest: str
    issued: str
    cves: tuple[str, ...]
    patch_bytes: int
    full_bytes: int | None
    permille: int | None
    recall_reason: str | None


class BaselineReport(msgspec.Struct, frozen=True):
    """One baseline release."""

    baseline: str
    levels: tuple[LevelReport, ...]
    pause: Pause | None


class WorkshopReport(msgspec.Struct, frozen=True):
    """The whole workshop. `unfinished`: a killed command left a publication that the next command will end."""

    product: str
    title: str
    first_root: str
    at: str
    roles: tuple[RoleReport, ...]
    baselines: tuple[BaselineReport, ...]
    repository_bytes: int
    unfinished: bool


def report_workshop(workshop: Workshop, now: datetime) -> WorkshopReport:
    """Read everything.

    Raises:
        RepositoryError, StorageError, InputError: what is there does not verify or cannot be read.
    """
    settings = workshop.settings()
    product = workshop.product()
    published = read_published(workshop, settings)
    identities = sorted({*published.baselines(), *staged_baselines(workshop)})
    return WorkshopReport(
        product=settings.product,
        title=product.title,
        first_root=settings.first_root,
        at=format_time(now.replace(microsecond=0)),
        roles=report_roles(published, workshop, now),
        baselines=tuple(_report_baseline(workshop, published, settings.product, identity) for identity in identities),
        repository_bytes=sum(path.stat().st_size for path in workshop.repository.rglob("*") if path.is_file()),
        unfinished=(workshop.root / "publication").exists(),
    )


def report_roles(published: Published, workshop: Workshop, now: datetime) -> tuple[RoleReport, ...]:
    """Every role's life, the first to expire first."""
    return tuple(
        RoleReport(life.role, life.offline, life.version, format_time(life.expires), life.days_left, life.is_due)
        for life in role_lives(published, workshop.settings().lifetimes, now)
    )


def _report_baseline(workshop: Workshop, published: Published, product: str, identity: str) -> BaselineReport:
    index = read_index(published, product, identity)
    rollout = read_rollout(published, product, identity)
    staged = {level: read_staged(workshop, product, identity, level) for level in staged_levels(workshop, identity)}
    released = {entry.level: read_manifest(published, product, identity, entry.level) for entry in index.levels}
    manifests = {**{level: one.manifest for level, one in staged.items()}, **released}
    levels = tuple(_report_level(manifests[level], staged.get(level), index, rollout) for level in sorted(manifests))
    return BaselineReport(identity, levels, rollout.pause)


def _report_level(manifest: Manifest, staged: Staged | None, index: Index, rollout: Rollout) -> LevelReport:
    level = manifest.level
    entry = level_entry(index, level)
    recall = next((recall for recall in index.recalls if recall.level == level), None)
    patches = [patch for change in manifest.components for patch in change.patches if patch.from_level == 0]
    return LevelReport(
        level=level,
        display=display_of(manifest.baseline.version, level),
        state="recalled" if recall else "released" if entry else "staged",
        digest=entry.digest if entry else digest_bytes(encode_manifest(manifest)),
        issued=manifest.issued,
        cves=tuple(dict.fromkeys(fix.cve for fix in manifest.fixes)),
        patch_bytes=sum(patch.size for patch in patches),
        full_bytes=staged.sizes.full_bytes if staged else None,
        permille=next((share.permille for share in rollout.shares if share.level == level), None),
        recall_reason=recall.reason if recall else None,
    )
