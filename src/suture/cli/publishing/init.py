"""``suture publisher init``: make a workshop."""

from __future__ import annotations

import argparse
from pathlib import Path

from suture.adapters.clock import SystemClock
from suture.cli.printing import clean, print_json, print_line
from suture.cli.publishing.desk_arguments import add_passphrases, add_workshop, passphrases_from
from suture.publisher.setup import make_workshop
from suture.publisher.workshop import KeyRole, Lifetimes

NAME = "init"
SUMMARY = "make a workshop: keys, an empty signed repository, and the product file to hand out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    defaults = Lifetimes()
    add_workshop(parser)
    parser.add_argument(
        "--describe", type=Path, required=True, metavar="FILE", help="the product file without format and first_root"
    )
    parser.add_argument("--keys", type=int, default=1, metavar="N", help="keys of each offline role (1)")
    parser.add_argument("--threshold", type=int, default=1, metavar="M", help="how many of them must sign (1)")
    parser.add_argument(
        "--offline-days", type=int, default=defaults.root_days, help="life of root, targets and releases (365)"
    )
    parser.add_argument(
        "--online-days", type=int, default=defaults.timestamp_days, help="life of timestamp, snapshot, rollouts (7)"
    )
    add_passphrases(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make it."""
    offline, online = arguments.offline_days, arguments.online_days
    made = make_workshop(
        arguments.workshop,
        arguments.describe,
        passphrases_from(arguments),
        keys=arguments.keys,
        threshold=arguments.threshold,
        lifetimes=Lifetimes(offline, offline, offline, online, online, online),
        now=SystemClock().now(),
    )
    workshop = made.workshop
    if arguments.json:
        print_json(
            {
                "command": NAME,
                "changed": True,
                "product": made.settings.product,
                "first_root": made.settings.first_root,
                "product_file": str(workshop.product_file),
                "repository": str(workshop.repository),
                "keys": made.settings.keys,
            }
        )
        return 0
    print_line(f"made the workshop {clean(str(workshop.root))} for {made.settings.product}")
    print_line(f"  keys        {', '.join(f'{len(made.settings.active(role))} {role}' for role in KeyRole)}, encrypted")
    print_line(f"  first root  {made.settings.first_root}")
    print_line(f"  hand out    {clean(str(workshop.product_file))}")
    print_line(f"  serve       {clean(str(workshop.repository))}")
    print_line("keep copies of keys/ and of their passphrases, apart from each other and from this machine")
    return 0
