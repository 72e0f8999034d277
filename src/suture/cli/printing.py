"""What people and programs see: plain tables, a little colour where a terminal shows it, and JSON.

It never prints a control character that came from data: a process's name or a vendor's title must not be able to
drive the reader's terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import msgspec

from suture.core.errors import SutureError

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def clean(text: str) -> str:
    """`text` with every control or unprintable character made visible (newlines too)."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def has_colour(stream: TextIO) -> bool:
    """Colour is wanted: a terminal, no ``NO_COLOR`` (no-color.org), and not ``TERM=dumb``."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """`text` in a colour (``bold``, ``dim``, ``red``, ``green``, ``yellow``, ``cyan``) where `stream` shows it."""
    if not has_colour(stream if stream is not None else sys.stdout):
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def width_of(stream: TextIO | None = None) -> int:
    """Columns to fill: the terminal's, or 10,000 where the output is no terminal, so that nothing is cut in pipes."""
    stream = stream if stream is not None else sys.stdout
    return shutil.get_terminal_size().columns if stream.isatty() else 10_000


def print_line(text: str = "") -> None:
    """One line of our own words; data in it must have passed `clean`."""
    print(text)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with aligned columns; the last column is cut to the terminal's width."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(headings), *cells]) for column in range(len(headings))]
    limit = width_of()
    print(paint(_row(headings, widths, limit), "bold"))
    for row in cells:
        print(_row(row, widths, limit))


def _row(cells: Sequence[str], widths: Sequence[int], limit: int) -> str:
    line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
    return line if len(line) <= limit else line[: max(limit - 1, 0)] + "…"


def print_facts(facts: Sequence[tuple[str, str]], *, indent: int = 0) -> None:
    """Names and values, aligned; facts with an empty value are left out."""
    shown = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{' ' * indent}{paint(name.ljust(width), 'dim')}  {value}")


def print_json(value: Any) -> None:
    """A value (msgspec structs, lists, dicts, enums) as indented JSON and a newline on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode("utf-8") + "\n")


def print_error(error: SutureError, *, as_json: bool) -> None:
    """An error in two lines for people on standard error, or as one JSON object on standard output."""
    if as_json:
        print_json(
            {
                "error": {
                    "code": error.code,
                    "message": error.message,
                    "advice": error.advice,
                    "fault": error.fault.value,
                    "exit_code": error.exit_code,
                }
            }
        )
        return
    print(f"{paint('suture:', 'red', sys.stderr)} {clean(error.message)}", file=sys.stderr)
    if error.advice:
        print(f"  next: {clean(error.advice)}", file=sys.stderr)
