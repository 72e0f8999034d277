"""What `check`, `install`, `remove` and `hold` share: open the device, choose the product, say what changed."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator

from suture.agent.commands import Result, Session, encoded, failed_level
from suture.agent.device import Device, open_device
from suture.cli.places import places_from
from suture.cli.printing import clean, paint, print_json, print_line
from suture.core.errors import NotKnownError, UsageError
from suture.core.level import display_of, letters_of
from suture.wire.product import Product


@contextlib.contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[Device]:
    """The device of the common options, with its real doors."""
    with open_device(places_from(arguments)) as device:
        yield device


def chosen_product(device: Device, name: str | None) -> Product:
    """The named product, or the only one.

    Raises:
        NotKnownError: there is none of that name, or none at all.
        UsageError: there are several and none is named.
    """
    if name is not None:
        return device.shelf.get(name)
    products = device.shelf.list()
    if not products:
        raise NotKnownError(
            "cannot choose a product: this device knows none", advice="add one with `suture product add FILE`"
        )
    if len(products) > 1:
        names = ", ".join(product.product for product in products)
        raise UsageError(f"cannot choose a product: this device knows {names}", advice="name one of them")
    return products[0]


def session(arguments: argparse.Namespace, device: Device) -> Session:
    """The chosen product, ready; waits for another command up to ``--wait`` seconds."""
    return Session(device, chosen_product(device, arguments.product), wait_seconds=arguments.wait)


def add_product_and_wait(parser: argparse.ArgumentParser) -> None:
    """The arguments that all of them have."""
    parser.add_argument("product", nargs="?", metavar="PRODUCT", help="which product; not needed where there is one")
    parser.add_argument(
        "--wait", type=float, default=60.0, metavar="SECONDS", help="how long to wait for another command (default 60)"
    )


def say_result(result: Result, product: Product, arguments: argparse.Namespace) -> None:
    """What changed, for people or as JSON."""
    if arguments.json:
        print_json(encoded(result))
        return
    version = result.after.baseline.rpartition("-")[0]
    before = display_of(f"{product.title} {version}", result.before.active)
    after = display_of(f"{product.title} {version}", result.after.active)
    print_line(f"{clean(before)} → {paint(clean(after), 'bold')}" if before != after else f"{clean(after)}, as before")
    failed = failed_level(result)
    if failed is not None:
        print_line(
            paint(f"  ({letters_of(failed.level)}) did not stay: {clean(failed.detail)} [{failed.reason}]", "red")
        )
    record = result.after.record(result.after.active)
    if record is not None:
        print_line(f"  state: {record.state}")
    if result.after.watch is not None and result.after.watch.holders:
        holders = ", ".join(f"{holder.name} ({holder.pid})" for holder in result.after.watch.holders[:5])
        print_line(f"  old files are still used by {clean(holders)}")
    for cve in result.reopened:
        print_line(paint(f"  {cve} is open again on this device", "red"))
