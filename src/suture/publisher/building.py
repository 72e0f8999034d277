"""Building an improvement: two trees a component in; manifest, advisory and proven patches out, into staging.

Needs no key. Deterministic: the same trees, words and `issued` give the same bytes. Every patch is applied here and
its result compared with the signed digests before anything is staged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from suture.core.clock import parse_time
from suture.core.digests import digest_bytes
from suture.core.errors import ImprovementError, InputError, ManifestError
from suture.core.level import MAXIMUM_LEVEL
from suture.core.version import VERSION
from suture.improvement.manifest import (
    Advisory,
    Baseline,
    Fix,
    HealthCheck,
    Manifest,
    Restart,
)
from suture.improvement.manifest_rules import encode_manifest, parse_manifest
from suture.publisher.advisory import AdvisoryFacts, write_advisory
from suture.publisher.building_component import BuiltComponent, Progress, build_component
from suture.publisher.earlier import EarlierLevel, History, read_earlier
from suture.publisher.importers.trees import ComponentSource, ImportedComponent, import_component
from suture.publisher.measuring import compressed_size, new_size
from suture.publisher.staged import (
    ADVISORY_NAME,
    MANIFEST_NAME,
    SIZES_NAME,
    Sizes,
    stage,
)
from suture.publisher.workshop import Workshop
from suture.wire.product import Product

MINIMUM_AGENT = "0.1.0"
_NO_RESTART = Restart()


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build. `also_from`: earlier levels to patch from besides the baseline; None: the last good one.

    `issued` and `full_by` are RFC 3339; `level` None takes the next free number.
    """

    baseline: Baseline
    components: tuple[ComponentSource, ...]
    fixes: tuple[Fix, ...]
    issued: str
    full_by: str
    restart: Restart = _NO_RESTART
    health: tuple[HealthCheck, ...] = ()
    level: int | None = None
    also_from: tuple[int, ...] | None = None
    summary: str = ""
    removable: bool = True
    coverage_ends: str | None = None
    minimum_agent: str = MINIMUM_AGENT
    replace: bool = False
    measure_full: bool = True


@dataclass(frozen=True, slots=True)
class Built:
    """What was built. `changed` is False where staging already held exactly these bytes; `carried`: CVEs of an earlier
    good level that this one goes on fixing."""

    manifest: Manifest
    digest: str
    sizes: Sizes
    carried: tuple[str, ...]
    changed: bool


def build_improvement(
    workshop: Workshop, product: Product, history: History, request: BuildRequest, progress: Progress
) -> Built:
    """Build, prove and stage one level.

    Args:
        workshop, product: the workshop, locked by the caller, and its product file.
        history: what was released and staged for this baseline.
        request, progress: see `BuildRequest` and `Progress`.

    Raises:
        ImprovementError, InputError, StorageError: (or a kind of them) staging is as it was.
    """
    level = choose_level(history, request)
    good = history.last_good()
    last = read_earlier(workshop, history, good) if good else None
    numbers = request.also_from if request.also_from is not None else (good,)
    earlier = [read_earlier(workshop, history, number) for number in sorted(set(numbers) - {0})]
    _check_request(product, history, request, last)
    fixes, carried = _all_fixes(request.fixes, last)
    imported = [import_component(source, lambda text: progress(text, 0, 0)) for source in request.components]
    built = [
        build_component(product.product, request.baseline.identity, level, one, earlier, progress) for one in imported
    ]
    parts = [part for part in built if part.change is not None]
    if not parts:
        raise ImprovementError(
            "cannot build an improvement from equal trees: nothing changes", advice="check --old and --new"
        )
    progress("advisory", 0, 0)
    facts = AdvisoryFacts(product, request.baseline, level, request.issued, fixes, request.restart, request.summary)
    advisory_bytes, advisory = write_advisory(facts)
    manifest = _manifest(product.product, request, level, fixes, parts, advisory)
    data = encode_manifest(manifest)
    _read_as_a_device(data, manifest)
    sizes = _measure(imported, parts, request.measure_full, progress)
    files = {MANIFEST_NAME: data, ADVISORY_NAME: advisory_bytes, SIZES_NAME: msgspec.json.encode(sizes)}
    files.update(file for part in parts for file in part.files.items())
    progress("staging", 0, 0)
    changed = stage(workshop, request.baseline.identity, level, files, replace=request.replace)
    return Built(manifest, digest_bytes(data), sizes, carried, changed)


