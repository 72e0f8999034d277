"""``suture publisher``: the vendor's commands, one module each under `suture.cli.publishing`."""

from __future__ import annotations

import argparse

from suture.cli.publishing import build, init, keys, pause, recall, refresh, release, resume, rollout, serve, status

NAME = "publisher"
SUMMARY = "make, sign and serve improvements (for vendors)"

_COMMANDS = (init, keys, build, release, recall, pause, resume, refresh, rollout, status, serve)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    subparsers = parser.add_subparsers(dest="publisher_command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        subparser = subparsers.add_parser(
            command.NAME, help=command.SUMMARY, description=command.SUMMARY, allow_abbrev=False
        )
        command.add_arguments(subparser)
        subparser.set_defaults(publisher_run=command.run)


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen subcommand."""
    code: int = arguments.publisher_run(arguments)
    return code
