"""``suture mirror``: a verified copy of what a site's devices need, for a LAN or a stick (docs/mirrors.md)."""

from __future__ import annotations

import argparse
from pathlib import Path

from suture.adapters.clock import SystemClock
from suture.adapters.files import read_file
from suture.agent.product_rules import decode_product
from suture.cli.printing import clean, print_json, print_line
from suture.core.limits import MAXIMUM_PRODUCT_FILE_BYTES

NAME = "mirror"
SUMMARY = "make or update a verified copy of repositories for a LAN or a stick"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "directory", type=Path, metavar="DIRECTORY", help="the copy; one directory a product is made in it"
    )
    parser.add_argument(
        "--product-file", type=Path, action="append", required=True, metavar="FILE", help="may be given several times"
    )
    parser.add_argument(
        "--release",
        action="append",
        default=[],
        metavar="BASELINE",
        help="only this release, such as 1.0-x86_64; may be given several times (default: all)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Copy one product after the other; the first that fails ends it, those before it are up to date."""
    from suture.adapters.fetch import Fetcher
    from suture.agent.mirroring import mirror_product

    clock = SystemClock()
    done = []
    for path in arguments.product_file:
        product = decode_product(read_file(path, maximum_bytes=MAXIMUM_PRODUCT_FILE_BYTES), str(path))
        fetcher = Fetcher(clock)
        try:
            copied = mirror_product(arguments.directory, product, arguments.release, fetcher, clock)
        finally:
            fetcher.close()
        done.append(copied)
        if not arguments.json:
            print_line(
                f"{copied.product}: {len(copied.releases)} releases, {copied.targets} files, {copied.downloaded} new "
                f"({copied.downloaded_bytes:,} bytes), from {clean(copied.base_url)}"
            )
    if arguments.json:
        print_json({"command": NAME, "products": [{**_facts(one)} for one in done]})
    return 0


def _facts(copied: object) -> dict[str, object]:
    import dataclasses

    facts = dataclasses.asdict(copied)  # type: ignore[call-overload]  # it is one
    return {**facts, "directory": str(facts["directory"])}
