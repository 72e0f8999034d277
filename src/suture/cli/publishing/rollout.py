"""``suture publisher rollout``: set a released level's share."""

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
from suture.publisher.rolling import set_share

NAME = "rollout"
SUMMARY = "widen or narrow a released level's share (online key only)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_workshop(parser)
    parser.add_argument("level", metavar="LEVEL", help="its number or letters")
    parser.add_argument("--permille", type=int, required=True, metavar="N", help="0 to 1000 thousandths")
    add_baseline(parser)
    add_passphrases(parser, offline=False)


def run(arguments: argparse.Namespace) -> int:
    """Sign and publish."""
    levels = levels_from([arguments.level])
    with desk_from(arguments, "roll out") as desk:
        identity = identity_from(arguments, desk.workshop, desk.settings)
        change = set_share(desk, identity, levels[0], permille=arguments.permille)
        did = f"level {levels[0]} of {desk.settings.product} {identity} is now for {arguments.permille} in 1000"
        say_change(arguments, desk, identity, change, did=did, already="the share was so already", levels=levels)
    return 0
