"""``suture publisher serve``: a small static server for the repository."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from pathlib import Path

from suture.adapters.clock import SystemClock
from suture.adapters.files import host_errors, write_file
from suture.cli.printing import print_json, print_line
from suture.cli.publishing.desk_arguments import add_workshop
from suture.publisher.serving import RepositoryServer, split_listen
from suture.publisher.workshop import open_workshop

NAME = "serve"
SUMMARY = "serve the repository over HTTP (for trying out; any web server does as well)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_workshop(parser)
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="port 0: a free one (default)")
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="written with the address when it listens")
    parser.add_argument("--log", type=Path, metavar="FILE", help="appended: one JSON line a request")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    workshop = open_workshop(arguments.workshop)
    address = split_listen(arguments.listen)
    with contextlib.ExitStack() as stack:
        log_file = None
        if arguments.log is not None:
            with host_errors(f"write {arguments.log}"):
                log_file = stack.enter_context(arguments.log.open("ab"))
        server = stack.enter_context(RepositoryServer(workshop.repository, address, log_file, SystemClock().now))
        for number in (signal.SIGTERM, signal.SIGINT):
            # shutdown() waits for serve_forever(), which this very thread runs.
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        if arguments.json:
            print_json({"url": server.url})
        else:
            print_line(f"serving {workshop.repository} at {server.url}")
        sys.stdout.flush()
        if arguments.ready_file is not None:
            write_file(arguments.ready_file, f"{server.url}\n".encode(), mode=0o644)
        server.serve_forever(poll_interval=0.1)
    return 0
