"""Levels: their order, their letters to (zz) and beyond, and what people may write for them."""

from __future__ import annotations

import pytest
from hypothesis import given

from suture.core.errors import InputError
from suture.core.level import MAXIMUM_LEVEL, check_level, display_of, letters_of, level_of_letters, parse_level
from suture.testing.strategies import levels

ZZ = 26 + 26 * 26


def test_every_level_to_zz_in_the_order_of_a_dictionary_by_length() -> None:
    letters = [letters_of(level) for level in range(1, ZZ + 1)]
    assert letters[:3] == ["a", "b", "c"]
    assert letters[25:28] == ["z", "aa", "ab"]
    assert letters[-1] == "zz"
    assert letters == sorted(letters, key=lambda text: (len(text), text))
    assert len(set(letters)) == ZZ
    assert [level_of_letters(text) for text in letters] == list(range(1, ZZ + 1))
    assert letters_of(ZZ + 1) == "aaa"


@given(levels())
def test_letters_there_and_back(level: int) -> None:
    text = letters_of(level)
    if level == 0:
        assert text == ""
        return
    assert level_of_letters(text) == level_of_letters(f"({text})") == level
    assert parse_level(str(level)) == parse_level(text) == level


@given(levels(), levels())
def test_letters_keep_the_order_of_levels(first: int, second: int) -> None:
    def key(level: int) -> tuple[int, str]:
        return len(letters_of(level)), letters_of(level)

    assert (first < second) == (key(first) < key(second))


def test_what_people_see() -> None:
    assert display_of("26.3.1", 1) == "26.3.1 (a)"
    assert display_of("26.3.1", 27) == "26.3.1 (aa)"
    assert display_of("26.3.1", 0) == "26.3.1"


def test_what_people_write() -> None:
    assert parse_level("baseline") == parse_level("0") == 0
    assert parse_level("(b)") == parse_level("b") == parse_level("2") == 2


@pytest.mark.parametrize(
    "text", ["", "A", "(a", "a)b", "a b", "-1", "1.0", "aaaaa", "zzzz", "1000001", "٣", "a\n", "é", "()"]
)
def test_what_is_no_level(text: str) -> None:
    with pytest.raises(InputError):
        parse_level(text)


@pytest.mark.parametrize("level", [-1, MAXIMUM_LEVEL + 1])
def test_levels_are_bounded(level: int) -> None:
    with pytest.raises(InputError):
        check_level(level)
    with pytest.raises(InputError):
        letters_of(level)
