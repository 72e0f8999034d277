"""``suture publisher pause``: stop new installs for a while."""

from __future__ import annotations

import argparse
from datetime import timedelta

from suture.cli.publishing.desk_arguments import (
    add_baseline,
    add_passphrases,
    add_workshop,
    desk_from,
    identity_from,
    say_change,
)
from suture.core.clock import format_time, parse_time
from suture.core.errors import UsageError
from suture.publisher.rolling import pause_rollout

NAME = "pause"
SUMMARY = "stop new installs until a time (online key only)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_workshop(parser)
    ends = parser.add_mutually_exclusive_group(required=True)
    ends.add_argument("--until", metavar="TIME", help="such as 2026-03-01T12:00:00Z")
    ends.add_argument("--hours", type=float, metavar="N", help="from now")
    parser.add_argument("--reason", required=True, help="one sentence for people")
    add_baseline(parser)
    add_passphrases(parser, offline=False)


def run(arguments: argparse.Namespace) -> int:
    """Sign and publish."""
    if arguments.hours is not None and not 0 < arguments.hours <= 24 * 14:
        raise UsageError(f"cannot pause for {arguments.hours} hours: give more than 0 and at most 336")
    with desk_from(arguments, "pause") as desk:
        identity = identity_from(arguments, desk.workshop, desk.settings)
        now = desk.now.replace(microsecond=0)
        until = parse_time(arguments.until) if arguments.until else now + timedelta(hours=arguments.hours)
        until = until.replace(microsecond=0)
        change = pause_rollout(desk, identity, until=until, reason=arguments.reason)
        did = f"paused new installs of {desk.settings.product} {identity} until {format_time(until)}"
        say_change(arguments, desk, identity, change, did=did, already="paused so already")
    return 0
