"""Fixtures of the tests that boot a real systemd. Skipped, with the reason, where none can be booted."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "agent"))

from booted_container import BootedContainer, CannotBootError
from unit_world import UnitWorld, unit_world


@pytest.fixture
def world() -> Iterator[UnitWorld]:
    """A fresh container with the chain's product in it; its journal is printed where a test fails."""
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(unit_world())
        except CannotBootError as error:
            pytest.skip(f"cannot boot a systemd here: {error}")
        yield made
        print(made.container.try_run("journalctl", "--no-pager", "--lines=25", "--boot")[1])


@pytest.fixture(scope="session")
def container() -> Iterator[BootedContainer]:
    """One booted container for tests that leave it as they found it."""
    try:
        made = BootedContainer()
        try:
            made.boot()
            yield made
        finally:
            made.close()
    except CannotBootError as error:
        pytest.skip(f"cannot boot a systemd here: {error}")
