"""``suture publisher release``: sign a staged level and offer it."""

from __future__ import annotations

import argparse

from suture.cli.publishing.desk_arguments import (
    add_baseline,
    add_passphrases,
    add_workshop,
    desk_from,
    identity_from,
    levels_from,
    say_change,
)
from suture.publisher.releasing import release_level

NAME = "release"
SUMMARY = "sign a built level with the release keys and offer it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_workshop(parser)
    parser.add_argument("level", metavar="LEVEL", help="its number or letters")
    parser.add_argument(
        "--permille",
        type=int,
        default=1000,
        metavar="N",
        help="thousandths of the world that may install it now (1000)",
    )
    add_baseline(parser)
    add_passphrases(parser)


def run(arguments: argparse.Namespace) -> int:
    """Sign and publish."""
    levels = levels_from([arguments.level])
    with desk_from(arguments, "release") as desk:
        identity = identity_from(arguments, desk.workshop, desk.settings)
        change = release_level(desk, identity, levels[0], permille=arguments.permille)
        did = f"released level {levels[0]} of {desk.settings.product} {identity} to {arguments.permille} in 1000"
        already = f"level {levels[0]} of {desk.settings.product} {identity} is released already"
        say_change(arguments, desk, identity, change, did=did, already=already, levels=levels)
    return 0
