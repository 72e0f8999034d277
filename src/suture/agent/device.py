"""One device, opened: its places, its journal and its doors. Everything else in the room works on this."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from suture.adapters.clock import SystemClock
from suture.agent.doors import Graft, Health, PatchApplier, Restarter, Scanner
from suture.agent.grafts.chosen import ChosenGraft
from suture.agent.grafts_off import why_grafts_are_off
from suture.agent.health.checks import HealthChecks
from suture.agent.journal import Journal, open_journal
from suture.agent.manifests import ManifestShelf
from suture.agent.patching import ChildPatchApplier
from suture.agent.places import Places, prepare
from suture.agent.products import ProductShelf
from suture.agent.restarts.scan import ProcScanner
from suture.agent.restarts.supervised import SupervisedRestarter
from suture.agent.restarts.systemd import SystemdRestarter
from suture.agent.settings import read_settings
from suture.core.clock import Clock, format_time
from suture.wire.product import Product
from suture.wire.settings import EffectiveSettings, Source

_DEVICE = ""
"""Facts about the device itself are kept under the empty product name, which no product can have."""


@dataclass(slots=True)
class Device:
    """What the executor, the poller and the reports work on."""

    places: Places
    journal: Journal
    shelf: ProductShelf
    manifests: ManifestShelf
    graft: Graft
    services: Restarter
    units: Restarter
    scanner: Scanner
    health: Health
    applier: PatchApplier
    clock: Clock
    device_id: str
    is_root: bool

    def now(self) -> str:
        """The wall clock as the machine's events spell it."""
        return format_time(self.clock.now().replace(microsecond=0))

    def settings(self, product: Product) -> EffectiveSettings:
        """The settings in force for `product`, read anew."""
        settings = read_settings(self.places, product, self.clock.now())
        why = why_grafts_are_off(self.places)
        if not why:
            return settings
        sources = {**settings.sources, "automatic_install": Source.ADMINISTRATOR}
        notes = (*settings.notes, f"every graft is kept off: {why}; nothing is installed meanwhile")
        return msgspec.structs.replace(settings, automatic_install=False, sources=sources, notes=notes)


def device_id_of(journal: Journal) -> str:
    """This device's random id, made at first use. It never leaves the device; rollout shares are drawn from it."""
    kept = journal.fact(_DEVICE, "device-id")
    if kept is None:
        kept = secrets.token_hex(16).encode("ascii")
        journal.keep_fact(_DEVICE, "device-id", kept)
    return kept.decode("ascii")


@contextlib.contextmanager
def open_device(places: Places, clock: Clock | None = None) -> Iterator[Device]:
    """Open the device with its real doors.

    Raises:
        HostError: (or a kind of it) the state directory or the journal cannot be used.
    """
    prepare(places)
    with open_journal(places.journal) as journal:
        yield Device(
            places=places,
            journal=journal,
            shelf=ProductShelf(places),
            manifests=ManifestShelf(places.state / "manifests"),
            graft=ChosenGraft(places.store, places.state / "grafts", lambda: why_grafts_are_off(places)),
            services=SupervisedRestarter(places.state),
            units=SystemdRestarter(),
            scanner=ProcScanner(places.state),
            health=HealthChecks(places.state),
            applier=ChildPatchApplier(),
            clock=clock or SystemClock(),
            device_id=device_id_of(journal),
            is_root=os.geteuid() == 0,
        )
