"""What an install would restart, before anything is done: `suture install --preview`.

It looks, from what the device already knows; it asks no repository, keeps nothing and changes nothing.
"""

from __future__ import annotations

import msgspec

from suture.agent.device import Device
from suture.agent.doors import ScanResult, User
from suture.agent.machine.choice import known_bad
from suture.agent.machine.state import LevelRecord, ProductState
from suture.agent.proof import changed_files, layers_of
from suture.agent.release import detect_baseline
from suture.agent.restarting import Restarting
from suture.agent.restarts.plan import PlannedRestart, RestartKind
from suture.core.errors import NothingToDoError, NotKnownError, SutureError
from suture.improvement.manifest import CommandCheck, HttpCheck, Manifest
from suture.wire.product import Product


class PreviewedProcess(msgspec.Struct, frozen=True):
    """A process that uses files which will change."""

    pid: int
    name: str
    how: str
    belongs_to: str | None = None


class PreviewedRestart(msgspec.Struct, frozen=True):
    """A unit or service that will restart, or would if nobody forbade it."""

    name: str
    kind: str
    way: str
    declared: bool
    """The improvement names it; else it was found to use files that will change."""
    runs: bool
    last_milliseconds: float | None
    """How long its last restart took, where there was one."""
    processes: tuple[PreviewedProcess, ...]


class Preview(msgspec.Struct, frozen=True):
    """All that will happen to running programs. `others` will go on with old code until somebody restarts them."""

    product: str
    baseline: str
    from_level: int
    level: int
    restarts: tuple[PreviewedRestart, ...]
    never: tuple[str, ...]
    others: tuple[PreviewedProcess, ...]
    unknown: int
    """Processes that could not be looked at."""
    checks: tuple[str, ...]
    reboot: bool


def preview_install(device: Device, product: Product, level: int | None) -> Preview:
    """Say what installing `level` (None: the highest good one known) would restart.

    Raises:
        NothingToDoError: it is in place, or no good level is known.
        NotKnownError: the device knows no such level, or has not read its manifest.
    """
    baseline = detect_baseline(product).identity
    state = device.journal.load(product.product)
    if state is None or state.baseline != baseline:
        raise NothingToDoError(
            f"cannot preview anything for {product.product}: nothing is known for {baseline}",
            advice=f"run `suture check {product.product}` first",
        )
    record = _wanted(state, level)
    manifest = device.manifests.get(product.product, baseline, record.level, record.digest)
    if manifest is None:
        raise NotKnownError(
            f"cannot preview level {record.level} of {product.product}: its manifest is not held",
            advice=f"run `suture check {product.product}` first",
        )
    users = find_future_users(device, product, state, manifest)
    restarting = Restarting(device, product)
    plan, times = restarting.plan(manifest, users), restarting.last_milliseconds()
    restarted = {one.name for one in plan.restarts}
    return Preview(
        product=product.product,
        baseline=baseline,
        from_level=state.active,
        level=record.level,
        restarts=tuple(_previewed(device, one, users, times) for one in plan.restarts),
        never=plan.never,
        others=tuple(_process(user) for user in users.users if user.belongs_to not in restarted),
        unknown=len(users.unknown),
        checks=tuple(_check_name(check) for check in manifest.health),
        reboot=plan.reboot,
    )


def find_future_users(device: Device, product: Product, state: ProductState, manifest: Manifest) -> ScanResult:
    """Processes that use files of the tree in place which `manifest` will change."""
    tree = device.graft.tree(product, state.baseline, state.active)
    new = {change.name: change.layer for change in manifest.components}
    files = changed_files(product, tree, layers_of(device, state, state.active), new)
    parts = [tree / component.path for component in product.components]
    return device.scanner.scan(device.scanner.old_files(parts, files, device.clock.now().timestamp()))


def _wanted(state: ProductState, level: int | None) -> LevelRecord:
    if level is not None:
        record = state.record(level)
        if record is None:
            raise NotKnownError(f"cannot preview level {level} of {state.product}: the repository has not offered it")
    else:
        good = [one for one in state.levels if known_bad(one) is None]
        if not good:
            raise NothingToDoError(f"cannot preview anything for {state.product}: no good level is known")
        record = good[-1]
    if record.level == state.active:
        raise NothingToDoError(f"cannot preview level {record.level} of {state.product}: it is in place already")
    return record


def _previewed(device: Device, one: PlannedRestart, users: ScanResult, times: dict[str, float]) -> PreviewedRestart:
    end = device.services if one.kind is RestartKind.SERVICE else device.units
    try:
        runs = end.is_running(one.name)
    except SutureError:
        runs = False
    own = tuple(_process(user) for user in users.users if user.belongs_to == one.name)
    return PreviewedRestart(one.name, one.kind, one.way, one.declared, runs, times.get(one.name), own)


def _process(user: User) -> PreviewedProcess:
    return PreviewedProcess(user.pid, user.name, user.how, user.belongs_to)


def _check_name(check: object) -> str:
    return check.name if isinstance(check, CommandCheck | HttpCheck) else "stays-up"
