"""``suture tuf-client``: the bare TUF client workflow, with the command line of the public TUF conformance suite.

Exit codes are that suite's: 0 for full success, 1 for any failure. It uses the agent's own workflow and fetcher, and
none of what the agent adds to them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from suture.adapters.clock import SystemClock
from suture.adapters.fetch import Fetcher
from suture.cli.printing import print_error
from suture.core.errors import SutureError, UsageError

NAME = "tuf-client"
SUMMARY = "run the bare TUF client workflow over a directory of metadata (for conformance tests)"
FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--metadata-dir", type=Path, required=True, metavar="DIR", help="where trusted metadata is kept"
    )
    parser.add_argument("--metadata-url", metavar="URL", help="the address of the repository's metadata")
    parser.add_argument("--target-name", action="append", metavar="PATH", help="a target; may be given several times")
    parser.add_argument("--target-dir", type=Path, metavar="DIR", help="where targets are stored")
    parser.add_argument("--target-base-url", metavar="URL", help="the address of the repository's targets")
    actions = parser.add_subparsers(dest="action", required=True)
    begin = actions.add_parser("init", help="trust a root; asks nobody")
    begin.add_argument("root", type=Path, metavar="ROOT")
    actions.add_parser("refresh", help="bring the metadata up to date")
    actions.add_parser("download", help="bring the metadata up to date and fetch targets")


def run(arguments: argparse.Namespace) -> int:
    """Do it; any failure is 1."""
    from suture.adapters.tuf_plain import PlainClient

    clock = SystemClock()
    fetcher = Fetcher(clock)
    try:
        client = PlainClient(arguments.metadata_dir, fetcher, clock)
        if arguments.action == "init":
            client.begin(arguments.root)
        elif arguments.action == "refresh":
            client.refresh(_needed(arguments, "metadata_url"))
        else:
            client.download(
                _needed(arguments, "metadata_url"),
                _needed(arguments, "target_name"),
                _needed(arguments, "target_base_url"),
                _needed(arguments, "target_dir"),
            )
    except SutureError as error:
        print_error(error, as_json=arguments.json)
        return FAILED
    finally:
        fetcher.close()
    return 0


def _needed(arguments: argparse.Namespace, name: str) -> Any:
    value = getattr(arguments, name)
    if value is None:
        raise UsageError(f"cannot {arguments.action}: --{name.replace('_', '-')} is missing")
    return value
