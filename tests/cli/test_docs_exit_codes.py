"""docs/exit-codes.md says what core/errors.py does. Run this file as a program to write the page anew."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from suture.cli.main import INTERNAL_ERROR, INTERRUPTED
from suture.core import errors
from suture.core.errors import SutureError

PAGE = Path(__file__).parents[2] / "docs" / "exit-codes.md"

HEAD = """# Exit codes

Every command ends with one of these. `code` is stable: scripts, the status file and `--json` carry it; messages may
change. With `--json` an error is one object on standard output:
`{"error": {"code", "message", "advice", "fault", "exit_code"}}`. `fault` says who can mend it.

This table is made from `src/suture/core/errors.py` by `python tests/cli/test_docs_exit_codes.py`; a test compares them.

| exit | code | error | fault | what happened | what to do |
|---|---|---|---|---|---|
| 0 | | | | It worked, or there was something to say and it was said. | |
"""
TAIL = f"""| {INTERNAL_ERROR} | internal | | suture | An internal error: a fault of Suture itself. The traceback is in \
`last-crash.txt` of the state directory; `--verbose` shows it. | report it |
| {INTERRUPTED} | | | | Interrupted (Ctrl-C). | |
"""


def error_classes(parent: type[SutureError] = SutureError) -> Iterator[type[SutureError]]:
    """`parent` and all below it in core/errors.py."""
    yield parent
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from error_classes(child)


def make_page() -> str:
    """The whole page."""
    rows = []
    for kind in sorted(error_classes(), key=lambda kind: (kind.exit_code, kind.code)):
        what = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
        cells = (kind.exit_code, kind.code, f"`{kind.__name__}`", kind.fault.value, what, kind.default_advice)
        rows.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |\n")
    return HEAD + "".join(rows) + TAIL


def test_the_page_is_true() -> None:
    assert PAGE.read_text(encoding="utf-8") == make_page(), f"run python {Path(__file__).name}"


def test_every_code_is_a_slug_and_names_one_error() -> None:
    kinds = list(error_classes())
    codes = [kind.code for kind in kinds]
    assert len(set(codes)) == len(codes)
    for kind in kinds:
        assert kind.code == kind.code.lower()
        assert kind.code.replace("-", "").isalpha()
        assert 1 <= kind.exit_code < INTERNAL_ERROR, "above 69 are internal errors and signals"
        assert inspect.getdoc(kind)
        assert kind.default_advice


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
    sys.exit(0)
