"""`suture why`: why this level, why not a higher one, why this restart; each answer with whose word it is."""

from __future__ import annotations

import argparse

from suture.agent.statusfile import read_status
from suture.cli.places import places_to_read_from
from suture.cli.printing import clean, paint, print_json, print_line
from suture.cli.status import choose
from suture.core.version import VERSION
from suture.wire.status import STATUS_FORMAT, ProductStatus, Status

NAME = "why"
SUMMARY = "say why the device stands where it stands"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("product", nargs="?", metavar="PRODUCT", help="this product alone")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    found = read_status(places_to_read_from(arguments))
    status = found if found is not None else Status(STATUS_FORMAT, "", VERSION, None, None, ())
    chosen = choose(status, arguments.product)
    if arguments.json:
        print_json(
            [{"product": product.product, "why": product.why, "notes": product.settings.notes} for product in chosen]
        )
        return 0
    if not chosen:
        print_line("the agent has not looked at anything on this device yet; run `suture agent run`, or `suture check`")
    for product in chosen:
        _print_reasons(product)
    return 0


def _print_reasons(product: ProductStatus) -> None:
    print_line(f"{paint(clean(product.display), 'bold')}  {clean(product.state)}")
    for reason in product.why:
        since = f" since {reason.since}" if reason.since else ""
        whose = f", {reason.source}" if reason.source else ""
        print_line(f"  {clean(reason.text)} {paint(clean(f'[{reason.code}{since}{whose}]'), 'dim')}")
    for note in product.settings.notes:
        print_line(f"  {paint('! ' + clean(note), 'yellow')}")
    if not product.why and not product.settings.notes:
        print_line("  nothing holds it: it runs the highest good level on offer")
