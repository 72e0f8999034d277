"""The native kernel agrees with its reference, is an error where it does not, and has one door."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import suture
from suture.core.errors import HostError
from suture.delta import kernel


def test_the_published_vectors() -> None:
    """draft-eastlake-fnv, appendix C."""
    assert kernel.fnv1a(b"") == 0xCBF29CE484222325
    assert kernel.fnv1a(b"a") == 0xAF63DC4C8601EC8C
    assert kernel.fnv1a(b"foobar") == 0x85944171F73967E8


@given(st.binary(max_size=500))
def test_kernel_and_reference_agree_bit_for_bit(data: bytes) -> None:
    assert kernel.native_fnv1a(data) == kernel.fnv1a(data)


def test_the_self_test_passes() -> None:
    assert kernel.self_test() == kernel.KERNEL_VERSION


def test_a_missing_kernel_is_an_error_and_never_a_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("suture.delta._kernel", raising=False)
    monkeypatch.setitem(sys.modules, "suture.delta._kernel", None)
    with pytest.raises(HostError, match="cannot load the native kernel"):
        kernel.self_test()


@pytest.mark.parametrize(("version", "wrong"), [(2, 1), (1, 0)])
def test_a_disagreeing_or_other_kernel_is_an_error(monkeypatch: pytest.MonkeyPatch, version: int, wrong: int) -> None:
    class Fake(ModuleType):
        kernel_version = version

        def self_test(self, data: bytes) -> int:
            return kernel.fnv1a(data) ^ wrong

    fake = Fake("suture.delta._kernel")
    monkeypatch.setitem(sys.modules, "suture.delta._kernel", fake)
    monkeypatch.setattr("suture.delta._kernel", fake, raising=False)
    with pytest.raises(HostError, match="cannot use the native kernel"):
        kernel.self_test()


def test_only_its_door_imports_the_kernel() -> None:
    root = Path(suture.__file__).parent
    importers = []
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if any(name.split(".")[-1] == "_kernel" for name in names) or (
                isinstance(node, ast.ImportFrom) and (node.module or "").endswith("._kernel")
            ):
                importers.append(path.relative_to(root).as_posix())
    assert set(importers) == {"delta/kernel.py"}
