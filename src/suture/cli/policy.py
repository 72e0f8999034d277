"""`suture policy show`: the managed policy of this device, what it fixes, and what is wrong with it."""

from __future__ import annotations

import argparse

import msgspec

from suture.agent.places import Places
from suture.agent.settings import CAREFUL_POLICY, read_policy
from suture.cli.places import places_to_read_from
from suture.cli.printing import clean, paint, print_facts, print_json, print_line
from suture.core.errors import SutureError
from suture.wire.settings import PolicyFile

NAME = "policy"
SUMMARY = "show the managed policy of this device"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("show", help="what the policy says, and who set it")


def run(arguments: argparse.Namespace) -> int:
    """Do it. A broken policy ends with its error's code, after saying what is in force instead."""
    places = places_to_read_from(arguments)
    try:
        policy = read_policy(places)
    except SutureError as error:
        if not arguments.json:
            print_line(paint("the managed policy is broken; in force instead, until it is mended:", "yellow"))
            print_facts(_facts(msgspec.to_builtins(CAREFUL_POLICY)), indent=2)
        raise error from error.__cause__
    if arguments.json:
        print_json({"path": str(places.managed_policy), "policy": policy})
    else:
        _print(policy, places)
    return 0


def _print(policy: PolicyFile | None, places: Places) -> None:
    if policy is None:
        print_line(f"nobody manages this device: there is no {clean(str(places.managed_policy))}")
        return
    print_line(f"managed by {clean(policy.organisation)} ({clean(str(places.managed_policy))})")
    said: dict[str, object] = msgspec.to_builtins(policy)
    products = said.pop("products", {})
    print_facts(
        _facts({name: value for name, value in said.items() if name not in ("format", "organisation")}), indent=2
    )
    if isinstance(products, dict):
        for name, words in products.items():
            print_line(f"  for {name}:")
            print_facts(_facts(words), indent=4)


def _facts(said: dict[str, object]) -> list[tuple[str, str]]:
    return [
        (name, ("on" if value else "off") if isinstance(value, bool) else str(value)) for name, value in said.items()
    ]
