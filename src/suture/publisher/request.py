"""An improvement in words: the checked shape of ``improvement.toml``, which command-line words are turned into too."""

from __future__ import annotations

import tomllib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec

from suture.adapters.files import read_file
from suture.core.clock import format_time, parse_time
from suture.core.errors import InputError
from suture.core.identifiers import check_cve
from suture.core.level import parse_level
from suture.core.limits import MIB
from suture.improvement.manifest import (
    CommandCheck,
    Fix,
    HealthCheck,
    HttpCheck,
    Restart,
    RestartClass,
    Severity,
    StaysUpCheck,
)
from suture.publisher.building import BuildRequest
from suture.publisher.importers.trees import ComponentSource
from suture.publisher.staged import parse_baseline

DEFAULT_FULL_AFTER = timedelta(days=7)
"""After `issued` by this much shares are ignored: the longest that an online key can delay a fix."""
_PURL_START = "pkg:"


class ComponentWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[component]]``: relative paths count from the TOML file."""

    name: str
    old: str
    new: str


class FixWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """``[[fix]]``."""

    cve: str
    severity: Severity
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    purl: Annotated[str, msgspec.Meta(max_length=500)]
    known_exploited: bool = False


class RestartWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[restart]``."""

    category: RestartClass = RestartClass.SERVICE
    services: tuple[str, ...] = ()
    units: tuple[str, ...] = ()


class ImprovementWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The whole file. Times are RFC 3339 text; levels numbers or letters."""

    baseline: str | None = None
    component: tuple[ComponentWords, ...] = ()
    fix: tuple[FixWords, ...] = ()
    restart: RestartWords = RestartWords()
    health: tuple[str, ...] = ()
    level: int | str | None = None
    issued: str | None = None
    full_by: str | None = None
    also_from: tuple[int | str, ...] | None = None
    summary: str = ""
    removable: bool = True
    coverage_ends: str | None = None


def read_words(path: Path) -> ImprovementWords:
    """Read ``improvement.toml``; relative paths in it are made relative to its directory.

    Raises:
        InputError: malformed. StorageError: it cannot be read.
    """
    data = read_file(path, maximum_bytes=1 * MIB)
    try:
        values: dict[str, Any] = tomllib.loads(data.decode("utf-8"))
        words = msgspec.convert(values, ImprovementWords)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    base = path.parent
    components = tuple(
        msgspec.structs.replace(one, old=str(base / one.old), new=str(base / one.new)) for one in words.component
    )
    return msgspec.structs.replace(words, component=components)


def build_request(
    words: ImprovementWords, *, default_architecture: str, now: datetime, replace: bool, measure_full: bool
) -> BuildRequest:
    """The checked request.

    Args:
        words: from a file or a command line.
        default_architecture, now: where the words name none, and no `issued`.
        replace, measure_full: as in `BuildRequest`.

    Raises:
        InputError: naming what cannot be used.
    """
    words = _checked(words)
    if not words.baseline:
        raise InputError("cannot build without a baseline: give --baseline VERSION[-ARCH]")
    if not words.component:
        raise InputError("cannot build without a component: give --component NAME --old DIR --new DIR")
    issued = parse_time(words.issued) if words.issued else now
    issued = issued.replace(microsecond=0)
    full_by = parse_time(words.full_by) if words.full_by else issued + DEFAULT_FULL_AFTER
    also_from = words.also_from
    try:
        return BuildRequest(
            baseline=parse_baseline(words.baseline, default_architecture),
            components=tuple(ComponentSource(one.name, Path(one.old), Path(one.new)) for one in words.component),
            fixes=tuple(_fix(one) for one in words.fix),
            issued=format_time(issued),
            full_by=format_time(full_by.replace(microsecond=0)),
            restart=msgspec.convert(msgspec.to_builtins(words.restart), Restart),
            health=tuple(parse_health(text) for text in words.health),
            level=parse_level(str(words.level)) if words.level is not None else None,
            also_from=None if also_from is None else tuple(parse_level(str(one)) for one in also_from),
            summary=words.summary,
            removable=words.removable,
            coverage_ends=words.coverage_ends,
            replace=replace,
            measure_full=measure_full,
        )
    except msgspec.ValidationError as error:
        raise InputError(f"cannot use the improvement's words: {error}") from error


def _checked(words: ImprovementWords) -> ImprovementWords:
    """Words from a command line never went through the decoder that bounds them; here they do."""
    try:
        return msgspec.convert(msgspec.to_builtins(words), ImprovementWords)
    except msgspec.ValidationError as error:
        raise InputError(f"cannot use the improvement's words: {error}") from error


def _fix(words: FixWords) -> Fix:
    if not words.purl.startswith(_PURL_START):
        raise InputError(f"cannot use {words.purl[:80]!r} as a package URL: write it as pkg:pypi/pillow@10.0.1")
    return Fix(check_cve(words.cve), words.severity, words.title, words.purl, words.known_exploited)


def parse_health(text: str) -> HealthCheck:
    """``http:NAME[:SECONDS]``, ``command:NAME[:SECONDS]`` or ``stays-up:SECONDS``.

    Raises:
        InputError: another kind, or out of its bounds.
    """
    kind, _, rest = text.partition(":")
    name, _, seconds = rest.partition(":")
    try:
        if kind == "stays-up":
            return msgspec.convert({"kind": kind, "seconds": int(rest)}, StaysUpCheck)
        values: dict[str, Any] = {"kind": kind, "name": name}
        if seconds:
            values["timeout_seconds"] = int(seconds)
        if kind == "http":
            return msgspec.convert(values, HttpCheck)
        if kind == "command":
            return msgspec.convert(values, CommandCheck)
    except (ValueError, msgspec.ValidationError) as error:
        raise InputError(f"cannot use {text[:80]!r} as a health check: {error}") from error
    raise InputError(f"cannot use {text[:80]!r} as a health check: write http:NAME, command:NAME or stays-up:SECONDS")
