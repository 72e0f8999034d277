"""`suture install`: install now, whatever switches, postponements and rollout shares say."""

from __future__ import annotations

import argparse

from suture.agent.preview import Preview, PreviewedRestart, preview_install
from suture.cli.acting import add_product_and_wait, chosen_product, opened, say_result, session
from suture.cli.printing import clean, paint, print_json, print_line
from suture.core.level import letters_of, parse_level

NAME = "install"
SUMMARY = "install an improvement now"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    add_product_and_wait(parser)
    parser.add_argument(
        "--preview", action="store_true", help="say what would restart, from what is known, and do nothing"
    )
    parser.add_argument("--level", metavar="LEVEL", help="this level (2 or b); else the highest good one")


def run(arguments: argparse.Namespace) -> int:
    """Install; 0 when the level is in place, the failure's exit code when it did not stay."""
    level = parse_level(arguments.level) if arguments.level is not None else None
    with opened(arguments) as device:
        if arguments.preview:
            _say_preview(preview_install(device, chosen_product(device, arguments.product), level), arguments)
            return 0
        ready = session(arguments, device)
        result = ready.install(level)
        say_result(result, ready.product, arguments)
        return ready.exit_code_of(result)


def _say_preview(preview: Preview, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json(preview)
        return
    print_line(f"installing level {letters_of(preview.level)} of {clean(preview.product)} would restart:")
    for one in preview.restarts:
        print_line(f"  {_restart_words(one)}")
    if not preview.restarts:
        print_line("  nothing")
    for name in preview.never:
        print_line(paint(f"  not {clean(name)}: it must never restart; its old code stays", "yellow"))
    for process in preview.others:
        print_line(f"  not {clean(process.name)} ({process.pid}, {clean(process.how)}): close it yourself")
    if preview.unknown:
        print_line(paint(f"  {preview.unknown} processes could not be looked at", "yellow"))
    if preview.reboot:
        print_line(paint("  and it takes effect only after a reboot, which is left to you", "yellow"))
    print_line("nothing was changed")


def _restart_words(one: PreviewedRestart) -> str:
    time = f"last time {one.last_milliseconds:.0f} ms" if one.last_milliseconds is not None else "never timed"
    state = f"{len(one.processes)} processes, {time}" if one.runs else "it does not run, and stays so"
    way = "" if one.way == "try-restart" else f", by {one.way}"
    return f"{one.kind} {clean(one.name)}{way}: {state}"
