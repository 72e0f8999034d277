"""The publisher's pages say what the code does: examples parse, commands exist, tables name every field."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import msgspec

from suture.cli import publisher
from suture.publisher.request import read_words
from suture.wire.product import Product

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "publishing.md").read_text()
FORMAT = (ROOT / "spec" / "product.md").read_text()


def block(text: str, language: str) -> str:
    """The first fenced block of a language."""
    match = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert match is not None
    return match.group(1)


def test_the_example_product_file_is_one() -> None:
    product = msgspec.json.decode(block(FORMAT, "json"), type=Product)
    assert product.product == "darkroom"


def test_the_format_names_every_field_of_the_product_file() -> None:
    named = {
        name
        for line in FORMAT.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])
    }
    fields = {field.name for field in msgspec.structs.fields(Product)}
    assert fields <= named


def test_the_example_improvement_is_one(tmp_path: Path) -> None:
    file = tmp_path / "improvement.toml"
    file.write_text(block(GUIDE, "toml"))
    words = read_words(file)
    assert [fix.cve for fix in words.fix] == ["CVE-2023-4863", "CVE-2023-44271"]
    assert words.component[0].old == str(tmp_path / "trees/imaging-shipped")


def test_every_command_of_the_guide_is_understood() -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    publisher.add_arguments(parser)
    console = block(GUIDE, "console").replace("\\\n", " ")
    commands = re.findall(r"^\$ suture publisher (.*)$", console, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)]
        assert parser.parse_args(words).publisher_command == words[0]


def test_the_guide_names_every_command() -> None:
    parser = argparse.ArgumentParser()
    publisher.add_arguments(parser)
    (choices,) = (action.choices for action in parser._actions if isinstance(action.choices, dict))
    for command in choices:
        assert re.search(rf"`?{command}[ `]", GUIDE), command