def _manifest(
    product: str,
    request: BuildRequest,
    level: int,
    fixes: tuple[Fix, ...],
    parts: Sequence[BuiltComponent],
    advisory: Advisory,
) -> Manifest:
    return Manifest(
        format="suture-manifest/1",
        minimum_agent=request.minimum_agent,
        product=product,
        baseline=request.baseline,
        level=level,
        issued=request.issued,
        full_by=request.full_by,
        fixes=fixes,
        components=tuple(part.change for part in parts if part.change is not None),
        restart=request.restart,
        health=request.health,
        advisory=advisory,
        removable=request.removable,
        coverage_ends=request.coverage_ends,
    )


def _read_as_a_device(data: bytes, manifest: Manifest) -> None:
    """Whatever a device would refuse is refused before anybody signs it."""
    identity = manifest.baseline.identity
    product, level = manifest.product, manifest.level
    parsed = parse_manifest(data, agent_version=VERSION, product=product, baseline_identity=identity, level=level)
    if parsed != manifest:
        raise ManifestError("cannot build: the manifest does not read back as it was written")


def choose_level(history: History, request: BuildRequest) -> int:
    """The level to build: the asked one if it is free, else the next.

    Raises:
        InputError: the number was used, or goes backwards.
    """
    highest = max(history.released, default=0)
    level = request.level if request.level is not None else max([highest, *history.staged], default=0) + 1
    if level <= highest:
        raise InputError(
            f"cannot build level {level}: level {highest} is released already, and no number is used twice",
            advice=f"build level {max([highest, *history.staged]) + 1}, or leave --level out",
        )
    if not 1 <= level <= MAXIMUM_LEVEL:
        raise InputError(f"cannot build level {level}: levels go from 1 to {MAXIMUM_LEVEL}")
    return level


def _check_request(product: Product, history: History, request: BuildRequest, last: EarlierLevel | None) -> None:
    """What the device would refuse later is refused here, where it can be mended."""
    known = {component.name for component in product.components}
    names = [source.name for source in request.components]
    for name in names:
        if name not in known:
            raise InputError(
                f"cannot build for component {name!r}: the product file does not have it",
                advice=f"its components are: {', '.join(sorted(known))}",
            )
    if len(set(names)) != len(names):
        raise InputError("cannot build: a component is named twice")
    for kind, asked, allowed in (
        ("unit", request.restart.units, product.units),
        ("service", request.restart.services, product.services),
    ):
        for name in asked:
            if name not in allowed:
                raise InputError(f"cannot restart the {kind} {name!r}: the product file does not allow it")
    _check_health(product, request)
    if history.last_issued is not None and parse_time(request.issued) < parse_time(history.last_issued):
        raise InputError(f"cannot issue at {request.issued}: an earlier level was issued at {history.last_issued}")
    missing = set(last.components()) - set(names) if last else set()
    if last and missing:
        raise InputError(
            f"cannot build without {', '.join(sorted(missing))}: level {last.number} changes it, and every level "
            "is cumulative over the baseline",
            advice="name the component too, with the tree that it should have now",
        )


def _check_health(product: Product, request: BuildRequest) -> None:
    allowed = {
        "command": {command.name for command in product.commands},
        "http": {url.name for url in product.urls},
    }
    for check in request.health:
        kind = check.__struct_config__.tag
        name = getattr(check, "name", None)
        if name is not None and name not in allowed[str(kind)]:
            raise InputError(f"cannot use the health check {kind}:{name}: the product file does not name it")


def _all_fixes(fixes: tuple[Fix, ...], last: EarlierLevel | None) -> tuple[tuple[Fix, ...], tuple[str, ...]]:
    """The asked fixes, and those of the last good level: a cumulative level goes on fixing them."""
    named = {fix.cve for fix in fixes}
    old = last.manifest.fixes if last else ()
    carried = tuple(fix for fix in old if fix.cve not in named)
    if not fixes and not carried:
        raise ManifestError(
            "cannot build an improvement that names no CVE: it carries security fixes only, and says which",
            advice="name what it fixes with --cve, --severity, --title and --purl",
        )
    return (*fixes, *carried), tuple(dict.fromkeys(fix.cve for fix in carried))


def _measure(
    imported: Sequence[ImportedComponent], parts: Sequence[BuiltComponent], measure_full: bool, progress: Progress
) -> Sizes:
    progress("measuring the full download", 0, 0)
    new_bytes = sum(new_size(one) for one in imported)
    full = sum(compressed_size(one) for one in imported) if measure_full else None
    return Sizes(new_bytes, full, tuple(sizes for part in parts for sizes in part.sizes))
