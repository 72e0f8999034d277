"""Which paths and links an improvement may hold."""

from __future__ import annotations

import pytest

from suture.core.errors import TreeError
from suture.improvement.paths import check_link, check_order, check_path, check_twins, shown


@pytest.mark.parametrize("path", ["a", "a/b.so.1", "ünï/çode", "with space", "..a", "a..", "-x", "x" * 255, "日本/語"])
def test_good_paths(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/..",
        "../a",
        "a/./b",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\x85b",
        "\ud800",
        "a\u2028",
        "x" * 256,
        "é" * 128,
        "/".join(["d" * 100] * 11),
    ],
)
def test_bad_paths(path: str) -> None:
    with pytest.raises(TreeError) as caught:
        check_path(path)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("path", "target"),
    [("a", "b"), ("d/a", "../b"), ("d/e/a", "../../x/y"), ("a", "./b"), ("d/a", ".."), ("a", ".")],
)
def test_links_that_stay_inside(path: str, target: str) -> None:
    assert check_link(path, target) == target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("a", "/b"),
        ("a", ".."),
        ("a", "../a"),
        ("d/a", "../../b"),
        ("d/e/a", "../f/../../../x"),
        ("a", "b/../c"),
        ("a", ""),
        ("a", "b//c"),
        ("a", "b\0"),
        ("a", "\udcff"),
        ("a", "x" * 256),
        ("a", "y/" * 600 + "z"),
    ],
)
def test_links_that_may_not_be(path: str, target: str) -> None:
    with pytest.raises(TreeError):
        check_link(path, target)


def test_two_links_that_only_together_lead_outside() -> None:
    """``d/e/up`` is the root, so ``d/e/up/../..``, which reads as ``d``, is two directories above the root."""
    check_link("d/e/up", "../..")
    with pytest.raises(TreeError, match="after a name"):
        check_link("out", "d/e/up/../..")


def test_order_is_of_bytes_and_strict() -> None:
    check_order(["a", "a-b", "a/b", "b", "é"])
    for paths in (["b", "a"], ["a", "a"], ["é", "z"]):
        with pytest.raises(TreeError):
            check_order(paths)


@pytest.mark.parametrize(
    "paths",
    [["a/x", "A/y"], ["straße", "STRASSE"], ["e\u0301", "é"], ["a/B", "a/b"], ["K", "\u212a"], ["Lib/x", "lib"]],
)
def test_twins(paths: list[str]) -> None:
    with pytest.raises(TreeError, match="only in case"):
        check_twins(paths)
    check_twins(paths[:1] * 2)


def test_a_shown_path_is_one_printable_line() -> None:
    assert "\n" not in shown("a\nb\x1b[31m")
    assert len(shown("x" * 5000)) < 220
