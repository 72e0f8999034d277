"""`suture graft`: grafts made again at boot, and out of the way of package managers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from suture.agent.grafts_off import why_grafts_are_off
from suture.agent.packages import HOOKS_FILE, come_back, give_way, hooks, install_hooks, remove_hooks
from suture.agent.regraft import regraft
from suture.cli.acting import opened
from suture.cli.places import places_from
from suture.cli.printing import print_json, print_line

NAME = "graft"
SUMMARY = "make grafts again at boot, and let package managers go first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("restore", help="put every product back to its level (for suture-graft.service, at boot)")
    actions.add_parser("pre-invoke", help="dpkg's hook: take overlay grafts away before packages change")
    actions.add_parser("post-invoke", help="dpkg's hook: graft again, or let go what a package has moved past")
    hooking = actions.add_parser("hooks", help="dpkg's hooks: install, remove or show them")
    hooking.add_argument("what", choices=("install", "remove", "show"))
    hooking.add_argument("--file", type=Path, default=HOOKS_FILE, help=f"dpkg's configuration file ({HOOKS_FILE})")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    if arguments.action == "hooks":
        return _hooks(arguments)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if not arguments.json:
            print(f"suture: {line}", file=sys.stderr, flush=True)

    code = 0
    with opened(arguments) as device:
        if arguments.action == "restore":
            off = why_grafts_are_off(device.places)
            if off:
                say(f"grafts are off: {off}")
            code = regraft(device, say)
        elif arguments.action == "pre-invoke":
            give_way(device, say)
        else:
            come_back(device, say)
    if arguments.json:
        print_json({"said": lines})
    return code


def _hooks(arguments: argparse.Namespace) -> int:
    file, places = arguments.file, places_from(arguments)
    words = "shown"
    if arguments.what == "install":
        install_hooks(sys.executable, places, file)
        words = "installed"
    elif arguments.what == "remove":
        words = "removed" if remove_hooks(file) else "were not installed"
    text = hooks(sys.executable, places)
    if arguments.json:
        print_json({"file": str(file), "hooks": words, "text": text})
    elif arguments.what == "show":
        print_line(f"# {file} ({'installed' if file.exists() else 'not installed'})")
        print_line(text)
    else:
        print_line(f"dpkg's hooks in {file}: {words}")
    return 0
