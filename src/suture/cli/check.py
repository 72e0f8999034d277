"""`suture check`: look at the repositories now. Installs nothing; a recall is obeyed all the same."""

from __future__ import annotations

import argparse

from suture.agent.commands import Session
from suture.agent.report import refresh_status
from suture.cli.acting import add_product_and_wait, opened
from suture.cli.printing import clean, print_json, print_line
from suture.core.errors import SutureError
from suture.wire.status import ProductStatus

NAME = "check"
SUMMARY = "look for improvements now, without installing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    add_product_and_wait(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask every repository; the first failure's error ends the command after all were asked."""
    failure: SutureError | None = None
    with opened(arguments) as device:
        named = [device.shelf.get(arguments.product)] if arguments.product is not None else device.shelf.list()
        for product in named:
            try:
                Session(device, product, wait_seconds=arguments.wait).visit(may_start=False)
            except SutureError as error:
                failure = failure or error
        products = [entry for entry in refresh_status(device).products if arguments.product in (None, entry.product)]
    if failure is not None:
        raise failure
    if arguments.json:
        print_json(products)
        return 0
    for entry in products:
        _say(entry)
    if not products:
        print_line("this device knows no product; add one with `suture product add FILE`")
    return 0


def _say(entry: ProductStatus) -> None:
    waiting = [level for level in entry.levels if level.level > entry.level and level.state in ("offered", "held")]
    if not waiting:
        print_line(f"{clean(entry.display)}: nothing new")
    for level in waiting:
        why = f", held: {clean(level.detail)}" if level.state == "held" else ""
        print_line(
            f"{clean(entry.display)}: {level.display} fixes {', '.join(level.cves)} ({level.patch_bytes:,} B){why}"
        )
