"""The picture of the time line: it is drawn whole, and its texts keep out of each other's way."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suture.demo.load import Request, Wanted, in_flight_at, schedule
from suture.demo.story import _device_bars, _refusals, _service_bars
from suture.demo.timeline import Answer, Bar, Mark, TimeLine, draw, rows_for, spans_of
from suture.demo.watcher import Sight

LINE = TimeLine(
    title="darkroom 1.0",
    subtitle="a test",
    seconds=60,
    publisher=[Mark(5, "releases (a)"), Mark(58, "a mark at the very end")],
    device=[Bar(0, 10, "1.0 · baseline", "old"), Bar(10, 60, "1.0 (a) · effective", "new")],
    device_marks=[Mark(10, "(a) effective")],
    service=[Bar(0, 10, "libwebp 1.3.1", "old"), Bar(10, 60, "libwebp 1.3.2", "new")],
    refusals=[Mark(30, "not ready")],
    answers=[Answer(at / 20, "old" if at < 200 else "new", at != 700) for at in range(1200)],
    swaps=[10],
    labels={"old": "libwebp 1.3.1", "new": "libwebp 1.3.2"},
)


@pytest.mark.slow
def test_both_pictures_are_drawn_and_say_how_many_requests_failed(tmp_path: Path) -> None:
    svg, png = draw(LINE, tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert png.stat().st_size > 10_000
    text = "".join(ElementTree.parse(svg).getroot().itertext())  # noqa: S314  our own file
    for words in ("darkroom 1.0", "failed: 1 of 1,200", "10.0 s  (a) effective", "Publisher", "Service"):
        assert words in text


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 60)), max_size=6))
def test_texts_in_one_row_never_overlap_where_there_are_rows_enough(drawn: list[tuple[float, int]]) -> None:
    spans = spans_of([Mark(at, "x" * length) for at, length in drawn], 100)
    rows = rows_for(spans, rows=6)
    for place, ((start, end), row) in enumerate(zip(spans, rows, strict=True)):
        assert start <= drawn[place][0] <= end
        for (other_start, other_end), taken in zip(spans[:place], rows[:place], strict=True):
            assert taken != row or end < other_start or other_end < start


def test_neighbours_that_say_the_same_become_one_bar() -> None:
    sights = [
        Sight(9.0, "state", "0 baseline"),
        Sight(12.0, "state", "0 baseline", "written again"),
        Sight(14.0, "state", "1 activating"),
        Sight(15.0, "state", "1 effective (own processes)"),
    ]
    bars = _device_bars(sights, 10.0, 20.0)
    assert [(bar.start, bar.end, bar.kind) for bar in bars] == [(0, 4, "old"), (4, 5, "wait"), (5, 20, "new")]
    assert bars[2].text == "1.0 (a) · effective (own processes)"


def test_a_worker_is_one_bar_and_a_failed_hand_over_is_a_mark() -> None:
    sights = [
        Sight(1.0, "service", "None 0 None", "None"),
        Sight(2.0, "service", "77 1 ok", "/x/baseline"),
        Sight(3.0, "service", "77 2 failed", "/x/baseline"),
        Sight(4.0, "service", "78 3 ok", "/x/store/1/tree"),
    ]
    bars = _service_bars(sights, 0.0, 9.0, {"old": "old", "new": "new"})
    assert [(bar.start, bar.end, bar.text) for bar in bars] == [
        (2.0, 4.0, "old · generation 1"),
        (4.0, 9.0, "new · generation 3"),
    ]
    assert [mark.at for mark in _refusals(sights, 0.0)] == [3.0]


@given(st.integers(1, 300), st.integers(0, 100))
def test_a_thread_asks_for_every_thumbnail_once_a_round(count: int, offset: int) -> None:
    wanted = [Wanted(str(number), 64, "") for number in range(count)]
    assert sorted(itertools.islice(schedule(wanted, offset), count), key=lambda one: int(one.name)) == wanted


def test_a_request_is_in_flight_between_its_start_and_its_end() -> None:
    request = Request(1.0, 2.0, True, "a", 64, 0.0, "", "")
    assert [in_flight_at([request], at) for at in (0.5, 1.0, 1.5, 2.0)] == [0, 0, 1, 0]
