"""`suture history`: what happened on this device, newest last, from the append-only journal."""

from __future__ import annotations

import argparse

from suture.cli.places import places_from
from suture.cli.printing import print_json, print_line, print_table
from suture.core.errors import UsageError
from suture.wire.status import HistoryRow

NAME = "history"
SUMMARY = "show what happened on this device"

DEFAULT_LIMIT = 50
MAXIMUM_LIMIT = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("product", nargs="?", metavar="PRODUCT", help="this product alone")
    parser.add_argument("--limit", type=int, default=DEFAULT_LIMIT, metavar="N", help="the last N lines (default 50)")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    if not 1 <= arguments.limit <= MAXIMUM_LIMIT:
        raise UsageError(f"cannot show {arguments.limit} lines: --limit lies between 1 and {MAXIMUM_LIMIT:,}")
    places = places_from(arguments)
    rows: tuple[HistoryRow, ...] = ()
    if places.journal.exists():
        # Here, not above: SQLite is loaded only where there is a journal to read.
        from suture.agent.journal import read_history

        rows = read_history(places.journal, arguments.product, arguments.limit)
    if arguments.json:
        print_json(rows)
    elif not rows:
        print_line("nothing has happened on this device yet")
    else:
        print_table(
            ("WHEN", "PRODUCT", "BASELINE", "LEVEL", "EVENT", "STATE", "WHY"),
            [
                (row.at, row.product, row.baseline, str(row.level), row.event, row.state, row.detail or row.reason)
                for row in rows
            ],
        )
    return 0
