"""``suture publisher keys``: list, add and rotate keys."""

from __future__ import annotations

import argparse
import stat

import msgspec

from suture.adapters.files import read_file
from suture.cli.printing import print_json, print_line, print_table
from suture.cli.publishing.desk_arguments import add_passphrases, add_workshop, desk_from, passphrases_from
from suture.publisher.keys import is_encrypted
from suture.publisher.rotating import change_keys
from suture.publisher.workshop import KeyRole, Workshop, open_workshop

NAME = "keys"
SUMMARY = "list the keys, add some to a role, or replace a role's"


class KeyReport(msgspec.Struct, frozen=True):
    """One key. `encrypted` and `mode` are None where the file is not here."""

    role: str
    keyid: str
    path: str
    present: bool
    encrypted: bool | None
    mode: str | None
    threshold: int
    retired: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add list, new and rotate."""
    commands = parser.add_subparsers(dest="keys_command", metavar="COMMAND", required=True)
    add_workshop(commands.add_parser("list", help="every key: role, id, file, encrypted, threshold"))
    for name, summary in (("new", "add keys to a role"), ("rotate", "replace a role's keys by new ones")):
        command = commands.add_parser(name, help=summary, description=summary)
        add_workshop(command)
        command.add_argument("role", type=KeyRole, choices=list(KeyRole), metavar="root|targets|release|online")
        command.add_argument("--count", type=int, default=1, metavar="N", help="how many new keys (1)")
        command.add_argument("--threshold", type=int, default=None, metavar="M", help="signatures needed from now on")
        add_passphrases(command)


def run(arguments: argparse.Namespace) -> int:
    """List or change."""
    if arguments.keys_command == "list":
        return _list(arguments)
    retire = arguments.keys_command == "rotate"
    with desk_from(arguments, "change keys") as desk:
        changed = change_keys(
            desk,
            arguments.role,
            passphrases_from(arguments),
            count=arguments.count,
            threshold=arguments.threshold,
            retire=retire,
        )
    threshold = changed.settings.thresholds.of(arguments.role)
    if arguments.json:
        print_json(
            {
                "command": f"keys {arguments.keys_command}",
                "changed": True,
                "role": arguments.role,
                "added": [record.keyid for record in changed.added],
                "retired": [record.keyid for record in changed.retired],
                "threshold": threshold,
            }
        )
        return 0
    for record in changed.added:
        print_line(f"added    {arguments.role} {record.keyid[:16]}  keys/{record.file}")
    for record in changed.retired:
        print_line(f"retired  {arguments.role} {record.keyid[:16]}  keys/{record.file} (destroy it)")
    print_line(
        f"{threshold} of {len(changed.settings.active(arguments.role))} {arguments.role} keys must sign from now on"
    )
    return 0


def _list(arguments: argparse.Namespace) -> int:
    workshop = open_workshop(arguments.workshop)
    reports = _reports(workshop)
    if arguments.json:
        print_json({"keys": reports})
        return 0
    print_table(
        ("ROLE", "KEY", "FILE", "STATE", "THRESHOLD"),
        [(report.role, report.keyid[:16], report.path, _state(report), str(report.threshold)) for report in reports],
    )
    return 0


def _reports(workshop: Workshop) -> list[KeyReport]:
    settings = workshop.settings()
    reports = []
    for record in settings.keys:
        path = workshop.keys / record.file
        present = path.is_file()
        reports.append(
            KeyReport(
                role=record.role.value,
                keyid=record.keyid,
                path=str(path),
                present=present,
                encrypted=is_encrypted(read_file(path, maximum_bytes=16 * 1024)) if present else None,
                mode=f"{stat.S_IMODE(path.stat().st_mode):04o}" if present else None,
                threshold=settings.thresholds.of(record.role),
                retired=record.retired,
            )
        )
    return reports


def _state(report: KeyReport) -> str:
    if report.retired:
        return "retired"
    if not report.present:
        return "not here"
    return f"{'encrypted' if report.encrypted else 'NOT ENCRYPTED'} {report.mode}"
