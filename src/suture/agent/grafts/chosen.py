"""The graft that each product's file asks for, behind the one protocol that the rest of the agent knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from suture.agent.doors import Graft
from suture.agent.grafts.overlay import OverlayGraft
from suture.agent.grafts.switch import SwitchGraft
from suture.core.errors import RefusedError
from suture.improvement.layer import Layer
from suture.improvement.manifest import Pin
from suture.improvement.tree import FileEntry
from suture.wire.product import Product


class ChosenGraft:
    """Behind `suture.agent.doors.Graft`.

    Args:
        store: ``<state>/store``. hidden: ``<state>/grafts``.
        why_off: why no level may be grafted now; empty where it may.
    """

    atomic = True

    def __init__(self, store: Path, hidden: Path, why_off: Callable[[], str] = lambda: "") -> None:
        self._switch: Graft = SwitchGraft(store)
        self._overlay: Graft = OverlayGraft(store, hidden)
        self._why_off = why_off

    def _of(self, product: Product) -> Graft:
        return self._overlay if product.graft == "overlay" else self._switch

    def verify_pins(self, product: Product, pins: Mapping[str, Sequence[Pin]]) -> None:
        """As the chosen graft's."""
        self._of(product).verify_pins(product, pins)

    def stage(
        self,
        product: Product,
        baseline_identity: str,
        level: int,
        layers: Mapping[str, Layer],
        new_file: Callable[[str, FileEntry], Path],
        issued: datetime,
    ) -> Path:
        """As the chosen graft's."""
        return self._of(product).stage(product, baseline_identity, level, layers, new_file, issued)

    def verify(self, product: Product, baseline_identity: str, level: int, layers: Mapping[str, Layer]) -> None:
        """As the chosen graft's."""
        self._of(product).verify(product, baseline_identity, level, layers)

    def swap(self, product: Product, baseline_identity: str, level: int) -> float:
        """As the chosen graft's.

        Raises:
            RefusedError: every graft is kept off.
        """
        why = self._why_off()
        if level and why:
            raise RefusedError(
                f"cannot graft level {level} of {product.product}: grafts are off ({why})",
                advice="take that away; grafts that are kept off at boot come back with the next look of the agent",
            )
        return self._of(product).swap(product, baseline_identity, level)

    def current(self, product: Product, baseline_identity: str) -> int:
        """As the chosen graft's."""
        return self._of(product).current(product, baseline_identity)

    def tree(self, product: Product, baseline_identity: str, level: int) -> Path:
        """As the chosen graft's."""
        return self._of(product).tree(product, baseline_identity, level)

    def trees(self, product: Product, baseline_identity: str) -> tuple[tuple[int, Path], ...]:
        """As the chosen graft's."""
        return self._of(product).trees(product, baseline_identity)

    def levels(self, product: Product, baseline_identity: str) -> tuple[int, ...]:
        """As the chosen graft's."""
        return self._of(product).levels(product, baseline_identity)

    def discard(self, product: Product, baseline_identity: str, level: int) -> None:
        """As the chosen graft's."""
        self._of(product).discard(product, baseline_identity, level)

    def sweep(self) -> None:
        """All of them."""
        self._switch.sweep()
        self._overlay.sweep()
