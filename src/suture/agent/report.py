"""What the device says of itself: the status, with an answer to every why. Built from the journal alone."""

from __future__ import annotations

import msgspec

from suture.agent.device import Device
from suture.agent.machine.choice import known_bad, obstacles
from suture.agent.machine.exposure import known_fixes
from suture.agent.machine.state import CRASHING, Holder, LevelRecord, LevelState, ProductState
from suture.agent.reboot import REBOOT_REQUIRED
from suture.agent.statusfile import write_status
from suture.core.errors import SutureError
from suture.core.level import display_of, letters_of
from suture.core.version import VERSION
from suture.wire.product import Product
from suture.wire.settings import EffectiveSettings
from suture.wire.status import (
    STATUS_FORMAT,
    HoldingProcess,
    LevelStatus,
    Measurements,
    OpenCve,
    ProductStatus,
    Reason,
    Status,
    TrustStatus,
)

AGENT_FACT = "agent"
TRUST_FACT = "trust"
MEASUREMENTS_FACT = "measurements"


class AgentProcess(msgspec.Struct, frozen=True):
    """The running agent; pid and start time (seconds since the epoch) name one process."""

    pid: int
    started: float


def refresh_status(device: Device) -> Status:
    """Build the status and replace the status file.

    Raises:
        StorageError: (or a kind of it) the old file is still there.
    """
    status = build_status(device)
    write_status(device.places, status)
    return status


def build_status(device: Device) -> Status:
    """The whole device, from the journal."""
    kept = device.journal.fact("", AGENT_FACT)
    agent = msgspec.json.decode(kept, type=AgentProcess) if kept else None
    products: list[ProductStatus] = []
    for product in device.shelf.list():
        products.append(_product_status(device, product))
    return Status(
        format=STATUS_FORMAT,
        written=device.now(),
        agent_version=VERSION,
        agent_pid=agent.pid if agent else None,
        agent_started=agent.started if agent else None,
        products=tuple(products),
    )


def _product_status(device: Device, product: Product) -> ProductStatus:
    now, settings = device.now(), device.settings(product)
    state = device.journal.load(product.product) or ProductState(product=product.product, baseline="")
    version = version_of(state.baseline) or product.title
    record = state.record(state.active)
    effective_states = (LevelState.EFFECTIVE, LevelState.EFFECTIVE_OWN)
    watch_clean = state.watch is None or state.watch.clean
    offered = [r.level for r in state.levels if r.level > state.active and r.recalled is None and not r.quarantined]
    return ProductStatus(
        product=product.product,
        title=product.title,
        baseline=state.baseline,
        display=f"{product.title} {display_of(version, state.active)}" if state.baseline else product.title,
        level=state.active,
        state=str(record.state) if record is not None else _baseline_word(state),
        effective=record.state in effective_states if record is not None else watch_clean and state.operation is None,
        offered_level=offered[-1] if offered else None,
        levels=tuple(_level_status(version, one) for one in state.levels),
        open_cves=open_cves(state),
        held_back_by=tuple(
            HoldingProcess(pid=h.pid, name=h.name, how=h.how, belongs_to=h.belongs_to)
            for h in (state.watch.holders if state.watch is not None else ())
        ),
        unknown_processes=state.watch.unknown if state.watch is not None else 0,
        why=why(state, settings, trust_status(device, product), now),
        trust=trust_status(device, product),
        settings=settings,
        measurements=measurements(device, product),
    )


def version_of(baseline: str) -> str:
    """The release's version in a baseline identity."""
    return baseline.rpartition("-")[0]


def _baseline_word(state: ProductState) -> str:
    if state.operation is not None:
        return "baseline"
    return "baseline" if state.watch is None or state.watch.clean else "baseline (old processes remain)"


def _level_status(version: str, record: LevelRecord) -> LevelStatus:
    return LevelStatus(
        level=record.level,
        display=display_of(version, record.level),
        state=str(record.state),
        digest=record.digest,
        cves=tuple(fix.cve for fix in record.fixes),
        at=record.at,
        reason=record.reason,
        detail=record.detail,
        patch_bytes=record.patch_bytes,
        removable=record.removable,
    )


def open_cves(state: ProductState) -> tuple[OpenCve, ...]:
    """The CVEs that this device is exposed to and that a known level fixes."""
    known = known_fixes(state)
    found: list[OpenCve] = []
    for cve, since in state.exposed_since:
        fix, level = known[cve]
        found.append(OpenCve(cve=cve, severity=fix.severity, fixed_by_level=level, since=since))
    return tuple(found)


