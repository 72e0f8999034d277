"""What a level's restarts are, before anything is done: which units and services, how, in which order, which never.

The one plan that both the preview shows and the restart step obeys. It decides from words alone: nothing is asked of
the host here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from suture.improvement.manifest import Restart, RestartClass
from suture.wire.product import Product, UnitWay


class RestartKind(StrEnum):
    """Which real end restarts it."""

    SERVICE = "service"
    UNIT = "unit"


@dataclass(frozen=True, slots=True)
class PlannedRestart:
    """One restart. `declared`: the manifest names it, so its failure is the level's; else it was found to use files."""

    name: str
    kind: RestartKind
    way: UnitWay
    declared: bool


@dataclass(frozen=True, slots=True)
class RestartPlan:
    """Restarts in order; `never` are those that would be among them if nobody forbade it; a reboot is only asked for,
    never done."""

    restarts: tuple[PlannedRestart, ...]
    never: tuple[str, ...]
    reboot: bool


def plan_restarts(
    restart: Restart, product: Product, owners: Iterable[str], forbidden: Collection[str] = ()
) -> RestartPlan:
    """Plan the restarts of one level.

    Args:
        restart: what its manifest declares.
        product: the device's own list of what may restart, how, in which order, and what never.
        owners: units and services whose processes use files that change; others than the product's are left alone.
        forbidden: what a managed policy forbids to restart, beside the product file's `never_restart`.

    Returns:
        The plan: services before units, declared before found, unless the product file gives an order.
    """
    if restart.category is RestartClass.NONE:
        return RestartPlan((), (), reboot=False)
    found = sorted(set(owners))
    planned: list[PlannedRestart] = []
    for kind, declared, allowed in (
        (RestartKind.SERVICE, restart.services, product.services),
        (RestartKind.UNIT, restart.units, product.units),
    ):
        for name in dict.fromkeys([*declared, *(owner for owner in found if owner in allowed)]):
            way = product.unit_ways.get(name, UnitWay.TRY_RESTART) if kind is RestartKind.UNIT else UnitWay.TRY_RESTART
            planned.append(PlannedRestart(name, kind, way, name in declared))
    place = {name: position for position, name in enumerate(product.restart_order)}
    planned.sort(key=lambda one: place.get(one.name, len(place)))
    stays = {*product.never_restart, *forbidden}
    return RestartPlan(
        restarts=tuple(one for one in planned if one.name not in stays),
        never=tuple(one.name for one in planned if one.name in stays),
        reboot=restart.category is RestartClass.MACHINE,
    )
