"""``suture publisher resume``: end a pause before its time."""

from __future__ import annotations

import argparse

from suture.cli.publishing.desk_arguments import (
    add_baseline,
    add_passphrases,
    add_workshop,
    desk_from,
    identity_from,
    say_change,
)
from suture.publisher.rolling import resume_rollout

NAME = "resume"
SUMMARY = "end a pause before its time (online key only)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_workshop(parser)
    add_baseline(parser)
    add_passphrases(parser, offline=False)


def run(arguments: argparse.Namespace) -> int:
    """Sign and publish."""
    with desk_from(arguments, "resume") as desk:
        identity = identity_from(arguments, desk.workshop, desk.settings)
        change = resume_rollout(desk, identity)
        did = f"resumed installs of {desk.settings.product} {identity}"
        say_change(arguments, desk, identity, change, did=did, already="there was no pause")
    return 0
