"""`suture settings`: every setting in force with its source, and the way to change one."""

from __future__ import annotations

import argparse

from suture.adapters.clock import SystemClock
from suture.agent.places import Places
from suture.agent.products import ProductShelf
from suture.agent.setting_changes import NAMES, Change, write_setting
from suture.agent.settings import read_settings
from suture.agent.statusfile import wake_agent
from suture.cli.places import places_from
from suture.cli.printing import clean, paint, print_json, print_line, print_table
from suture.core.errors import SutureError
from suture.wire.settings import EffectiveSettings, Source

NAME = "settings"
SUMMARY = "show the settings in force, or change one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser("show", help="every setting with its source (the default)")
    show.add_argument("--product", help="as it is for this product")
    change = actions.add_parser("set", help="change one setting", description=f"Settings: {', '.join(NAMES)}.")
    change.add_argument("name", metavar="NAME")
    change.add_argument("value", metavar="VALUE", nargs="+", help="on, off, 3d, until TIME, 1h … or default")
    change.add_argument("--product", help="for this product alone")
    change.add_argument(
        "--administrator", action="store_true", help="in the administrator's file, which overrides people"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    places = places_from(arguments)
    if arguments.action == "set":
        _set(places, arguments)
    else:
        _show(places, getattr(arguments, "product", None), as_json=arguments.json)
    return 0


def _set(places: Places, arguments: argparse.Namespace) -> None:
    if arguments.product is not None:
        ProductShelf(places).get(arguments.product)  # a misspelt product must not be a silent no-op
    source = Source.ADMINISTRATOR if arguments.administrator else Source.USER
    text = " ".join(arguments.value)
    change = write_setting(
        places, arguments.name, text, now=SystemClock().now(), product=arguments.product, source=source
    )
    woken = _wake(places)
    if arguments.json:
        # The effective value, not the written one: a weaker word may have no effect.
        print_json(_in_force(places, arguments.product))
        return
    print_line(f"{arguments.name} is {_words(change)}" + (f" for {arguments.product}" if arguments.product else ""))
    if woken:
        print_line("the running agent was told")


def _show(places: Places, product: str | None, *, as_json: bool) -> None:
    found = _in_force(places, product)
    if as_json:
        print_json(found)
        return
    values = (
        ("automatic-install", found.automatic_install, "automatic_install"),
        ("ask-first", found.ask_first, "ask_first"),
        ("postpone", found.postpone_until, "postpone_until"),
        ("notify", found.notify, "notify"),
        ("poll-interval", f"{found.poll_interval_seconds}s", "poll_interval_seconds"),
        ("store-quota", f"{found.store_quota_mib}MiB", "store_quota_mib"),
        ("capture", found.capture, "capture"),
        ("crash-rollback", found.crash_rollback, "crash_rollback"),
        ("removal-allowed", found.removal_allowed, "removal_allowed"),
    )
    rows = [(name, _shown(value), source_words(found, field)) for name, value, field in values]
    print_table(("SETTING", "VALUE", "SET BY"), rows)
    for note in found.notes:
        print_line(paint(f"! {clean(note)}", "yellow"))


def source_words(found: EffectiveSettings, field: str) -> str:
    """Who set a field, for people."""
    source = found.sources[field]
    return f"{found.organisation} (managed policy)" if source is Source.MANAGED and found.organisation else source.value


def _in_force(places: Places, product: str | None) -> EffectiveSettings:
    known = ProductShelf(places).get(product) if product is not None else None
    return read_settings(places, known, SystemClock().now())


def _wake(places: Places) -> bool:
    """Bring the status file in line and wake a running agent."""
    # Here, not above: `suture settings` alone needs neither the journal nor the doors.
    from suture.agent.device import open_device
    from suture.agent.report import refresh_status

    try:
        with open_device(places) as device:
            return wake_agent(refresh_status(device))
    except SutureError:
        return False  # the setting is written; the agent reads it at its next look anyway


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "off" if value is None else f"until {value}" if "T" in str(value) else str(value)


def _words(change: Change) -> str:
    if change.value is None:
        return "off" if change.field == "postpone_until" else "left to its default"
    units = {"poll_interval_seconds": "s", "store_quota_mib": "MiB"}
    return _shown(f"{change.value}{units[change.field]}" if change.field in units else change.value)
