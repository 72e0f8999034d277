"""`suture agent`: the background agent as a long-running process, or one look for a timer; its systemd units."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from suture.agent.daemon import Agent, once
from suture.agent.report import build_status
from suture.agent.unit_files import unit_files
from suture.cli.acting import opened
from suture.cli.printing import print_json, print_line
from suture.core.clock import format_time

NAME = "agent"
SUMMARY = "run the background agent"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("run", help="run until told to stop: look, install, watch")
    actions.add_parser("once", help="look once at every product and end (for a timer)")
    actions.add_parser("units", help="print the systemd units for the agent, and where they go")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    if arguments.action == "units":
        files = unit_files(sys.executable)
        if arguments.json:
            print_json(files)
        else:
            for path, text in files.items():
                print_line(f"# {path}")
                print_line(text)
        return 0
    with opened(arguments) as device:
        if arguments.action == "run":
            return Agent(device, _say).run()
        code = once(device, _say)
        if arguments.json:
            print_json(build_status(device).products)
        return code


def _say(line: str) -> None:
    print(f"{format_time(datetime.now(UTC).replace(microsecond=0))} {line}", file=sys.stderr, flush=True)
