"""What people hear: only of what the agent did by itself, once, through a real program, and never through a shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from suture.agent.machine.state import FixedCve, LevelRecord, LevelState, ProductState
from suture.agent.notices import notice_of, send_notice
from suture.wire.product import FixedRelease, Product, ProductComponent

PRODUCT = Product(
    format="suture-product/1",
    product="darkroom",
    title="Darkroom",
    vendor="Example",
    release=FixedRelease("1.0"),
    root="/opt/darkroom",
    components=(ProductComponent("imaging", "imaging"),),
    repositories=("https://example.test/",),
    first_root="sha256:" + "0" * 64,
)


def state_of(active: int, **levels: LevelState) -> ProductState:
    records = tuple(
        LevelRecord(int(name[1:]), "sha256:" + "1" * 64, state, f"t{state}", fixes=(FixedCve("CVE-2023-4863", "high"),))
        for name, state in levels.items()
    )
    return ProductState(product="darkroom", baseline="1.0-x86_64", active=active, levels=records)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (None, state_of(1, l1=LevelState.EFFECTIVE), "Darkroom 1.0 (a) is in effect. It fixes CVE-2023-4863."),
        (state_of(0), state_of(1, l1=LevelState.ACTIVATING), "waits for programs that still run the old code"),
        (state_of(1, l1=LevelState.ACTIVATING), state_of(1, l1=LevelState.EFFECTIVE), "is in effect"),
        (state_of(1, l1=LevelState.EFFECTIVE), state_of(0, l1=LevelState.RECALLED), "1.0 (a) is recalled"),
        (
            state_of(1, l1=LevelState.EFFECTIVE),
            state_of(1, l1=LevelState.EFFECTIVE, l2=LevelState.ROLLED_BACK),
            "1.0 (b) was taken back by itself",
        ),
    ],
)
def test_a_round_that_changed_something_is_told(before: ProductState | None, after: ProductState, words: str) -> None:
    text = notice_of(PRODUCT, before, after)
    assert text is not None
    assert words in text


@pytest.mark.parametrize(
    "state", [state_of(0), state_of(1, l1=LevelState.EFFECTIVE), state_of(1, l1=LevelState.ACTIVATING)]
)
def test_a_round_that_changed_nothing_is_not_told(state: ProductState) -> None:
    assert notice_of(PRODUCT, state, state) is None


@pytest.mark.parametrize(("is_root", "program"), [(True, "wall"), (False, "notify-send")])
def test_the_text_reaches_the_program_as_one_word_and_only_the_bus_address_goes_along(
    tmp_path: Path, is_root: bool, program: str
) -> None:
    script = tmp_path / program
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/words\nenv >{tmp_path}/environment\n')
    script.chmod(0o755)
    text = "it's $(touch /tmp/never) `in effect`"
    environment = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/x", "SECRET": "s"}
    assert send_notice(text, environment, is_root=is_root, search_path=f"{tmp_path}:/usr/bin:/bin")
    assert (tmp_path / "words").read_text().splitlines()[-1] == text
    kept = (tmp_path / "environment").read_text()
    assert "unix:path=/x" in kept
    assert "SECRET" not in kept


def test_a_machine_without_the_program_keeps_silent(tmp_path: Path) -> None:
    assert not send_notice("x", {}, is_root=True, search_path=str(tmp_path))