def trust_status(device: Device, product: Product) -> TrustStatus:
    """What the last polls said."""
    kept = device.journal.fact(product.product, TRUST_FACT)
    return msgspec.json.decode(kept, type=TrustStatus) if kept is not None else TrustStatus(state="never")


def measurements(device: Device, product: Product) -> Measurements:
    """Figures of the latest transition."""
    kept = device.journal.fact(product.product, MEASUREMENTS_FACT)
    return msgspec.json.decode(kept, type=Measurements) if kept is not None else Measurements()


def why(state: ProductState, settings: EffectiveSettings, trust: TrustStatus, now: str) -> tuple[Reason, ...]:
    """Every reason for things being as they are, most pressing first. Pure."""
    reasons: list[Reason] = []
    operation = state.operation
    if operation is not None:
        text = f"it is at the step {operation.step} of an operation ({operation.kind} level {operation.level})"
        reasons.append(Reason(code="in-progress", text=text, since=operation.started, source="device"))
    if state.watch is not None and not state.watch.clean and operation is None:
        reasons.extend(_watch_reasons(state))
    for record in reversed(state.levels):
        if record.reason == CRASHING:
            reasons.append(_crash_reason(state, record))
        if record.level <= state.active:
            continue
        bad = known_bad(record)
        # What rules a level out for good is all there is to say of it; the rest would only be noise.
        for obstacle in (bad,) if bad is not None else obstacles(state, record, settings, now):
            text = f"({letters_of(record.level)}) is not installed: {obstacle.text}"
            reasons.append(Reason(code=obstacle.code, text=text, since=record.at, source=obstacle.source))
    stale = _stale_trust(trust, now)
    if stale is not None:
        reasons.append(stale)
    elif trust.state not in ("none", "changed", "never"):
        since = trust.last_success or trust.last_poll or now
        reasons.append(Reason(code=trust.state, text=trust.detail, since=since, source="repository"))
    if trust.rollout:
        text = f"the publisher's rollout document: {trust.rollout}"
        reasons.append(Reason(code="rollout", text=text, since=trust.last_poll or now, source="publisher"))
    return tuple(reasons)


def _crash_reason(state: ProductState, record: LevelRecord) -> Reason:
    """Crashes took a level back, and its CVEs are open again; or they did not, and somebody should know."""
    if record.level == state.active:
        text = f"{record.detail} since level {record.level} is in place; it stays, since it closes an exploited hole"
        return Reason(code=CRASHING, text=text, since=record.at, source="device")
    cves = ", ".join(fix.cve for fix in record.fixes) or "what it fixes"
    text = f"{cves}: open again, since level {record.level} was taken back ({record.detail}); tried again by itself"
    return Reason(code="re-exposed", text=text, since=record.at, source="device")


def _stale_trust(trust: TrustStatus, now: str) -> Reason | None:
    """Signed metadata that has expired, whether a poll said so or nobody could be asked since."""
    lapsed = trust.expires is not None and trust.expires <= now
    if trust.state != "expired" and not lapsed:
        return None
    since = (trust.expires if lapsed else None) or trust.last_poll or now
    text = (
        f"stale trust: what the publisher signed expired at {since}; nothing new is installed until it signs again, "
        "what is installed stays, and `suture remove` works as ever"
    )
    if trust.state != "expired" or not lapsed:
        text += f" ({trust.detail})" if trust.detail else ""
    return Reason(code="stale-trust", text=text, since=since, source="repository")


def _watch_reasons(state: ProductState) -> list[Reason]:
    watch = state.watch
    if watch is None:
        return []
    reasons = [_holder_reason(holder, watch.since) for holder in watch.holders]
    if watch.unknown and not watch.own_only:
        text = f"{watch.unknown} processes could not be read, so nobody can say what they run"
        reasons.append(Reason(code="unknown-processes", text=text, since=watch.since, source="device"))
    return reasons


def _holder_reason(holder: Holder, since: str) -> Reason:
    if holder.how == REBOOT_REQUIRED:
        text = "the machine must be rebooted before this takes effect; Suture does not do that unasked"
        return Reason(code=REBOOT_REQUIRED, text=text, since=since, source="publisher")
    text = f"process {holder.pid} ({holder.name}) still uses replaced files ({holder.how})"
    return Reason(code="old-code-runs", text=text, since=since, source=holder.belongs_to or "device")


def note_trust(device: Device, product: Product, trust: TrustStatus) -> None:
    """Keep what a poll said."""
    device.journal.keep_fact(product.product, TRUST_FACT, msgspec.json.encode(trust))


def trust_failure(error: SutureError, before: TrustStatus, now: str) -> TrustStatus:
    """The trust status after a failed poll."""
    return msgspec.structs.replace(before, state=error.code, last_poll=now, detail=error.message)
