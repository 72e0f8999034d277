"""A visit to one product's repository: ask, judge what is on offer, fetch what the machine decided on.

Verdicts only: nothing here installs. No device lock is held; one visit a product at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from suture.adapters.files import exclusive_lock, make_directory
from suture.adapters.tuf_client import PollAnswer, RepositoryClient
from suture.agent.device import Device
from suture.agent.eligibility import verify_eligible
from suture.agent.machine.events import Offer, Polled, StepDone, StepFailed
from suture.agent.machine.state import FixedCve, Operation, ProductState, Step
from suture.agent.report import note_trust, refresh_status, trust_failure, trust_status
from suture.agent.steps import StepRunner, choose_patch, patch_name, step_failed
from suture.core.clock import Clock, floored, format_time, parse_time
from suture.core.digests import Digest
from suture.core.errors import ImprovementError, NotAllowedError, RefusedError, SutureError
from suture.core.limits import MAXIMUM_MANIFEST_BYTES
from suture.improvement.manifest import Manifest
from suture.trust.documents import Index, IndexedLevel
from suture.trust.floors import Floors
from suture.trust.offers import LevelOffer, RolloutState, offered_levels
from suture.trust.offers import Offer as Standing
from suture.trust.paths import manifest_path
from suture.wire.product import Product
from suture.wire.status import Measurements, TrustStatus

FLOORS_FACT = "floors"
INDEX_FACT = "index"
MANIFESTS_A_VISIT = 3
"""The highest good levels whose manifests are read; lower ones are never installed while these stand."""
_STANDINGS = {Standing.NOT_YET: "not-in-share", Standing.PAUSED: "paused", Standing.NO_ROLLOUT: "no-rollout"}


class CancelledError(RefusedError):
    """The operation that was being fetched for is no longer the journal's."""

    code = "cancelled"


class Visit:
    """One open visit. Use `open_visit`."""

    def __init__(self, device: Device, product: Product, baseline: str, client: RepositoryClient) -> None:
        self.device = device
        self.product = product
        self.baseline = baseline
        self.client = client
        self._seen_bytes = 0
        self._seen_connections = 0

    def ask(self, *, may_start: bool = True) -> Polled:
        """Poll, and turn the answer into the machine's event.

        Raises:
            NetworkError, TrustError, HostError: kept in the trust status too; nothing changed.
        """
        device, product = self.device, self.product
        try:
            answer = self.client.poll()
            offers = self._offers(answer)
        except SutureError as error:
            note_trust(device, product, trust_failure(error, trust_status(device, product), device.now()))
            self._keep_floors()
            refresh_status(device)
            raise
        self._keep_floors()
        device.journal.keep_fact(product.product, INDEX_FACT, msgspec.json.encode(answer.index))
        note_trust(device, product, _trust_of(answer, device.now()))
        return Polled(device.now(), device.settings(product), offers, may_start)

    def _keep_floors(self) -> None:
        name = self.product.product
        self.device.journal.keep_fact(name, FLOORS_FACT, msgspec.json.encode(self.client.floors))
        traffic = self.client.traffic
        runner = StepRunner(self.device, self.product)
        kept = self.device.journal.fact(name, "measurements")
        before = msgspec.json.decode(kept, type=Measurements) if kept is not None else Measurements()
        runner.measure(
            downloaded_bytes=before.downloaded_bytes + traffic.bytes_received - self._seen_bytes,
            connections=before.connections + traffic.connections - self._seen_connections,
        )
        self._seen_bytes, self._seen_connections = traffic.bytes_received, traffic.connections

    # --- what is on offer --------------------------------------------------------------------------------------------

    def _offers(self, answer: PollAnswer) -> tuple[Offer, ...]:
        manifests, refusals = self._manifests(answer.index)

        def full_by(entry: IndexedLevel) -> datetime | None:
            manifest = manifests.get(entry.level)
            return None if manifest is None else parse_time(manifest.full_by)

        standings = offered_levels(
            answer.index,
            answer.rollout,
            device_id=self.device.device_id,
            now=floored(self.device.clock.now(), self.client.floors.clock_time),
            full_by=full_by,
        )
        return tuple(_offer(one, manifests.get(one.level), refusals.get(one.level)) for one in standings)

    def _manifests(self, index: Index) -> tuple[dict[int, Manifest], dict[int, str]]:
        """The manifests of the highest good levels, and the codes of those that this device cannot take."""
        manifests: dict[int, Manifest] = {}
        refusals: dict[int, str] = {}
        recalled = {recall.level for recall in index.recalls}
        fetched = 0
        for entry in reversed(index.levels):
            try:
                held = self.device.manifests.get(self.product.product, self.baseline, entry.level, entry.digest)
                if held is None and entry.level not in recalled and fetched < MANIFESTS_A_VISIT:
                    fetched += 1
                    held = self._fetch_manifest(entry)
                if held is not None:
                    manifests[entry.level] = held
                    verify_eligible(held, self.product)
            except SutureError as error:
                if not _is_about_the_level(error):
                    raise
                refusals[entry.level] = error.code
        return manifests, refusals

    def _fetch_manifest(self, entry: IndexedLevel) -> Manifest:
        path = manifest_path(self.product.product, self.baseline, entry.level)
        data = self.client.fetch_document(path, MAXIMUM_MANIFEST_BYTES, entry.digest)
        manifest = self.device.manifests.keep(self.product.product, self.baseline, entry.level, data)
        self.client.floors = self.client.floors.raised_clock(manifest.issued)
        return manifest

    # --- fetching ----------------------------------------------------------------------------------------------------

    def fetch(self, state: ProductState, operation: Operation) -> StepDone | StepFailed | None:
        """Download the patches that the operation needs; None where it was cancelled meanwhile."""
        device = self.device
        runner = StepRunner(device, self.product)
        try:
            manifest = runner.manifest(state, operation.level)
            waiting = runner.waiting_directory(state, operation.level)
            make_directory(waiting)
            for change in manifest.components:
                reference = choose_patch(change, operation.origin)
                destination = waiting / patch_name(change, reference)
                self.client.fetch_patch(
                    reference.target, reference.digest, reference.size, destination, self._watcher(operation)
                )
        except CancelledError:
            return None
        except SutureError as error:
            self._keep_floors()
            return step_failed(device.now(), operation, error)
        self._keep_floors()
        return StepDone(device.now(), operation.number, Step.FETCH)

    def _watcher(self, operation: Operation) -> _Watcher:
        return _Watcher(self.device, self.product, operation)


