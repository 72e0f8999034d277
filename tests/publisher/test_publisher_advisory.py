"""The advisory is valid CSAF 2.0, whatever the vendor's words are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from publisher_workshop import DESCRIPTION, Bench

from suture.core.digests import digest_bytes
from suture.core.errors import ImprovementError
from suture.improvement.manifest import Baseline, Fix, Restart, RestartClass, Severity
from suture.publisher.advisory import AdvisoryFacts, check_advisory, max_severity, write_advisory
from suture.wire.product import Product

PRODUCT = msgspec.convert({"format": "suture-product/1", **DESCRIPTION, "first_root": "sha256:" + "0" * 64}, Product)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=100).filter(str.strip)


def facts(*fixes: Fix, restart: Restart | None = None, summary: str = "") -> AdvisoryFacts:
    """The facts of level 27, for a plain product."""
    return AdvisoryFacts(
        PRODUCT, Baseline("1.0", "x86_64"), 27, "2026-03-01T12:00:00Z", fixes, restart or Restart(), summary
    )


@given(
    st.lists(st.tuples(st.integers(0, 9999), st.sampled_from(Severity), TEXT, st.booleans()), min_size=1, max_size=4),
    st.sampled_from(RestartClass),
    st.one_of(st.just(""), TEXT),
)
@settings(max_examples=40, deadline=None)
def test_every_advisory_is_valid(
    fixes: list[tuple[int, Severity, str, bool]], category: RestartClass, summary: str
) -> None:
    named = [
        Fix(f"CVE-2024-{number:04}", severity, title, f"pkg:pypi/pillow@10.0.{index}", exploited)
        for index, (number, severity, title, exploited) in enumerate(fixes)
    ]
    data, reference = write_advisory(facts(*named, restart=Restart(category), summary=summary))
    assert reference.digest == digest_bytes(data)
    assert reference.size == len(data)
    document = json.loads(data)
    assert {one["cve"] for one in document["vulnerabilities"]} == {fix.cve for fix in named}
    assert document["document"]["aggregate_severity"]["text"] == max_severity(named)
    assert all(
        one["remediations"][0]["restart_required"]["category"] == category.value for one in document["vulnerabilities"]
    )
    assert write_advisory(facts(*named, restart=Restart(category), summary=summary))[0] == data


@pytest.mark.slow
def test_the_validators_own_command_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(tmp_path, capsys)
    bench.init()
    built = bench.build("--known-exploited")
    file = Path(built["directory"]) / "advisory.csaf.json"
    answer = subprocess.run(
        [sys.executable, "-m", "csaf", "validate", "--spec-version", "v20", str(file)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout
    assert "exploited" in file.read_text()


def test_an_invalid_advisory_is_refused_with_the_failing_test() -> None:
    with pytest.raises(ImprovementError, match=r"not valid CSAF 2\.0"):
        write_advisory(facts(Fix("CVE-2023-4863", Severity.HIGH, "Overflow", "pkg:")))
    document = json.loads(write_advisory(facts(Fix("CVE-2023-4863", Severity.HIGH, "x", "pkg:pypi/pillow@1")))[0])
    document["vulnerabilities"][0]["product_status"]["fixed"] = ["CSAFPID-9999"]
    with pytest.raises(ImprovementError, match=r"6\.1\.1 "):
        check_advisory(document)
