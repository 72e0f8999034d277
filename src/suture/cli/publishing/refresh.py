"""``suture publisher refresh``: keep signatures young, unattended."""

from __future__ import annotations

import argparse
from pathlib import Path

from suture.adapters.files import write_file
from suture.cli.printing import print_json, print_line
from suture.cli.publishing.desk_arguments import add_passphrases, add_workshop, desk_from
from suture.core.clock import format_time
from suture.core.errors import SigningDueError
from suture.publisher.metrics import metrics_text
from suture.publisher.refreshing import refresh

NAME = "refresh"
SUMMARY = "sign timestamp, snapshot and rollouts again when half of their life is over (online key only)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_workshop(parser)
    parser.add_argument("--force", action="store_true", help="sign again whatever is left of their life")
    parser.add_argument("--offline", action="store_true", help="the offline roles too (needs their keys)")
    parser.add_argument("--metrics", type=Path, metavar="FILE", help="write every role's life here, for Prometheus")
    add_passphrases(parser)


def run(arguments: argparse.Namespace) -> int:
    """Sign what is due; an exit code other than 0 where an offline role is."""
    with desk_from(arguments, "refresh") as desk:
        change, lives = refresh(desk, force=arguments.force, offline=arguments.offline)
        if arguments.metrics is not None:
            text = metrics_text(desk.settings.product, lives, desk.now)
            write_file(arguments.metrics, text.encode(), mode=0o644)
    due = [life for life in lives if life.is_due]
    if arguments.json:
        print_json(
            {
                "command": NAME,
                "changed": change.changed,
                "files": change.files,
                "written_bytes": change.written_bytes,
                "offline_due": [life.role for life in due],
                "next_expiry": {"role": lives[0].role, "at": format_time(lives[0].expires)},
            }
        )
    else:
        print_line(f"signed again, {change.files} files" if change.changed else "nothing was due, nothing was changed")
        print_line(f"next to expire: {lives[0].role} at {format_time(lives[0].expires)}")
        for life in due:
            print_line(f"{life.role} needs its offline keys: {life.days_left:.0f} days left; run this with --offline")
    return SigningDueError.exit_code if due else 0
