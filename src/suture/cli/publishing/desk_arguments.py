"""What the signing commands share: the workshop, the baseline, passphrases, and how a change is said."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from suture.adapters.clock import SystemClock
from suture.cli.printing import clean, print_json, print_line
from suture.core.errors import InputError, NotKnownError, UsageError
from suture.core.level import parse_level
from suture.publisher.desk import Change, Desk
from suture.publisher.keys import Keyring
from suture.publisher.passphrases import Ask, Passphrases
from suture.publisher.published import read_published
from suture.publisher.staged import parse_baseline, staged_baselines
from suture.publisher.workshop import Workshop, WorkshopFile, open_workshop
from suture.wire.product import Product


class ChangeReport(msgspec.Struct, frozen=True):
    """What a signing command did, as JSON."""

    command: str
    product: str
    baseline: str
    changed: bool
    files: int
    written_bytes: int
    levels: tuple[int, ...] = ()
    detail: str = ""


def add_workshop(parser: argparse.ArgumentParser) -> None:
    """The workshop directory."""
    parser.add_argument("workshop", type=Path, metavar="WORKSHOP", help="the workshop directory")


def add_baseline(parser: argparse.ArgumentParser) -> None:
    """Which baseline release, where there are several."""
    parser.add_argument(
        "--baseline", metavar="VERSION[-ARCH]", help="the release; may be left out where the workshop has only one"
    )


def add_passphrases(parser: argparse.ArgumentParser, *, offline: bool = True) -> None:
    """Where passphrases come from; never the command line itself."""
    if offline:
        parser.add_argument(
            "--passphrase-file",
            type=Path,
            action="append",
            default=[],
            metavar="FILE",
            help="holds the offline keys' passphrase (more than once where keys have different ones)",
        )
    parser.add_argument(
        "--online-passphrase-file",
        type=Path,
        metavar="FILE",
        help="holds the online key's passphrase; else $CREDENTIALS_DIRECTORY/suture-online-passphrase, else asked",
    )


def passphrases_from(arguments: argparse.Namespace) -> Passphrases:
    """The passphrases that a command was given."""
    return Passphrases(
        offline_files=getattr(arguments, "passphrase_file", []),
        online_file=arguments.online_passphrase_file,
        environment=os.environ,
        ask=_asker(),
    )


def _asker() -> Ask | None:
    return getpass.getpass if sys.stdin.isatty() and sys.stderr.isatty() else None


@contextlib.contextmanager
def desk_from(arguments: argparse.Namespace, doing: str) -> Iterator[Desk]:
    """A desk in the locked workshop; `doing` completes "cannot …"."""
    workshop = open_workshop(arguments.workshop)
    with workshop.changing(doing) as settings:
        keyring = Keyring(workshop, settings, passphrases_from(arguments))
        yield Desk(workshop, settings, keyring, SystemClock().now())


def identity_from(arguments: argparse.Namespace, workshop: Workshop, settings: WorkshopFile) -> str:
    """The baseline's identity: the asked one, else the only one.

    Raises:
        UsageError: there are several. NotKnownError: there is none.
    """
    if arguments.baseline:
        return parse_baseline(arguments.baseline, default_architecture(workshop.product())).identity
    known = sorted({*read_published(workshop, settings).baselines(), *staged_baselines(workshop)})
    if not known:
        raise NotKnownError(
            "cannot tell which release is meant: nothing was built", advice="build with `suture publisher build`"
        )
    if len(known) > 1:
        raise UsageError(f"cannot tell which release is meant: name one with --baseline ({', '.join(known)})")
    return known[0]


def default_architecture(product: Product) -> str:
    """The product file's architecture, else this machine's."""
    return product.architecture or os.uname().machine


def levels_from(words: list[str]) -> list[int]:
    """Levels as people write them, without the baseline.

    Raises:
        InputError: none of these.
    """
    levels = [parse_level(word) for word in words]
    if 0 in levels:
        raise InputError("cannot use level 0: it is the baseline itself")
    return levels


def say_change(
    arguments: argparse.Namespace,
    desk: Desk,
    identity: str,
    change: Change,
    *,
    did: str,
    already: str,
    levels: list[int] | None = None,
) -> None:
    """Print what a command changed, or that everything was so already."""
    detail = did if change.changed else already
    if arguments.json:
        print_json(
            ChangeReport(
                command=arguments.publisher_command,
                product=desk.settings.product,
                baseline=identity,
                changed=change.changed,
                files=change.files,
                written_bytes=change.written_bytes,
                levels=tuple(levels or ()),
                detail=detail,
            )
        )
        return
    print_line(clean(detail))
    if change.changed:
        print_line(f"published {change.files} files, {change.written_bytes:,} bytes")
    else:
        print_line("nothing was changed")
