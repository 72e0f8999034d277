"""`suture install`: install now, whatever switches, postponements and rollout shares say."""

from __future__ import annotations

import argparse

from suture.cli.acting import add_product_and_wait, opened, say_result, session
from suture.core.level import parse_level

NAME = "install"
SUMMARY = "install an improvement now"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    add_product_and_wait(parser)
    parser.add_argument("--level", metavar="LEVEL", help="this level (2 or b); else the highest good one")


def run(arguments: argparse.Namespace) -> int:
    """Install; 0 when the level is in place, the failure's exit code when it did not stay."""
    level = parse_level(arguments.level) if arguments.level is not None else None
    with opened(arguments) as device:
        ready = session(arguments, device)
        result = ready.install(level)
        say_result(result, ready.product, arguments)
        return ready.exit_code_of(result)
