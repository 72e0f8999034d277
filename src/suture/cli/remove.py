"""`suture remove`: go to the baseline or a lower level, at once and offline; say which CVEs are open again."""

from __future__ import annotations

import argparse

from suture.cli.acting import add_product_and_wait, opened, say_result, session
from suture.core.level import parse_level

NAME = "remove"
SUMMARY = "take an improvement away, at once and offline"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    add_product_and_wait(parser)
    parser.add_argument(
        "--to", default="baseline", metavar="LEVEL", help="go down to this level instead of the baseline"
    )


def run(arguments: argparse.Namespace) -> int:
    """Remove; 0 when the lower level is in place."""
    with opened(arguments) as device:
        ready = session(arguments, device)
        result = ready.remove(parse_level(arguments.to))
        say_result(result, ready.product, arguments)
        return ready.exit_code_of(result)
