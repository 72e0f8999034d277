"""An internal error, said in one line: the traceback goes to a file of the state directory, or to --verbose.

It must never fail itself, and never write anywhere that is not this user's own.
"""

from __future__ import annotations

import argparse
import sys
import traceback

from suture.adapters.files import write_file
from suture.agent.places import Places, check_own_directory
from suture.cli.places import places_from
from suture.cli.printing import clean, print_json
from suture.core.errors import SutureError
from suture.core.version import VERSION

MAXIMUM_CRASH_BYTES = 256 * 1024


def record_crash(error: Exception, common: argparse.Namespace) -> None:
    """Say that Suture failed and keep the traceback.

    Args:
        error: what nobody caught.
        common: the common options, as far as they were parsed.
    """
    text = f"suture {VERSION}\n" + "".join(traceback.format_exception(error))
    if common.verbose:
        print(text, file=sys.stderr)
    kept = _keep(places_from(common), text)
    summary = f"internal error in Suture: {type(error).__name__}: {clean(str(error))[:200]}"
    advice = f"please report it with {kept}" if kept else "please report it with the output of --verbose"
    if common.json:
        print_json(
            {"error": {"code": "internal", "message": summary, "advice": advice, "fault": "suture", "exit_code": 70}}
        )
    else:
        print(f"suture: {summary}; {advice}", file=sys.stderr)


def _keep(places: Places, text: str) -> str:
    try:
        check_own_directory(places.state)
        write_file(places.crash_file, text.encode("utf-8", "backslashreplace")[-MAXIMUM_CRASH_BYTES:])
    except SutureError:
        return ""
    return str(places.crash_file)
