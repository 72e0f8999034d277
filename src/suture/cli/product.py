"""`suture product`: teach this device a product from its vendor's file, list what it knows, forget one."""

from __future__ import annotations

import argparse
from pathlib import Path

from suture.agent.places import Places
from suture.agent.products import ProductShelf
from suture.cli.places import places_from
from suture.cli.printing import clean, print_facts, print_json, print_line, print_table
from suture.wire.product import Product

NAME = "product"
SUMMARY = "teach this device a product, list its products, forget one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="learn a product from the file that its vendor handed out")
    add.add_argument("file", type=Path, metavar="FILE")
    actions.add_parser("list", help="the products that this device knows")
    remove = actions.add_parser("remove", help="forget a product; its baseline stays as it is")
    remove.add_argument("name", metavar="NAME")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    places = places_from(arguments)
    shelf = ProductShelf(places)
    if arguments.action == "add":
        product = shelf.add(arguments.file)
        _settle(places, forgotten=None)
        _say(product, "added", arguments)
    elif arguments.action == "remove":
        product = shelf.remove(arguments.name)
        _settle(places, forgotten=product.product)
        _say(product, "removed", arguments)
    else:
        _list(shelf.list(), arguments)
    return 0


def _settle(places: Places, *, forgotten: str | None) -> None:
    """Bring journal and status in line with the shelf, and wake a running agent, which looks at a new product soon."""
    # Here, not above: `suture product list` needs neither the journal nor the doors.
    from suture.agent.device import open_device
    from suture.agent.report import refresh_status
    from suture.agent.statusfile import wake_agent

    with open_device(places) as device:
        if forgotten is not None:
            device.journal.forget(forgotten)
        wake_agent(refresh_status(device))


def _say(product: Product, done: str, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json(product)
        return
    print_line(f"{done} {product.product}: {clean(product.title)} by {clean(product.vendor)}")
    if done == "added":
        print_facts(
            [
                ("baseline", clean(product.root)),
                ("programs use", clean(product.pointer or product.root)),
                ("components", ", ".join(f"{part.name} ({clean(part.path)})" for part in product.components)),
                ("repositories", ", ".join(clean(address) for address in product.repositories)),
                ("may restart", ", ".join(clean(name) for name in (*product.units, *product.services))),
                ("may run", ", ".join(clean(" ".join(command.argv)) for command in product.commands)),
            ],
            indent=2,
        )


def _list(products: tuple[Product, ...], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json(products)
    elif not products:
        print_line("this device knows no product; add one with `suture product add FILE`")
    else:
        print_table(
            ("PRODUCT", "TITLE", "VENDOR", "BASELINE"),
            [(product.product, product.title, product.vendor, product.root) for product in products],
        )
