"""`suture status`: where this device stands, read from the status file alone, so that anyone may ask."""

from __future__ import annotations

import argparse

import msgspec

from suture.agent.statusfile import is_agent_running, read_status
from suture.cli.places import places_to_read_from
from suture.cli.printing import clean, paint, print_facts, print_json, print_line
from suture.core.errors import NotKnownError
from suture.core.level import display_of
from suture.core.version import VERSION
from suture.wire.status import STATUS_FORMAT, ProductStatus, Status, TrustStatus

NAME = "status"
SUMMARY = "show which improvements are in place and which CVEs are open"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("product", nargs="?", metavar="PRODUCT", help="this product alone")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    found = read_status(places_to_read_from(arguments))
    status = found if found is not None else Status(STATUS_FORMAT, "", VERSION, None, None, ())
    chosen = choose(status, arguments.product)
    running = is_agent_running(status)
    if arguments.json:
        shown = msgspec.structs.replace(status, products=chosen)
        print_json({**msgspec.to_builtins(shown), "agent_running": running})
        return 0
    for product in chosen:
        _print_product(product)
    if found is None:
        print_line("the agent has not looked at anything on this device yet")
    elif not chosen:
        print_line("this device knows no product; add one with `suture product add FILE`")
    _print_agent(status, running=running)
    return 0


def choose(status: Status, product: str | None) -> tuple[ProductStatus, ...]:
    """The products to show.

    Raises:
        NotKnownError: the status says nothing about that product.
    """
    chosen = tuple(entry for entry in status.products if product in (None, entry.product))
    if product is not None and not chosen:
        raise NotKnownError(
            f"cannot show {product[:64]!r}: the status of this device says nothing about it",
            advice="run `suture product list`; the agent writes the status after its first look",
        )
    return chosen


def _print_product(product: ProductStatus) -> None:
    state_colour = "green" if product.effective else "yellow"
    print_line(f"{paint(clean(product.display), 'bold')}  {paint(clean(product.state), state_colour)}")
    in_place = [level for level in product.levels if level.level == product.level]
    fixed = [cve for level in in_place for cve in level.cves]
    version = product.baseline.rpartition("-")[0] or product.baseline
    offered = display_of(version, product.offered_level) if product.offered_level else ""
    open_cves = [f"{entry.cve} ({entry.severity}) since {entry.since}" for entry in product.open_cves]
    print_facts(
        [
            ("product", clean(f"{product.product}: {product.title}, baseline {product.baseline}")),
            ("fixed", clean(", ".join(fixed))),
            ("open", paint(clean(", ".join(open_cves)), "red") if open_cves else ""),
            ("offered", clean(offered)),
            ("held back by", clean(_holders(product))),
            ("repository", clean(trust_words(product.trust))),
            ("settings", clean("; ".join(product.settings.notes))),
        ],
        indent=2,
    )
    print_line()


def _holders(product: ProductStatus) -> str:
    names = [
        f"{process.name} (pid {process.pid}{', ' + process.belongs_to if process.belongs_to else ''}, {process.how})"
        for process in product.held_back_by
    ]
    if product.unknown_processes:
        names.append(f"{product.unknown_processes} processes that may not be looked into")
    return ", ".join(names)


def trust_words(trust: TrustStatus) -> str:
    """What the last polls said, in one line for people."""
    words = "never looked at" if trust.state == "never" else trust.state
    parts = [
        words,
        f"last looked at {trust.last_poll}" if trust.last_poll else "",
        f"last good answer {trust.last_success}" if trust.last_success not in (None, trust.last_poll) else "",
        f"expires {trust.expires}" if trust.expires else "",
        trust.rollout,
        trust.detail,
    ]
    return "; ".join(part for part in parts if part)


def _print_agent(status: Status, *, running: bool) -> None:
    if running:
        print_line(f"the agent runs (pid {status.agent_pid}); status of {clean(status.written)}")
    else:
        when = f"; status of {clean(status.written)}" if status.written else ""
        print_line(paint("the agent does not run", "yellow") + f"{when}; start it with `suture agent run`")
