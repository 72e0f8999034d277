"""Remove what a crash left half-made in the store: temporaries of `SwitchGraft`, and nothing else."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from suture.agent.grafts.beneath import directory_beneath, lstat_beneath, open_directory, remove_tree

_TEMPORARY = re.compile(r"\.\d{1,6}\.[0-9a-f]{12}\.(?:new|old)")


def sweep_store(store: Path) -> None:
    """Sweep ``store/PRODUCT/BASELINE/``. Links in the place of directories are left alone, not followed.

    Raises:
        OSError: the host's own errors.
    """
    descriptor = open_directory(str(store))
    try:
        products = _directories(descriptor, [])
        for release in [inner for product in products for inner in _directories(descriptor, product)]:
            with directory_beneath(descriptor, release) as directory:
                for name in os.listdir(directory):
                    if _TEMPORARY.fullmatch(name):
                        remove_tree(name, beneath=directory)
    finally:
        os.close(descriptor)


def _directories(store: int, names: Sequence[str]) -> Iterator[list[str]]:
    with directory_beneath(store, list(names)) as directory:
        for name in os.listdir(directory):
            found = lstat_beneath(name, beneath=directory)
            if found is not None and stat.S_ISDIR(found.st_mode):
                yield [*names, name]
