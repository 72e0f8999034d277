"""`suture hold`: keep a product where it is for a time; recalls are obeyed all the same."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

from suture.cli.acting import add_product_and_wait, opened, session
from suture.cli.printing import print_json, print_line
from suture.core.clock import format_time
from suture.core.errors import UsageError

NAME = "hold"
SUMMARY = "keep a product at its level for some days"

MAXIMUM_DAYS = 90


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    add_product_and_wait(parser)
    parser.add_argument("--days", type=int, default=7, metavar="N", help="for N days (default 7, at most 90)")
    parser.add_argument("--release", action="store_true", help="end the hold")


def run(arguments: argparse.Namespace) -> int:
    """Hold or release."""
    if not 1 <= arguments.days <= MAXIMUM_DAYS:
        raise UsageError(f"cannot hold for {arguments.days} days: --days lies between 1 and {MAXIMUM_DAYS}")
    until = None
    if not arguments.release:
        until = format_time((datetime.now(UTC) + timedelta(days=arguments.days)).replace(microsecond=0))
    with opened(arguments) as device:
        ready = session(arguments, device)
        ready.hold(until)
    if arguments.json:
        print_json({"product": ready.product.product, "hold_until": until})
    elif until is None:
        print_line(f"{ready.product.product} is not held any more")
    else:
        print_line(f"{ready.product.product} stays where it is until {until}")
    return 0
