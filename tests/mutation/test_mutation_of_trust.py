"""Each defence of `suture.trust`, taken away in a copy, is noticed by a test.

A mutant is one module with one change (mutants.py). The room's own tests run against it; the first failure kills it.
Those that change nothing are listed here, each with its reason, and the list is exact.
"""

from __future__ import annotations

import ast
import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mutants import mutants

HERE = Path(__file__).parent
TESTS = HERE.parent
TRUST = TESTS.parent / "src/suture/trust"
BUDGET_CPU_SECONDS = 480
"""Four minutes on two cores."""
SAME: dict[tuple[str, str], str] = {
    ("floors", "GtE in `role.version > floor.version`"): "an equal version of the same keys makes an equal floor",
    ("offers", "LtE in `place * 1000 < permille << 64`"): "equal for one device in 2**64, if for any",
    ("verdicts", "LtE in `entry.level < highest`"): "the highest known level is a known level",
}
"""Module and words of a mutant that changes nothing, and why."""


def first_failing(module: str, source: str, place: Path) -> str:
    """What fails with this source in the module's place: the tests' last line, or nothing."""
    place.mkdir()
    copy = place / f"{module}.py"
    copy.write_text(source)
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "SUTURE_MUTANT": f"suture.trust.{module}={copy}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    words = ["-x", "-q", "-p", "mutation_plugin", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = [sys.executable, "-m", "pytest", *words, f"--basetemp={place / 'tests'}", "trust"]
    done = subprocess.run(run, cwd=TESTS, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return done.stdout.splitlines()[-1] if done.stdout else done.stderr[-300:]
    return ""


@pytest.mark.slow
@pytest.mark.timeout(1800)  # on a machine that does much else; the budget counts CPU
def test_every_defence_of_trust_is_missed_when_it_is_gone(tmp_path: Path) -> None:
    modules = {path.stem: path.read_text() for path in sorted(TRUST.glob("[a-z]*.py"))}
    found = [(name, one) for name, source in modules.items() for one in mutants(source)]
    assert len(found) > 120
    begun = cpu_seconds()
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        # The control: the same copying and rewriting without a change must pass, or every "killed" below means nothing.
        unchanged = [
            pool.submit(first_failing, name, ast.unparse(ast.parse(source)), tmp_path / name)
            for name, source in modules.items()
        ]
        tasks = [
            pool.submit(first_failing, name, mutant.source, tmp_path / str(number))
            for number, (name, mutant) in enumerate(found)
        ]
        assert [task.result() for task in unchanged] == [""] * len(modules)
        ends = [task.result() for task in tasks]
    survivors = {
        (name, mutant.words): f"suture/trust/{name}.py:{mutant.line}: {mutant.words}"
        for (name, mutant), end in zip(found, ends, strict=True)
        if not end
    }
    missed = [text for key, text in survivors.items() if key not in SAME]
    assert not missed, "\n".join(["nothing noticed these:", *missed])
    assert set(SAME) <= set(survivors), "killed after all: take them off the list"
    assert cpu_seconds() - begun < BUDGET_CPU_SECONDS


def cpu_seconds() -> float:
    """Of all finished children, which a busy machine does not change much."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
