"""What a monitoring system is told of a repository's signatures: Prometheus text exposition format 0.0.4.

Pure: lives and a time in, text out. A file that is not written again is itself the alarm (`…_refreshed_…`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from suture.publisher.refreshing import RoleLife

_HELP = (
    ("suture_role_expires_timestamp_seconds", "When the role's signature ends, seconds since the epoch."),
    ("suture_role_due", "1 when less than half of the role's life is left."),
    ("suture_role_version", "The role's version."),
)


def metrics_text(product: str, lives: Sequence[RoleLife], now: datetime) -> str:
    """One gauge a role and fact, and when this was written.

    Args:
        product: the product's name.
        lives: every role's.
        now: aware.
    """
    lines: list[str] = []
    for name, words in _HELP:
        lines += [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
        for life in lives:
            keys = "offline" if life.offline else "online"
            labels = f'product="{_escaped(product)}",role="{_escaped(life.role)}",keys="{keys}"'
            lines.append(f"{name}{{{labels}}} {_value(name, life)}")
    name = "suture_refreshed_timestamp_seconds"
    lines += [f"# HELP {name} When `suture publisher refresh` last ended well.", f"# TYPE {name} gauge"]
    lines.append(f'{name}{{product="{_escaped(product)}"}} {now.timestamp():.0f}')
    return "\n".join(lines) + "\n"


def _value(name: str, life: RoleLife) -> str:
    if name == "suture_role_due":
        return "1" if life.is_due else "0"
    return str(life.version) if name == "suture_role_version" else f"{life.expires.timestamp():.0f}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
