"""``suture publisher recall``: tell devices to leave levels."""

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
from suture.publisher.releasing import recall_levels

NAME = "recall"
SUMMARY = "tell devices, signed by the release keys, to leave bad levels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_workshop(parser)
    parser.add_argument("levels", nargs="+", metavar="LEVEL", help="numbers or letters")
    parser.add_argument("--reason", required=True, help="one sentence for people")
    add_baseline(parser)
    add_passphrases(parser)


def run(arguments: argparse.Namespace) -> int:
    """Sign and publish."""
    levels = levels_from(arguments.levels)
    with desk_from(arguments, "recall") as desk:
        identity = identity_from(arguments, desk.workshop, desk.settings)
        change = recall_levels(desk, identity, levels, reason=arguments.reason)
        what = f"{'level' if len(levels) == 1 else 'levels'} {', '.join(map(str, levels))}"
        did = f"recalled {what} of {desk.settings.product} {identity}: {arguments.reason}"
        say_change(arguments, desk, identity, change, did=did, already=f"{what} already recalled", levels=levels)
    return 0