class _Watcher:
    """Called while a patch comes in; stops it when a person has taken the operation back."""

    def __init__(self, device: Device, product: Product, operation: Operation) -> None:
        self._device, self._product, self._operation = device, product, operation
        self._looked = device.clock.monotonic()

    def __call__(self, *_: object) -> None:
        if self._device.clock.monotonic() - self._looked < 0.5:
            return
        self._looked = self._device.clock.monotonic()
        state = self._device.journal.load(self._product.product)
        if state is None or state.operation is None or state.operation.number != self._operation.number:
            raise CancelledError("cannot go on fetching: the operation was cancelled")


@contextlib.contextmanager
def open_visit(device: Device, product: Product, baseline: str, *, wait_seconds: float = 0.0) -> Iterator[Visit]:
    """Open a visit, waiting `wait_seconds` for another process's to end.

    Raises:
        BusyError: another process visits the repository of this product.
    """
    lock = device.places.fetched / f"{product.product}.lock"
    with exclusive_lock(lock, doing=f"visit the repository of {product.product}", wait_seconds=wait_seconds):
        with _client(device, product, baseline, device.clock) as client:
            yield Visit(device, product, baseline, client)


def _client(device: Device, product: Product, baseline: str, clock: Clock) -> RepositoryClient:
    floors = device.journal.fact(product.product, FLOORS_FACT)
    index = device.journal.fact(product.product, INDEX_FACT)
    known = msgspec.json.decode(index, type=Index) if index is not None else None
    if known is not None and known.baseline != baseline:
        known = None
    mirrors = device.settings(product).mirrors
    return RepositoryClient(
        product.product,
        baseline,
        Path(device.places.trust(product.product)),
        (*mirrors, *product.repositories),
        Digest(product.first_root),
        msgspec.json.decode(floors, type=Floors) if floors is not None else Floors(),
        clock,
        known_index=known,
        # Who wrote the settings chose these hosts, so they may be plain http: paths are all that a listener learns.
        allow_http_hosts={urlsplit(address).hostname or "" for address in mirrors},
    )


def _offer(standing: LevelOffer, manifest: Manifest | None, refusal: str | None) -> Offer:
    not_offered = _STANDINGS.get(standing.offer, "")
    if refusal is not None:
        not_offered = refusal
    elif manifest is None and standing.offer is Standing.OFFERED:
        not_offered = "not-held"
    return Offer(
        level=standing.level,
        digest=standing.digest,
        offered=standing.offer is Standing.OFFERED and not not_offered,
        not_offered=not_offered,
        recalled=standing.reason or "no reason given" if standing.offer is Standing.RECALLED else None,
        fixes=None if manifest is None else tuple(FixedCve(fix.cve, str(fix.severity)) for fix in manifest.fixes),
        patch_bytes=0 if manifest is None else _smallest(manifest),
        removable=True if manifest is None else manifest.removable,
    )


def _is_about_the_level(error: SutureError) -> bool:
    return isinstance(error, ImprovementError | NotAllowedError)


def _trust_of(answer: PollAnswer, now: str) -> TrustStatus:
    rollout = answer.rollout
    words = ""
    if rollout.state is not RolloutState.PRESENT:
        since = f" since {format_time(rollout.since)}" if rollout.since is not None else ""
        words = f"{rollout.state}{since}, so nothing new is offered"
    elif rollout.document is not None and rollout.document.pause is not None:
        pause = rollout.document.pause
        words = f"paused since {pause.since} until {pause.until}: {pause.reason}"
    return TrustStatus(
        state="changed" if answer.changed else "none",
        last_poll=now,
        last_success=now,
        expires=format_time(answer.earliest_expiry.replace(microsecond=0)),
        rollout=words,
    )


def _smallest(manifest: Manifest) -> int:
    """Bytes of the smallest patch of each component."""
    return sum(min((patch.size for patch in change.patches), default=0) for change in manifest.components)
