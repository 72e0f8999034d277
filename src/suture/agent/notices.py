"""Telling people what the agent did by itself, where the settings say so: one line, one program, never a second try.

A user's own agent asks the desktop (`notify-send`); a system agent writes to the terminals of whoever is logged in
(wall(1)). A machine without either keeps silent: the status and the history say it all the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from suture.adapters.process import run_bounded
from suture.agent.machine.state import LevelRecord, LevelState, ProductState
from suture.core.errors import SutureError
from suture.core.level import display_of
from suture.wire.product import Product

SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin"
TIMEOUT_SECONDS = 5.0
_EFFECTIVE = (LevelState.EFFECTIVE, LevelState.EFFECTIVE_OWN)


def notice_of(product: Product, before: ProductState | None, after: ProductState) -> str | None:
    """What a person should hear of a round that led from `before` to `after`; None where nothing happened to them."""
    old = before.active if before is not None else 0
    version = after.baseline.rpartition("-")[0]
    name = f"{product.title} {display_of(version, after.active)}"
    bad = _newly(before, after, LevelState.ROLLED_BACK)
    if bad is not None:
        failed = display_of(version, bad.level)
        return f"{product.title}: {failed} was taken back by itself ({bad.reason}); {name} is in place."
    if after.active < old:
        left = after.record(old)
        why = left.state if left is not None else "left"
        return f"{product.title}: {display_of(version, old)} is {why}; {name} is in place."
    record = after.record(after.active)
    if record is None:
        return None
    was = before.record(record.level) if before is not None else None
    newly_effective = record.state in _EFFECTIVE and (was is None or was.state not in _EFFECTIVE)
    if newly_effective and (after.active != old or (was is not None and was.state is LevelState.ACTIVATING)):
        fixed = ", ".join(fix.cve for fix in record.fixes)
        return f"{name} is in effect. It fixes {fixed}."
    if record.state is LevelState.ACTIVATING and after.active != old:
        return f"{name} is installed and waits for programs that still run the old code (suture why)."
    return None


def _newly(before: ProductState | None, after: ProductState, state: LevelState) -> LevelRecord | None:
    for record in after.levels:
        was = before.record(record.level) if before is not None else None
        if record.state is state and (was is None or was.at != record.at or was.state is not state):
            return record
    return None


def send_notice(text: str, environment: Mapping[str, str], *, is_root: bool, search_path: str = SEARCH_PATH) -> bool:
    """Show `text` to people.

    Args:
        text: one line.
        environment: the agent's own; only the desktop bus's address is taken from it.
        is_root: a system agent.
        search_path: where the programs are looked for.

    Returns:
        Whether a program took it.
    """
    program = shutil.which("wall" if is_root else "notify-send", path=search_path)
    if program is None:
        return False
    kept = {name: environment[name] for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR") if name in environment}
    words = [program, text] if is_root else [program, "--app-name=Suture", "Security improvement", text]
    try:
        result = run_bounded(words, environment={"PATH": search_path, **kept}, timeout_seconds=TIMEOUT_SECONDS)
    except SutureError:
        return False
    return result.status == 0
