"""``suture publisher status``: what expires when, levels, recalls, pauses, sizes."""

from __future__ import annotations

import argparse

from suture.adapters.clock import SystemClock
from suture.cli.printing import clean, print_json, print_line, print_table
from suture.cli.publishing.desk_arguments import add_workshop
from suture.publisher.reporting import BaselineReport, LevelReport, report_workshop
from suture.publisher.workshop import open_workshop

NAME = "status"
SUMMARY = "what expires when, levels, recalls, pauses and sizes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_workshop(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    report = report_workshop(open_workshop(arguments.workshop), SystemClock().now())
    if arguments.json:
        print_json(report)
        return 0
    print_line(f"{clean(report.title)} ({report.product}), repository {report.repository_bytes:,} bytes")
    if report.unfinished:
        print_line("a killed command left a publication; the next command that signs will end it")
    print_line()
    print_table(
        ("ROLE", "KEYS", "VERSION", "EXPIRES", "DAYS LEFT"),
        [
            (
                role.role,
                "offline" if role.offline else "online",
                str(role.version),
                role.expires,
                f"{role.days_left:.1f}{' (due)' if role.due else ''}",
            )
            for role in report.roles
        ],
    )
    for baseline in report.baselines:
        _print_baseline(baseline)
    return 0


def _print_baseline(baseline: BaselineReport) -> None:
    print_line()
    print_line(f"baseline {baseline.baseline}")
    if baseline.pause is not None:
        print_line(f"paused since {baseline.pause.since} until {baseline.pause.until}: {clean(baseline.pause.reason)}")
    print_table(
        ("LEVEL", "SHOWN AS", "STATE", "SHARE", "PATCH BYTES", "FULL BYTES", "CVES"),
        [_row(level) for level in baseline.levels],
    )


def _row(level: LevelReport) -> tuple[str, ...]:
    state = f"recalled ({level.recall_reason})" if level.recall_reason else level.state
    return (
        str(level.level),
        level.display,
        state,
        "" if level.permille is None else f"{level.permille}/1000",
        f"{level.patch_bytes:,}",
        "" if level.full_bytes is None else f"{level.full_bytes:,}",
        " ".join(level.cves),
    )
