"""`suture supervise --name NAME … -- COMMAND`: keep a service's listening socket and hand over between workers."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
from pathlib import Path

from suture.agent.supervisor import Supervisor
from suture.agent.supervisor_service import Service
from suture.cli.places import places_from
from suture.core.errors import UsageError

NAME = "supervise"
SUMMARY = "keep a service's listening socket and replace its worker without losing a request"

_EPILOG = """\
The worker gets the listening socket as descriptor 3 (LISTEN_FDS, sd_listen_fds(3)) and says READY=1 on NOTIFY_SOCKET
(sd_notify(3)). SIGHUP hands over: the new worker starts, and only when it is ready does the old one get SIGTERM and
drains. {root} in COMMAND becomes the real path of the product's pointer, resolved once for each start.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's words."""
    parser.epilog = f"{_EPILOG}\n{parser.epilog or ''}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--name", required=True, help="the service's name, as product files and manifests call it")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--product", help="the product whose files the service runs")
    where.add_argument("--pointer", type=Path, help="the pointer itself, for a product that this device does not know")
    parser.add_argument("--listen", metavar="ADDRESS", help="HOST:PORT, [v6]:PORT or unix:/path")
    parser.add_argument("--ready", metavar="URL", help="ready when this loopback URL answers 200, instead of READY=1")
    parser.add_argument("--ready-command", metavar="COMMAND", default="", help="ready when this command ends with 0")
    parser.add_argument("--start-timeout", metavar="SECONDS", type=float, default=30.0)
    parser.add_argument("--drain-timeout", metavar="SECONDS", type=float, default=30.0)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the worker and its words")


def run(arguments: argparse.Namespace) -> int:
    """Supervise until SIGTERM; 0.

    Raises:
        SutureError: as `Supervisor.run`.
    """
    words = list(arguments.command)
    try:
        ready_command = tuple(shlex.split(arguments.ready_command))
    except ValueError as error:
        raise UsageError(f"cannot read --ready-command: {error}") from error
    service = Service(
        name=arguments.name,
        argv=tuple(words[1:] if words[:1] == ["--"] else words),
        state_directory=places_from(arguments).state,
        product=arguments.product,
        pointer=arguments.pointer.absolute() if arguments.pointer else None,
        listen=arguments.listen,
        ready_url=arguments.ready,
        ready_command=ready_command,
        start_timeout_seconds=arguments.start_timeout,
        drain_timeout_seconds=arguments.drain_timeout,
    ).check()
    Supervisor(service, say=_say_json if arguments.json else _say).run()
    return 0


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(f"suture supervise: {line}", file=sys.stderr, flush=True)


def _say_json(line: str) -> None:
    with contextlib.suppress(OSError):
        print(json.dumps({"message": line}), flush=True)
