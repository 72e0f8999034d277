"""What a fleet costs its publisher a month: arithmetic over the figures of `scale.py`, every assumption an option.

Prints JSON. Assumed, not measured: the bytes of a TLS 1.3 handshake with an ECDSA chain, handshakes a core, prices.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from accounting import KEPT

HOURS = 730.5
"""A month: a twelfth of 365.25 days."""


def cost(figures: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    """A month of polls, of signatures renewed, and of levels."""
    devices, products = options.devices, options.products
    polls = devices * HOURS / options.interval_hours
    renewals = devices * products * HOURS / 24 / options.renewal_days
    releases = devices * products * options.levels_a_month
    unchanged = products * figures["no_change"]["bytes"] + options.handshake_bytes
    renewed = figures["signed_again_without_news"]
    level = figures["new_level_without_patch"]
    requests = products * polls * figures["no_change"]["requests"]
    requests += renewals * (renewed["requests"] - 1) + releases * level["requests"]
    received = polls * unchanged + renewals * renewed["bytes"] + releases * (level["bytes"] + options.patch_bytes)
    a_second = polls / HOURS / 3600
    return {
        "devices": devices,
        "polls_a_second": round(a_second),
        "requests_a_month_thousand_million": round(requests / 1e9, 1),
        "terabytes_a_month": round(received / 1e12, 1),
        "mean_gigabits_a_second": round(received * 8 / (HOURS * 3600) / 1e9, 2),
        "of_it_no_change_polls_percent": round(100 * polls * unchanged / received),
        "cores_for_handshakes": round(a_second / options.handshakes_a_core, 1),
        "delivery_network_dollars": round(
            requests / 10_000 * options.dollars_a_10000_requests + received / 1e9 * options.dollars_a_gigabyte
        ),
        "kilobytes_a_device": round(received / devices / 1000, 1),
    }


def main() -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", type=Path, default=KEPT / "scale.json")
    parser.add_argument("--devices", type=float, default=100e6)
    parser.add_argument("--products", type=int, default=1, help="of one publisher on each device, on one connection")
    parser.add_argument("--interval-hours", type=float, default=1.0)
    parser.add_argument("--renewal-days", type=float, default=3.5, help="between two timestamps: half of their life")
    parser.add_argument("--levels-a-month", type=float, default=1.0)
    parser.add_argument("--patch-bytes", type=float, default=20_000)
    parser.add_argument(
        "--handshake-bytes", type=float, default=3_500, help="server to device, TLS 1.3, two certificates"
    )
    parser.add_argument("--handshakes-a-core", type=float, default=3_000, help="ECDSA P-256, a second")
    parser.add_argument("--dollars-a-10000-requests", type=float, default=0.0075)
    parser.add_argument("--dollars-a-gigabyte", type=float, default=0.02)
    options = parser.parse_args()
    print(json.dumps(cost(json.loads(options.figures.read_text()), options), indent=1))


if __name__ == "__main__":
    main()
