"""``suture publisher build``: make an improvement from two trees a component."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from suture.adapters.clock import SystemClock
from suture.cli.printing import clean, print_json, print_line, print_table
from suture.cli.publishing.desk_arguments import add_workshop, default_architecture
from suture.core.errors import UsageError
from suture.core.level import display_of
from suture.improvement.manifest import RestartClass, Severity
from suture.publisher.building import Built, build_improvement
from suture.publisher.building_component import Progress
from suture.publisher.earlier import read_history
from suture.publisher.published import read_published
from suture.publisher.request import (
    ComponentWords,
    FixWords,
    ImprovementWords,
    RestartWords,
    build_request,
    read_words,
)
from suture.publisher.staged import sweep_staging
from suture.publisher.workshop import open_workshop

NAME = "build"
SUMMARY = "build an improvement from the baseline's trees and the trees with the fix (needs no key)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_workshop(parser)
    parser.add_argument("--from-file", type=Path, metavar="FILE", help="improvement.toml with the same words")
    parser.add_argument("--baseline", metavar="VERSION[-ARCH]", help="the release that it is for")
    _add_repeated(parser, "--component", "NAME", "a component of the product file")
    _add_repeated(parser, "--old", "DIR", "its tree as shipped, in the order of --component")
    _add_repeated(parser, "--new", "DIR", "its tree with the fix, likewise")
    _add_repeated(parser, "--cve", "CVE", "what it fixes; more than once for several")
    _add_repeated(
        parser, "--severity", "|".join(Severity), "of each CVE in order, or one for all", choices=list(Severity)
    )
    _add_repeated(parser, "--title", "TEXT", "likewise")
    _add_repeated(parser, "--purl", "PURL", "the fixed package, such as pkg:pypi/pillow@10.0.1; likewise")
    parser.add_argument("--known-exploited", action="store_true", help="the CVEs are exploited in the wild")
    parser.add_argument("--restart-category", choices=list(RestartClass), help="what must restart (service)")
    _add_repeated(parser, "--restart-service", "NAME", "a service under `suture supervise`")
    _add_repeated(parser, "--restart-unit", "UNIT", "a systemd unit")
    _add_repeated(parser, "--health", "CHECK", "http:NAME, command:NAME or stays-up:SECONDS")
    parser.add_argument("--level", metavar="N", help="the next one when left out")
    _add_repeated(parser, "--also-from", "LEVEL", "patch from it too (default: the last good level)")
    parser.add_argument("--issued", metavar="TIME", help="such as 2026-03-01T12:00:00Z (now)")
    parser.add_argument("--full-by", metavar="TIME", help="from then on shares are ignored (7 days after issued)")
    parser.add_argument("--coverage-ends", metavar="TIME", help="until when this baseline gets improvements")
    parser.add_argument("--summary", help="a sentence for the advisory")
    parser.add_argument("--not-removable", action="store_true", help="people may not remove it")
    parser.add_argument("--replace", action="store_true", help="throw an unreleased level of that number away")
    parser.add_argument("--no-full-size", action="store_true", help="do not compress the whole trees for comparison")


def _add_repeated(
    parser: argparse.ArgumentParser, option: str, metavar: str, help_text: str, choices: Sequence[str] | None = None
) -> None:
    parser.add_argument(option, action="append", default=[], metavar=metavar, help=help_text, choices=choices)


def run(arguments: argparse.Namespace) -> int:
    """Build and stage."""
    workshop = open_workshop(arguments.workshop)
    words = _merge(read_words(arguments.from_file) if arguments.from_file else ImprovementWords(), arguments)
    with workshop.changing("build") as settings:
        sweep_staging(workshop)
        product = workshop.product()
        request = build_request(
            words,
            default_architecture=default_architecture(product),
            now=SystemClock().now(),
            replace=arguments.replace,
            measure_full=not arguments.no_full_size,
        )
        published = read_published(workshop, settings)
        history = read_history(workshop, published, settings.product, request.baseline.identity)
        with _progress() as progress:
            built = build_improvement(workshop, product, history, request, progress)
    directory = workshop.staging / built.manifest.baseline.identity / str(built.manifest.level)
    if arguments.json:
        _print_json(built, directory)
    else:
        _print_people(built, product.title, directory)
    return 0


def _merge(words: ImprovementWords, arguments: argparse.Namespace) -> ImprovementWords:
    """The file's words, with what the command line says in their place."""
    said = {
        "baseline": arguments.baseline,
        "component": _components(arguments),
        "fix": _fixes(arguments),
        "restart": _restart(words.restart, arguments),
        "health": tuple(arguments.health),
        "level": arguments.level,
        "issued": arguments.issued,
        "full_by": arguments.full_by,
        "also_from": tuple(arguments.also_from),
        "coverage_ends": arguments.coverage_ends,
        "summary": arguments.summary,
        "removable": False if arguments.not_removable else None,
    }
    return msgspec.structs.replace(words, **{name: value for name, value in said.items() if value not in (None, ())})


