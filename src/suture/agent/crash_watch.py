"""After a swap: do services crash that did not before? The machine hears of it, once and within a grace time."""

from __future__ import annotations

import msgspec

from suture.agent.device import Device
from suture.agent.health.crashes import Crashes, find_crashing, read_crashes
from suture.agent.machine.events import Crashing
from suture.agent.machine.state import CRASHING, IN_PLACE, ProductState
from suture.agent.restarts.systemd import SystemdRestarter
from suture.wire.product import Product

GRACE_SECONDS = 600.0
"""After a swap, crashes within this time are laid at the new level's door; later ones have other causes as likely."""
_FACT = "crashes-before"


class CrashesBefore(msgspec.Struct, frozen=True):
    """The counters just before `level` came."""

    level: int
    counters: dict[str, Crashes]


def note_crashes(device: Device, product: Product, level: int) -> None:
    """Keep the counters as they are, right before the swap to `level`."""
    fact = CrashesBefore(level, _read(device, product))
    device.journal.keep_fact(product.product, _FACT, msgspec.json.encode(fact))


def is_in_grace(device: Device, state: ProductState) -> bool:
    """The level in place is so young that its crashes count."""
    if state.active == 0 or state.watch is None:
        return False
    return 0 <= device.clock.now().timestamp() - state.watch.swapped_at <= GRACE_SECONDS


def look_for_crashes(device: Device, product: Product, state: ProductState) -> Crashing | None:
    """The event that the machine must hear, or None."""
    record = state.record(state.active)
    if record is None or state.operation is not None or record.state not in IN_PLACE:
        return None
    kept = device.journal.fact(product.product, _FACT)
    if kept is None or not is_in_grace(device, state):
        return None
    before = msgspec.json.decode(kept, type=CrashesBefore)
    if before.level != state.active:
        return None
    detail = find_crashing(before.counters, _read(device, product))
    if not detail:
        return None
    manifest = device.manifests.get(state.product, state.baseline, state.active, record.digest)
    exploited = manifest is not None and any(fix.known_exploited for fix in manifest.fixes)
    takes_back = not exploited or device.settings(product).crash_rollback
    if record.reason == CRASHING and not takes_back:
        return None  # it was said already
    return Crashing(device.now(), state.active, detail, takes_back)


def _read(device: Device, product: Product) -> dict[str, Crashes]:
    units = device.units if isinstance(device.units, SystemdRestarter) else SystemdRestarter()
    return read_crashes(units, device.places.state, product.units, product.services)
