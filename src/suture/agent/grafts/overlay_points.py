"""The places where programs see a graft: which level each shows, and how it is made to show another one.

A new graft is slipped under the old one, and then the old one is taken off the top, so at every moment a program finds
one of the two (1,000 swaps under a loop of opens: bench/swap_overlay.py). Where the kernel cannot do that, the new one
is stacked on top, and popped on the way back. Only mounts that Suture made are ever taken away.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from suture.adapters.files import host_errors
from suture.adapters.mounts import Mount, attach, clone_of, detach, mount_number_of, mounts
from suture.agent.product_rules import grafted_paths
from suture.core.errors import RefusedError, StorageError
from suture.wire.product import Product

_PREFIX = "suture:"
_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Planned:
    """A place and what it shall show: a path in a hidden tree to clone, or None for the baseline."""

    point: Path
    source: Path | None


class Points:
    """The grafted places of one product's release, as the mount table has them now.

    Args:
        product, baseline_identity: whose grafts.
    """

    def __init__(self, product: str, baseline_identity: str) -> None:
        self._product = product
        self._release = f"{_PREFIX}{product}/{baseline_identity}/"
        self._table = {one.number: one for one in mounts()}
        self._by_point = {one.point: one for one in self._table.values()}

    def level_at(self, point: Path) -> int:
        """The level that a place shows: 0 for the baseline, -1 for another release's graft."""
        stack = self._stack(point)
        if not stack:
            return 0
        source = stack[-1].source
        return int(source.removeprefix(self._release)) if source.startswith(self._release) else _UNKNOWN

    def _stack(self, point: Path) -> list[Mount]:
        """This product's grafts at a place, the visible one last.

        Raises:
            RefusedError: somebody else mounted something over it.
        """
        if not os.path.lexists(point):
            return []  # the product's files are gone: nothing can be mounted there
        with host_errors(f"look at {point}"):
            descriptor = _open_point(point)
            try:
                top = self._table.get(mount_number_of(descriptor))
            finally:
                os.close(descriptor)
        stack: list[Mount] = []
        while top is not None and top.point == str(point):
            if not top.source.startswith(f"{_PREFIX}{self._product}/"):
                raise RefusedError(
                    f"cannot graft at {point}: somebody else mounted {top.source} there",
                    advice="take that mount away, or tell the product's vendor",
                )
            stack.insert(0, top)
            top = self._table.get(top.parent)
        return stack

    def refuse_strangers_below(self, point: Path) -> None:
        """A graft would cover what somebody mounted below a component, so there is none then.

        Raises:
            RefusedError: names the mount.
        """
        for one in self._table.values():
            if point in Path(one.point).parents and not one.source.startswith(f"{_PREFIX}{self._product}/"):
                raise RefusedError(f"cannot graft at {point}: {one.source} is mounted at {one.point} below it")

    def show(self, plan: Sequence[Planned], *, beneath: bool) -> None:
        """Make every place show what is planned, in order; where one fails, the earlier ones go back.

        Args:
            beneath: may slip the new graft under the old one.

        Raises:
            RefusedError, StorageError: nothing changed, or what changed was put back.
        """
        before = {one.point: self._stack(one.point) for one in plan}
        for one in plan:
            if one.source is not None:
                self.refuse_strangers_below(one.point)
        new = _clones({one.point: one.source for one in plan if one.source is not None})
        try:
            old = _clones({point: point for point, stack in before.items() if stack})
            try:
                self._show_all(plan, before, new, old, beneath=beneath)
            finally:
                _close(old)
        finally:
            _close(new)

    def _show_all(
        self,
        plan: Sequence[Planned],
        before: Mapping[Path, list[Mount]],
        new: Mapping[Path, int],
        old: Mapping[Path, int],
        *,
        beneath: bool,
    ) -> None:
        begun: list[Path] = []
        try:
            for one in plan:
                with host_errors(f"graft at {one.point}"):
                    begun.append(one.point)
                    self._show_one(one, before[one.point], new.get(one.point), beneath=beneath)
        except BaseException:
            for point in reversed(begun):
                # Best effort: what is not put back shows in the mount table, and the next recovery does it.
                with contextlib.suppress(OSError, StorageError):
                    _put_back(point, before[point], old.get(point), beneath=beneath)
            raise

    def _show_one(self, one: Planned, stack: list[Mount], clone: int | None, *, beneath: bool) -> None:
        if clone is None or one.source is None:
            for _ in stack:
                _pop(one.point)
            return
        if stack and self._is_same(stack[-1], one.source):
            return
        if len(stack) > 1 and self._is_same(stack[-2], one.source):
            _pop(one.point)
        else:
            _cover(one.point, clone, replaces=bool(stack), beneath=beneath)

    def _is_same(self, mount: Mount, source: Path) -> bool:
        """The mount shows what is at `source`, of the very same file system."""
        origin = next(one for point in (source, *source.parents) if (one := self._by_point.get(str(point))))
        inside = os.path.normpath(os.path.join(origin.root, os.path.relpath(source, origin.point)))
        return (mount.device, mount.root) == (origin.device, inside)


def _clones(sources: Mapping[Path, Path]) -> dict[Path, int]:
    """Detached clones of all that is to be shown, or shown again, made before the first place changes."""
    made: dict[Path, int] = {}
    try:
        for point, source in sources.items():
            with host_errors(f"prepare the graft at {point}"):
                made[point] = clone_of(source)
    except BaseException:
        _close(made)
        raise
    return made


def _close(clones: Mapping[Path, int]) -> None:
    for descriptor in clones.values():
        os.close(descriptor)


def _open_point(point: Path) -> int:
    if os.path.realpath(point) != str(point):
        raise StorageError(f"cannot graft at {point}: it is reached through a symbolic link")
    return os.open(point, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)


def _pop(point: Path) -> None:
    top = _open_point(point)
    try:
        detach(top)
    finally:
        os.close(top)


def _cover(point: Path, clone: int, *, replaces: bool, beneath: bool) -> None:
    """Show a clone in place of what is shown now, with no moment in between."""
    top = _open_point(point)
    try:
        if replaces and beneath and _slip_beneath(clone, top):
            detach(top)
        else:
            attach(clone, top)
    finally:
        os.close(top)


def _slip_beneath(clone: int, top: int) -> bool:
    """False where the kernel cannot (EINVAL before Linux 6.5)."""
    try:
        attach(clone, top, beneath=True)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return False
    return True


def _put_back(point: Path, before: Sequence[Mount], old: int | None, *, beneath: bool) -> None:
    top = _open_point(point)
    try:
        number = mount_number_of(top)
    finally:
        os.close(top)
    if number == (before[-1].number if before else None):
        return
    now = next((one for one in mounts() if one.number == number), None)
    covered = now is not None and now.point == str(point)
    if old is not None:
        _cover(point, old, replaces=covered, beneath=beneath)
    elif covered:
        _pop(point)


def is_grafted(product: Product) -> bool:
    """Whether any level of the product is grafted somewhere in its baseline, of whatever release.

    Raises:
        StorageError: there is no mount table.
    """
    with host_errors("read the mount table"):
        table = mounts()
    points = {str(point) for point in points_of(product)}
    return any(one.point in points and one.source.startswith(f"{_PREFIX}{product.product}/") for one in table)


def points_of(product: Product) -> tuple[Path, ...]:
    """Every place where a graft of the product may be: component directories, and single files."""
    root = Path(os.path.realpath(product.root))
    return tuple(root / path.relative_to(product.root) for path in grafted_paths(product))