def _components(arguments: argparse.Namespace) -> tuple[ComponentWords, ...]:
    names, old, new = arguments.component, arguments.old, arguments.new
    if not len(names) == len(old) == len(new):
        raise UsageError("cannot build: give --component, --old and --new equally often")
    return tuple(ComponentWords(*words) for words in zip(names, old, new, strict=True))


def _fixes(arguments: argparse.Namespace) -> tuple[FixWords, ...]:
    cves = arguments.cve
    columns = {"severity": arguments.severity, "title": arguments.title, "purl": arguments.purl}
    if not cves and any(columns.values()):
        raise UsageError("cannot build: --severity, --title and --purl belong to a --cve")
    for name, values in columns.items():
        if cves and len(values) not in (1, len(cves)):
            raise UsageError(f"cannot build: give --{name} once, or once for each --cve")
    fixes = []
    for number, cve in enumerate(cves):
        severity, title, purl = (values[number if len(values) > 1 else 0] for values in columns.values())
        fixes.append(FixWords(cve, Severity(severity), title, purl, arguments.known_exploited))
    return tuple(fixes)


def _restart(words: RestartWords, arguments: argparse.Namespace) -> RestartWords:
    return RestartWords(
        category=RestartClass(arguments.restart_category) if arguments.restart_category else words.category,
        services=tuple(arguments.restart_service) or words.services,
        units=tuple(arguments.restart_unit) or words.units,
    )


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """A progress line on standard error where a terminal shows it, else nothing."""
    if not sys.stderr.isatty():
        yield lambda _what, _number, _total: None
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    with console.status("building") as status:

        def show(what: str, number: int, total: int) -> None:
            count = f" {number} of {total}" if total else ""
            status.update(escape(clean(what)) + count)

        yield show


def _print_json(built: Built, directory: Path) -> None:
    manifest = built.manifest
    print_json(
        {
            "command": NAME,
            "changed": built.changed,
            "product": manifest.product,
            "baseline": manifest.baseline.identity,
            "level": manifest.level,
            "display": display_of(manifest.baseline.version, manifest.level),
            "digest": built.digest,
            "issued": manifest.issued,
            "full_by": manifest.full_by,
            "cves": list(dict.fromkeys(fix.cve for fix in manifest.fixes)),
            "carried_cves": built.carried,
            "advisory": manifest.advisory,
            "directory": str(directory),
            "new_bytes": built.sizes.new_bytes,
            "full_bytes": built.sizes.full_bytes,
            "patch_bytes": built.sizes.patch_bytes(),
            "patches": built.sizes.patches,
        }
    )


def _print_people(built: Built, title: str, directory: Path) -> None:
    manifest = built.manifest
    name = display_of(f"{title} {manifest.baseline.version}", manifest.level)
    print_line(f"built {clean(name)}, level {manifest.level} of {manifest.product} {manifest.baseline.identity}")
    print_line(f"  fixes    {', '.join(dict.fromkeys(fix.cve for fix in manifest.fixes))}")
    if built.carried:
        print_line(f"  of which {', '.join(built.carried)} from the last good level, which this one goes on fixing")
    if built.sizes.full_bytes is not None:
        share = 100 * built.sizes.patch_bytes() / max(1, built.sizes.full_bytes)
        print_line(f"  full     {built.sizes.full_bytes:,} bytes (all new files, zstd -19)")
        print_line(f"  patch    {built.sizes.patch_bytes():,} bytes from the baseline ({share:.1f} % of that)")
    else:
        print_line(f"  patch    {built.sizes.patch_bytes():,} bytes from the baseline")
    print_line(f"  in       {clean(str(directory))}{'' if built.changed else ' (exactly so already, nothing changed)'}")
    print_line()
    print_table(
        ("FROM", "FILE", "ENGINE", "NEW BYTES", "PATCH BYTES"),
        [
            (
                str(patch.from_level),
                f"{patch.component}/{file.path}",
                file.engine,
                f"{file.new_bytes:,}",
                f"{file.patch_bytes:,}",
            )
            for patch in built.sizes.patches
            for file in patch.files
        ],
    )
