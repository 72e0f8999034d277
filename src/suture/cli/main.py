"""The `suture` command: finds the command's module, parses, calls it, and says every error in one voice.

Only the chosen command's module is imported, so that `suture status` stays quick. A command module has ``NAME``,
``SUMMARY``, ``add_arguments(parser)`` and ``run(arguments) -> int``. Bad input never ends in a traceback here.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Protocol, cast

from suture.core.errors import DiskFullError, HostError, SutureError, UsageError
from suture.core.version import VERSION

INTERNAL_ERROR = 70
"""sysexits.h EX_SOFTWARE: Suture's own fault."""
INTERRUPTED = 130
"""128 + SIGINT, as shells count."""

COMMANDS = {
    "status": "suture.cli.status",
    "why": "suture.cli.why",
    "history": "suture.cli.history",
    "check": "suture.cli.check",
    "install": "suture.cli.install",
    "remove": "suture.cli.remove",
    "hold": "suture.cli.hold",
    "settings": "suture.cli.settings",
    "policy": "suture.cli.policy",
    "product": "suture.cli.product",
    "agent": "suture.cli.agent",
    "graft": "suture.cli.graft",
    "supervise": "suture.cli.supervise",
    "publisher": "suture.cli.publisher",
    "delta": "suture.cli.delta",
    "mirror": "suture.cli.mirror",
    "tuf-client": "suture.cli.tuf_client",
}
"""Every command and its module, in the order in which `suture --help` shows them."""

COMMON_HELP = """everywhere:
  --state-directory DIR          where this device keeps its state (else SUTURE_STATE_DIRECTORY)
  --configuration-directory DIR  where policy and settings are (else SUTURE_CONFIGURATION_DIRECTORY)
  --json                         answer in JSON, errors too
  --verbose                      say more; show the traceback of an internal error"""


class Command(Protocol):
    """What a command's module offers."""

    NAME: str
    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own arguments."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it and return the exit code; raise SutureError for everything that cannot be done."""
        ...


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are `UsageError`; nested parsers are of this kind too."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and exiting."""
        raise UsageError(f"cannot understand the command: {message}", advice=f"see `{self.prog} --help`")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its words without the program's name; the process's own when left out.

    Returns:
        The exit code: 0, one of `core.errors`, 70 for an internal error, 130 when interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    # Until the common options are parsed, trust the bare word: a wrong option's error is asked for in JSON too.
    common = argparse.Namespace(
        json="--json" in words, verbose=False, state_directory=None, configuration_directory=None
    )
    try:
        _write_any_text()
        common, rest = split_common(words)
        code = _dispatch(common, rest)
        sys.stdout.flush()
    except SutureError as error:
        code = _say(error, common)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        _silence()  # the reader has had enough: `suture history | head`
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 0
    except Exception as error:  # noqa: BLE001 -- the last door: nobody sees a traceback unasked
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            code = _say(DiskFullError(f"cannot finish: {error.strerror}"), common)
        else:
            code = _say_internal(error, common)
    return code


def split_common(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Take the common options out of `words`, wherever they stand before a ``--``.

    Returns:
        The options (``state_directory``, ``configuration_directory``: Path or None; ``json``, ``verbose``: bool) and
        the remaining words in order.

    Raises:
        UsageError: an option lacks its value.
    """
    parser = Parser(prog="suture", add_help=False, allow_abbrev=False)
    parser.add_argument("--state-directory", type=Path, default=None)
    parser.add_argument("--configuration-directory", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    end = words.index("--") if "--" in words else len(words)
    common, rest = parser.parse_known_args(list(words[:end]))
    return common, [*rest, *words[end:]]


def load_command(name: str) -> Command:
    """Import one command's module.

    Raises:
        UsageError: no such command.
        HostError: a package that the command needs is not installed.
    """
    if name not in COMMANDS:
        raise UsageError(f"cannot run {name[:40]!r}: there is no such command", advice="see `suture --help`")
    try:
        return cast(Command, importlib.import_module(COMMANDS[name]))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "suture":
            raise
        raise HostError(
            f"cannot run `suture {name}`: the Python package {error.name} is not installed",
            advice="install Suture with its extra: pip install 'suture[publisher]'",
        ) from error


def _dispatch(common: argparse.Namespace, rest: list[str]) -> int:
    if rest and rest[0] == "--version":
        print(f"suture {VERSION}")
        return 0
    if not rest or rest[0] in ("-h", "--help"):
        _print_help()
        return 0
    if rest[0].startswith("-"):
        raise UsageError(f"cannot understand the option {rest[0][:40]!r}", advice="see `suture --help`")
    command = load_command(rest[0])
    parser = Parser(
        prog=f"suture {command.NAME}",
        description=command.SUMMARY,
        epilog=COMMON_HELP,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return command.run(parser.parse_args(rest[1:], namespace=common))


def _print_help() -> None:
    print("usage: suture COMMAND …\n\nBackground security improvements for this device.\n\ncommands:")
    for name in COMMANDS:
        try:
            summary = load_command(name).SUMMARY
        except (ImportError, HostError):
            summary = "(not installed here)"
        print(f"  {name:<10} {summary}")
    print(f"\n{COMMON_HELP}\n  --version                      print Suture's version")


def _say(error: SutureError, common: argparse.Namespace) -> int:
    from suture.cli.printing import print_error

    try:
        print_error(error, as_json=common.json)
        sys.stdout.flush()
    except OSError:  # a closed pipe or a full disk: the exit code still says what happened
        _silence()
    return error.exit_code


def _say_internal(error: Exception, common: argparse.Namespace) -> int:
    from suture.cli.crash import record_crash

    try:
        record_crash(error, common)
        sys.stdout.flush()
    except OSError:
        _silence()
    return INTERNAL_ERROR


def _write_any_text() -> None:
    # A terminal that cannot show a character gets its code, not our traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _silence() -> None:
    # What is left in the buffer must not fail once more at exit.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
