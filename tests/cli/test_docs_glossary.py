"""Every word that the code uses for a state, a source or a restart class is explained; the spec's examples work."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from suture.agent.machine.state import LevelState
from suture.agent.setting_changes import NAMES
from suture.improvement.manifest import RestartClass
from suture.wire.settings import PolicyFile, Settings, SettingsFile, Source

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
SPEC = (ROOT / "spec" / "settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("word", sorted({*LevelState, *Source, *RestartClass}))
def test_every_state_source_and_restart_class_is_in_the_glossary(word: str) -> None:
    assert f"`{word}`" in GLOSSARY


def test_the_glossarys_states_are_the_codes() -> None:
    table = GLOSSARY.split("## The states of a level")[1].split("\n## ")[0]
    states = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert states == [state.value for state in LevelState]


def test_every_setting_is_in_the_spec() -> None:
    for name in (*NAMES, *(field.encode_name for field in msgspec.structs.fields(PolicyFile))):
        assert f"`{name}" in SPEC


def test_the_specs_examples_are_good_files() -> None:
    examples = re.findall(r"```json (\w+)\n(.*?)```", SPEC, re.DOTALL)
    kinds: dict[str, type[Settings]] = {"settings": SettingsFile, "policy": PolicyFile}
    assert {name for name, _ in examples} == set(kinds)
    for name, text in examples:
        msgspec.json.decode(text.encode(), type=kinds[name])


def test_links_within_lead_somewhere() -> None:
    for page in (ROOT / "docs/glossary.md", ROOT / "spec/settings.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
