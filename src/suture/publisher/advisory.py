"""The CSAF 2.0 advisory that goes with every improvement, built from what is signed and checked before it is staged.

Source: OASIS CSAF 2.0 (2022-11), profile 5 *Security Advisory* (§4.4). Deterministic: the time is the improvement's
`issued`. Nothing is published that the validator of the `csaf` package does not pass.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from suture.core.canonical import canonical_json
from suture.core.digests import digest_bytes
from suture.core.errors import ImprovementError
from suture.core.level import display_of
from suture.core.limits import MAXIMUM_ADVISORY_BYTES
from suture.core.version import VERSION
from suture.improvement.manifest import Advisory, Baseline, Fix, Restart
from suture.trust.paths import advisory_path
from suture.wire.product import Product

_AFFECTED = "CSAFPID-0001"
_FIXED = "CSAFPID-0002"
_ADVISORY_VERSION = "1"


@dataclass(frozen=True, slots=True)
class AdvisoryFacts:
    """What an advisory says. `fixes` holds at least one; `issued` is RFC 3339."""

    product: Product
    baseline: Baseline
    level: int
    issued: str
    fixes: tuple[Fix, ...]
    restart: Restart
    summary: str = ""


def write_advisory(facts: AdvisoryFacts) -> tuple[bytes, Advisory]:
    """The advisory's bytes and its place in the manifest.

    Raises:
        ImprovementError: the document does not pass the CSAF 2.0 mandatory tests.
    """
    document = advisory_document(facts)
    check_advisory(document)
    data = canonical_json(document)
    if len(data) > MAXIMUM_ADVISORY_BYTES:
        raise ImprovementError(f"cannot write the advisory: it is larger than {MAXIMUM_ADVISORY_BYTES:,} bytes")
    reference = Advisory(
        id=advisory_id(facts),
        version=_ADVISORY_VERSION,
        target=advisory_path(facts.product.product, facts.baseline.identity, facts.level),
        digest=digest_bytes(data),
        size=len(data),
    )
    return data, reference


def advisory_id(facts: AdvisoryFacts) -> str:
    """``document.tracking.id``: names no other document of this vendor."""
    return f"{facts.product.product}-{facts.baseline.identity}-{facts.level}"


def advisory_document(facts: AdvisoryFacts) -> dict[str, Any]:
    """The document as JSON values."""
    title = display_of(f"{facts.product.title} {facts.baseline.version}", facts.level)
    return {
        "document": {
            "aggregate_severity": {"text": max_severity(facts.fixes)},
            "category": "csaf_security_advisory",
            "csaf_version": "2.0",
            "distribution": {"tlp": {"label": "WHITE", "url": "https://www.first.org/tlp/v1/"}},
            "lang": "en",
            "notes": [{"category": "summary", "text": facts.summary or _summary(facts), "title": "Summary"}],
            "publisher": {
                "category": "vendor",
                "name": facts.product.vendor,
                "namespace": _namespace(facts.product),
            },
            "title": f"{title}: background security improvement",
            "tracking": {
                "current_release_date": facts.issued,
                "generator": {"engine": {"name": "Suture", "version": VERSION}},
                "id": advisory_id(facts),
                "initial_release_date": facts.issued,
                "revision_history": [
                    {"date": facts.issued, "number": _ADVISORY_VERSION, "summary": "First release"},
                ],
                "status": "final",
                "version": _ADVISORY_VERSION,
            },
        },
        "product_tree": _product_tree(facts),
        "vulnerabilities": _vulnerabilities(facts),
    }


def max_severity(fixes: Sequence[Fix]) -> str:
    """The highest severity of the fixes."""
    order = ("none", "low", "medium", "high", "critical")
    return max((fix.severity.value for fix in fixes), key=order.index)


def _namespace(product: Product) -> str:
    parts = urlsplit(product.repositories[0])
    return f"{parts.scheme}://{parts.netloc}"


def _summary(facts: AdvisoryFacts) -> str:
    cves = ", ".join(dict.fromkeys(fix.cve for fix in facts.fixes))
    return f"Fixes {cves} in {facts.product.title} {facts.baseline.version} ({facts.baseline.architecture})."


def _product_tree(facts: AdvisoryFacts) -> dict[str, Any]:
    name = f"{facts.product.title} {facts.baseline.version} ({facts.baseline.architecture})"
    fixed_name = f"{name} with background security improvement level {facts.level}"
    purls = sorted({fix.component for fix in facts.fixes})
    tree: dict[str, Any] = {
        "branches": [
            {
                "category": "vendor",
                "name": facts.product.vendor,
                "branches": [
                    {
                        "category": "product_name",
                        "name": facts.product.title,
                        "branches": [
                            _leaf("product_version", facts.baseline.identity, name, _AFFECTED),
                            _leaf("patch_level", f"level {facts.level}", fixed_name, _FIXED),
                        ],
                    }
                ],
            }
        ]
    }
    if purls:
        tree["full_product_names"] = [_component(purl, number) for number, purl in enumerate(purls)]
        tree["relationships"] = [_relationship(purl, number, fixed_name) for number, purl in enumerate(purls)]
    return tree


def _leaf(category: str, name: str, product_name: str, product_id: str) -> dict[str, Any]:
    return {"category": category, "name": name, "product": {"name": product_name, "product_id": product_id}}


def _component(purl: str, number: int) -> dict[str, Any]:
    return {"name": purl, "product_id": f"CSAFPID-1{number:03}", "product_identification_helper": {"purl": purl}}


def _relationship(purl: str, number: int, fixed_name: str) -> dict[str, Any]:
    return {
        "category": "default_component_of",
        "full_product_name": {"name": f"{purl} in {fixed_name}", "product_id": f"CSAFPID-2{number:03}"},
        "product_reference": f"CSAFPID-1{number:03}",
        "relates_to_product_reference": _FIXED,
    }


def _vulnerabilities(facts: AdvisoryFacts) -> list[dict[str, Any]]:
    by_cve: dict[str, list[Fix]] = {}
    for fix in facts.fixes:
        by_cve.setdefault(fix.cve, []).append(fix)
    return [_vulnerability(facts, cve, fixes) for cve, fixes in sorted(by_cve.items())]


def _vulnerability(facts: AdvisoryFacts, cve: str, fixes: Sequence[Fix]) -> dict[str, Any]:
    threats = [{"category": "impact", "details": max_severity(fixes), "product_ids": [_AFFECTED]}]
    if any(fix.known_exploited for fix in fixes):
        exploited = "Known to be exploited in the wild."
        threats.append({"category": "exploit_status", "details": exploited, "product_ids": [_AFFECTED]})
    return {
        "cve": cve,
        "notes": [{"category": "description", "text": fixes[0].title or cve, "title": "Description"}],
        "product_status": {"fixed": [_FIXED], "known_affected": [_AFFECTED]},
        "remediations": [
            {
                "category": "vendor_fix",
                "date": facts.issued,
                "details": f"Install background security improvement level {facts.level}: suture install",
                "product_ids": [_AFFECTED],
                "restart_required": {"category": facts.restart.category.value},
            }
        ],
        "threats": threats,
        "title": fixes[0].title or cve,
    }


def check_advisory(document: dict[str, Any]) -> None:
    """Schema and every mandatory test of CSAF 2.0 §6.1.

    Raises:
        ImprovementError: naming the tests that fail.
    """
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        from csaf.csaf.v20 import validate
    finally:
        # Importing the package sets the root logger up for its own command line.
        root.setLevel(level)
        root.handlers[:] = handlers
    report = validate(document, preset="basic")
    if not report.overall_valid:
        failed = [
            f"{result.id} {error.instance_path}: {error.message}"
            for result in report.results
            for error in result.errors
            if not result.passed and not result.skipped
        ]
        raise ImprovementError(
            f"cannot use the advisory: it is not valid CSAF 2.0 ({'; '.join(failed)[:500]})",
            advice="correct the fix that the message names (title, purl, CVE) and build again",
        )
