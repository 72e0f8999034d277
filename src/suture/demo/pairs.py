"""The table of real pairs: two releases of one package, and the CVE that the newer one fixes, by Python's version.

Facts only, each with its source. The digests are those of the wheels for Linux with glibc.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from suture.core.errors import NotKnownError


@dataclass(frozen=True, slots=True)
class Fix:
    """What the newer wheel fixes, as the CVE's own record and the project's release notes say it."""

    cve: str
    title: str
    severity: str
    known_exploited: bool
    source: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two releases of one package for one Python.

    Attributes:
        python: the Python that the wheels are for, (major, minor).
        old: the release with the flaw.
        new: the release that fixes it.
        digests: by machine (``uname -m``), the SHA-256 hex digests of the glibc wheels, old and new.
    """

    python: tuple[int, int]
    package: str
    old: str
    new: str
    fix: Fix
    digests: Mapping[str, tuple[str, str]]


_LIBWEBP = Fix(
    cve="CVE-2023-4863",
    title="Heap buffer overflow in libwebp's lossless decoder, exploited in the wild",
    severity="critical",
    known_exploited=True,
    source="https://pillow.readthedocs.io/en/stable/releasenotes/10.0.1.html",
)
_BCN = Fix(
    cve="CVE-2025-48379",
    title="Heap buffer overflow when a large picture is written as compressed DDS",
    severity="high",
    known_exploited=False,
    source="https://pillow.readthedocs.io/en/stable/releasenotes/11.3.0.html",
)
_PSD = Fix(
    cve="CVE-2026-25990",
    title="Out-of-bounds write when a crafted PSD picture is loaded",
    severity="high",
    known_exploited=False,
    source="https://github.com/python-pillow/Pillow/security/advisories/GHSA-cfh3-3jmp-rvhc",
)

PAIRS: tuple[Pair, ...] = (
    Pair(
        (3, 11),
        "Pillow",
        "10.0.0",
        "10.0.1",
        _LIBWEBP,
        {
            "x86_64": (
                "cd25d2a9d2b36fcb318882481367956d2cf91329f6892fe5d385c346c0649629",
                "cbe68deb8580462ca0d9eb56a81912f59eb4542e1ef8f987405e35a0179f4ea2",
            ),
            "aarch64": (
                "c1fbe7621c167ecaa38ad29643d77a9ce7311583761abf7836e1510c580bf3dd",
                "92a23b0431941a33242b1f0ce6c88a952e09feeea9af4e8be48236a68ffe2205",
            ),
        },
    ),
    Pair(
        (3, 12),
        "Pillow",
        "10.0.0",
        "10.0.1",
        _LIBWEBP,
        {
            "x86_64": (
                "d72e2ecc68a942e8cf9739619b7f408cc7b272b279b56b2c83c6123fcfa5cdff",
                "4ce90f8a24e1c15465048959f1e94309dfef93af272633e8f37361b824532e91",
            ),
            "aarch64": (
                "685ac03cc4ed5ebc15ad5c23bc555d68a87777586d970c2c3e216619a5476223",
                "2872f2d7846cf39b3dbff64bc1104cc48c76145854256451d33c5faa55c04d1a",
            ),
        },
    ),
    Pair(
        (3, 13),
        "Pillow",
        "11.2.1",
        "11.3.0",
        _BCN,
        {
            "x86_64": (
                "ad275964d52e2243430472fc5d2c2334b4fc3ff9c16cb0a19254e25efa03a155",
                "13f87d581e71d9189ab21fe0efb5a23e9f28552d5be6979e84001d3b8505abe8",
            ),
            "aarch64": (
                "191955c55d8a712fab8934a42bfefbf99dd0b5875078240943f913bb66d46d9f",
                "c37d8ba9411d6003bba9e518db0db0c58a680ab9fe5179f040b0463644bc9805",
            ),
        },
    ),
    Pair(
        (3, 14),
        "Pillow",
        "12.1.0",
        "12.1.1",
        _PSD,
        {
            "x86_64": (
                "15c794d74303828eaa957ff8070846d0efe8c630901a1c753fdc63850e19ecd9",
                "a37691702ed687799de29a518d63d4682d9016932db66d4e90c345831b02fb4e",
            ),
            "aarch64": (
                "0c27407a2d1b96774cbc4a7594129cc027339fd800cd081e44497722ea1179de",
                "b574c51cf7d5d62e9be37ba446224b59a2da26dc4c1bb2ecbe936a4fb1a7cb7f",
            ),
        },
    ),
)


def pair_for(python: tuple[int, int], machine: str) -> Pair:
    """The pair for a Python (major, minor) on a machine (``uname -m``).

    Raises:
        NotKnownError: no pair of wheels in the table fits.
    """
    for pair in PAIRS:
        if pair.python == python:
            return pair
    known = ", ".join(f"{major}.{minor}" for major, minor in (pair.python for pair in PAIRS))
    raise NotKnownError(
        f"cannot run the demo on Python {python[0]}.{python[1]} ({machine}): its table has wheels for {known} only",
        advice="name one of these: make demo PYTHON=python3.11 (after make clean)",
    )


def running_pair() -> Pair:
    """The pair for the Python that runs this."""
    return pair_for((sys.version_info.major, sys.version_info.minor), platform.machine())
