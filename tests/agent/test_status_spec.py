"""spec/status.md names every field and every reason that a device can give."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from suture.wire.status import (
    HistoryRow,
    LevelStatus,
    Measurements,
    OpenCve,
    ProductStatus,
    Reason,
    Status,
    TrustStatus,
)

HERE = Path(__file__).resolve().parents[2]
SPEC = (HERE / "spec/status.md").read_text()
NAMED = set(re.findall(r"`([a-z][a-z_-]+)`", SPEC))


@pytest.mark.parametrize(
    "kind", [HistoryRow, LevelStatus, Measurements, OpenCve, ProductStatus, Reason, Status, TrustStatus]
)
def test_every_field_is_named(kind: type[msgspec.Struct]) -> None:
    assert {field.name for field in msgspec.structs.fields(kind)} <= NAMED | {"display"}


def test_every_obstacle_is_named() -> None:
    sources = [HERE / "src/suture/agent/machine/choice.py", HERE / "src/suture/agent/report.py"]
    codes: set[str] = set()
    for path in sources:
        codes |= set(re.findall(r'Obstacle\("([a-z-]+)"', path.read_text()))
        codes |= set(re.findall(r'code="([a-z-]+)"', path.read_text()))
    assert codes
    assert codes <= NAMED


def test_every_event_of_the_machine_is_named() -> None:
    events: set[str] = set()
    for path in (HERE / "src/suture/agent/machine").glob("*.py"):
        events |= set(re.findall(r'Note\([^,]+, "([a-z-]+)"', path.read_text()))
    assert events <= NAMED
