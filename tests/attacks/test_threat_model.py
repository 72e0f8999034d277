"""docs/threat-model.md and this folder name the same attacks, both ways."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs/threat-model.md"
ROW = re.compile(r"^\| [^|]+ \| [^|]+ \| \[(\w+)\]\(\.\./tests/attacks/test_attack_(\w+)\.py\) \|$", re.MULTILINE)


def test_every_attack_of_the_page_has_its_file_and_every_file_its_row() -> None:
    rows = ROW.findall(PAGE.read_text())
    table = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "test_attack" in line]
    assert len(rows) == len(table), "each attack has one test file"
    assert all(title == name for title, name in rows)
    named = [name for _, name in rows]
    there = sorted(path.stem.removeprefix("test_attack_") for path in HERE.glob("test_attack_*.py"))
    assert sorted(named) == there


def test_every_file_holds_tests_and_says_what_its_attack_is() -> None:
    for path in HERE.glob("test_attack_*.py"):
        text = path.read_text()
        assert re.search(r"^def test_\w+", text, re.MULTILINE), path.name
        assert text.startswith('"""'), path.name
