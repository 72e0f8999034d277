"""From what was recorded to what is shown: the result's figures and the picture's lanes. Measures nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from suture.core.level import display_of
from suture.demo.chapters import Findings
from suture.demo.load import Request, in_flight_at
from suture.demo.pairs import Pair
from suture.demo.record import Result, Step
from suture.demo.stage import PRODUCT, RELEASE, this_machine
from suture.demo.timeline import Answer, Bar, Mark, TimeLine
from suture.demo.watcher import Sight
from suture.demo.wheels import Wheel


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that one run recorded. `full`: the best general compression's size in bytes, and its name."""

    pair: Pair
    wheels: tuple[Wheel, Wheel]
    findings: Findings
    requests: Sequence[Request]
    sights: Sequence[Sight]
    steps: Sequence[Step]
    full: tuple[int, str]
    baseline_intact: bool
    seconds: float


def result_of(story: Story) -> Result:
    """The figures of ``result.json``."""
    found, first = story.findings, story.findings.first
    python, machine = this_machine()
    return Result(
        product=PRODUCT,
        baseline=f"{RELEASE}-{machine}",
        cves=(story.pair.fix.cve,),
        full_bytes=story.full[0],
        patch_bytes=found.patch_bytes,
        poll_to_effective_seconds=round(found.effective_at - found.polled_at, 3),
        swap_milliseconds=round(first.swap_milliseconds or 0.0, 3),
        restart_milliseconds=round(first.restart_milliseconds or 0.0, 1),
        requests_total=len(story.requests),
        requests_failed=sum(1 for request in story.requests if not request.ok),
        baseline_intact=story.baseline_intact,
        bad_level_rolled_back=found.bad_rolled_back,
        recalled=found.recalled,
        removed_offline=found.removed_offline,
        reopened_cves=found.reopened,
        steps=tuple(story.steps),
        package=story.pair.package,
        versions=(story.pair.old, story.pair.new),
        wheel_digests=(f"sha256:{story.wheels[0].digest}", f"sha256:{story.wheels[1].digest}"),
        wheels_pinned=all(wheel.pinned for wheel in story.wheels),
        new_wheel_bytes=story.wheels[1].path.stat().st_size,
        full_compression=story.full[1],
        advisory=found.advisory,
        downloaded_bytes=first.downloaded_bytes,
        publish_to_effective_seconds=round(found.effective_at - found.published_at, 3),
        in_flight_at_swaps=tuple(in_flight_at(list(story.requests), swap.at) for swap in swaps_of(story.sights)),
        connection_attempts_while_removing=found.attempts,
        connections_counted_by=found.counted_by,
        rollback_reason=found.rollback_reason,
        seconds=round(story.seconds, 1),
        python=python,
        machine=machine,
    )


def swaps_of(sights: Sequence[Sight]) -> list[Sight]:
    """Every change of the pointer after the first sight of it."""
    return [sight for sight in sights if sight.what == "pointer"][1:]


def time_line_of(story: Story, result: Result) -> TimeLine:
    """The picture's lanes; seconds since the first request."""
    zero = min(request.start for request in story.requests)
    length = max(request.end for request in story.requests) - zero
    before, after = story.findings.baseline_versions, story.findings.new_versions
    old, new = story.pair.old, story.pair.new
    if before is not None and after is not None and before.libwebp != after.libwebp:
        labels = {"old": f"libwebp {before.libwebp}", "new": f"libwebp {after.libwebp}"}
    else:
        labels = {"old": f"Pillow {old}", "new": f"Pillow {new}"}
    marks = sorted(story.findings.marks)
    return TimeLine(
        title=f"{PRODUCT} {RELEASE}: {story.pair.fix.cve} closed in the background, and everything that can follow",
        subtitle=_subtitle(story, result),
        seconds=length,
        publisher=[Mark(at - zero, words) for at, lane, words in marks if lane == "publisher"],
        device=_device_bars(story.sights, zero, length),
        device_marks=[Mark(at - zero, words) for at, lane, words in marks if lane == "device"],
        service=_service_bars(story.sights, zero, length, labels),
        refusals=_refusals(story.sights, zero),
        answers=[
            Answer(request.end - zero, "new" if f"pillow/{new} " in request.served_by else "old", request.ok)
            for request in story.requests
        ],
        swaps=[swap.at - zero for swap in swaps_of(story.sights)],
        labels=labels,
    )


def _subtitle(story: Story, result: Result) -> str:
    share = result.patch_bytes / result.full_bytes if result.full_bytes else 0.0
    return (
        f"{story.pair.package} {story.pair.old} → {story.pair.new}, Python {result.python}, {result.machine}  ·  "
        f"patch {result.patch_bytes / 1e6:.2f} MB, {share:.0%} of the full download  ·  "
        f"poll to effective {result.poll_to_effective_seconds:.1f} s  ·  swap {result.swap_milliseconds:.1f} ms  ·  "
        f"restart {result.restart_milliseconds:.0f} ms"
    )


def _spans(sights: Sequence[Sight], what: str, zero: float, length: float) -> list[tuple[float, float, Sight]]:
    """Each sight of a kind with its beginning and its end (the next one's beginning), inside the picture."""
    seen = [sight for sight in sights if sight.what == what]
    ends = [sight.at - zero for sight in seen[1:]] + [length]
    spans = [(max(sight.at - zero, 0.0), min(end, length), sight) for sight, end in zip(seen, ends, strict=True)]
    return [(start, end, sight) for start, end, sight in spans if end > start]


def _device_bars(sights: Sequence[Sight], zero: float, length: float) -> list[Bar]:
    """What the status file said, neighbours that say the same made one."""
    spans = _spans(sights, "state", zero, length)
    # Before the agent's first word there is the baseline: its digest was taken, and the pointer points at it.
    bars = [Bar(0.0, spans[0][0] if spans else length, f"{display_of(RELEASE, 0)} · baseline", "old")]
    for start, end, sight in spans:
        level, _, state = sight.value.partition(" ")
        if state == "baseline":
            bar = Bar(start, end, f"{display_of(RELEASE, 0)} · baseline", "old")
        elif state.startswith("effective"):
            bar = Bar(start, end, f"{display_of(RELEASE, int(level))} · {state}", "new")
        else:
            bar = Bar(start, end, f"{display_of(RELEASE, int(level))} · {state}", "wait")  # on the way to another level
        if bars and (bars[-1].text, bars[-1].kind) == (bar.text, bar.kind):
            bar = Bar(bars.pop().start, bar.end, bar.text, bar.kind)
        bars.append(bar)
    return bars


def _service_bars(sights: Sequence[Sight], zero: float, length: float, labels: dict[str, str]) -> list[Bar]:
    """Each worker that served, by the tree it ran from; what else the supervisor said of it meanwhile joins its bar."""
    bars: dict[str, Bar] = {}
    for start, end, sight in _spans(sights, "service", zero, length):
        worker, generation, _ = sight.value.split()
        kind = "new" if Path(sight.detail).name == "tree" else "old"
        first = bars.get(worker, Bar(start, end, f"{labels[kind]} · generation {generation}", kind))
        bars[worker] = Bar(first.start, end, first.text, kind)
    return [bar for worker, bar in bars.items() if worker != "None"]


def _refusals(sights: Sequence[Sight], zero: float) -> list[Mark]:
    """When the supervisor said that a hand-over failed."""
    marks, seen = [], ""
    for sight in sights:
        if sight.what == "service":
            _, generation, outcome = sight.value.split()
            if outcome == "failed" and generation != seen:
                marks.append(Mark(sight.at - zero, "a new worker is not ready: the old one goes on"))
            seen = generation
    return marks
