"""``python -m suture.demo.darkroom``: the whole chain on real input, on real processes and connections (docs/demo.md).

It sets the stage, tells the chapters in order, writes ``result.json`` and the time line, and leaves nothing running,
however it ends.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console

from suture.core.errors import ServiceError, SutureError
from suture.demo import stage as stages
from suture.demo import wheels
from suture.demo.cast import Cast
from suture.demo.chapters import Chapters
from suture.demo.commands import Commands
from suture.demo.load import read_requests, wanted_from
from suture.demo.outside import digest_of_tree
from suture.demo.pairs import Pair, running_pair
from suture.demo.processes import Processes, descendants, own_pid
from suture.demo.record import Record, Result, claim
from suture.demo.stage import PRODUCT, Stage
from suture.demo.story import Story, result_of, time_line_of
from suture.demo.timeline import draw

INTERRUPTED = 130
MINIMUM_REQUESTS = 1000
PIPE_COLUMNS = 140
COMPRESSION_SECONDS = 120.0


def main(words: list[str] | None = None) -> int:
    """Run the demo; 0, or the exit code of what failed, or 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m suture.demo.darkroom", description="Suture's demo")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="where everything goes")
    out: Path = parser.parse_args(words).out.absolute()
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=PIPE_COLUMNS)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _run(stages.clear_stage(out), console)
    except SutureError as error:
        return _failed(error, out, console)
    except KeyboardInterrupt:
        console.print(f"\n[bold]Interrupted; nothing is left running.[/] Logs: {out}/logs")
        return INTERRUPTED
    return 0


def _failed(error: SutureError, out: Path, console: Console) -> int:
    console.print(f"\n[bold red]The demo failed:[/] {_plain(error.message)}")
    console.print(f"  next: {_plain(error.advice)}\n  logs: {out}/logs")
    return error.exit_code


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def _run(stage: Stage, console: Console) -> None:
    record = Record(console)
    processes = Processes(stage.logs, stage.environment())
    processes.adopt_orphans()
    console.print(f"[bold]Suture's demo[/] in {stage.out}\n")
    with _ended(processes, record):
        pair = running_pair()
        both = _set_stage(stage, pair, processes, record)
        chapters = Chapters(stage, Cast(stage, pair, processes, Commands(processes, PRODUCT)), record)
        try:
            for chapter in (
                chapters.baseline,
                chapters.first_improvement,
                chapters.bad_improvement,
                chapters.recall,
                chapters.again,
                chapters.removal,
            ):
                chapter()
        finally:
            if chapters.watcher is not None:
                chapters.watcher.close()
        with record.step("The clients stop, the agent and the service too"):
            for name in ("load", "agent", "service"):
                code = processes.stop(name)
                claim(code == 0, f"{name} ends with 0 on SIGTERM, but it ended with {code}")
        full = _compressed(processes)
    with record.step("Nothing is left running"):
        left = [f"{state.name} ({state.pid})" for state in descendants(own_pid())]
        claim(not left, f"nothing is left running, but these are: {', '.join(left)}")
    _tell(stage, pair, both, chapters, full, record)


@contextmanager
def _ended(processes: Processes, record: Record) -> Iterator[None]:
    """Whatever happens inside, nothing that was started goes on running after it."""
    try:
        yield
    finally:
        forced = processes.end_all()
        if forced:
            record.console.print(f"  ended by force: {_plain(', '.join(forced))}")


def _set_stage(stage: Stage, pair: Pair, processes: Processes, record: Record) -> tuple[wheels.Wheel, wheels.Wheel]:
    with record.step(f"Fetch the wheels of {pair.package} {pair.old} and {pair.new}"):
        both = wheels.fetch_wheels(pair, stage.wheels)
        pinned = "the digests that the demo pins" if all(wheel.pinned for wheel in both) else "no pinned digest here"
        record.fact(f"{pair.new} fixes {pair.fix.cve}: {pair.fix.title} ({pinned})")
    with record.step("Set the stage: two trees, a spoiled third, the product's baseline, pictures"):
        stages.make_trees(stage, *both)
        stages.install_product(stage)
        count = stages.make_pictures(stage)
        record.fact(f"{count} JPEG, PNG and WebP pictures; their thumbnails made beforehand by Pillow {pair.old}")
        processes.start("compression", ["nice", sys.executable, "-m", "suture.demo.stage", stage.trees / "new"])
        _measured_apart(processes)
    return both


def _measured_apart(processes: Processes) -> None:
    """The measurement of the full download ends by itself; it is no process that must stay."""
    processes.finite["compression"] = processes.running.pop("compression")


def _compressed(processes: Processes) -> tuple[int, str]:
    """The full download's size under the best general compression, and which one."""
    running = processes.finite.pop("compression")
    if running.process.wait(COMPRESSION_SECONDS) != 0:
        raise ServiceError(f"cannot measure the full download:\n{running.tail()}")
    size, _, name = running.log.read_text(encoding="utf-8").strip().partition(" ")
    return int(size), name


def _tell(
    stage: Stage,
    pair: Pair,
    both: tuple[wheels.Wheel, wheels.Wheel],
    chapters: Chapters,
    full: tuple[int, str],
    record: Record,
) -> None:
    """Count, write, draw and print."""
    with record.step("Count the requests, write the result, draw the time line"):
        intact = digest_of_tree(stage.baseline) == chapters.findings.baseline_digest
        sights = chapters.watcher.sights if chapters.watcher is not None else []
        story = Story(
            pair=pair,
            wheels=both,
            findings=chapters.findings,
            requests=read_requests(stage.requests),
            sights=sights,
            steps=record.steps,
            full=full,
            baseline_intact=intact,
            seconds=time.monotonic() - record.began,
        )
        result = result_of(story)
        draw(time_line_of(story, result), stage.out)
        claim(result.requests_failed == 0, f"no request failed, but {result.requests_failed} did")
        claim(result.requests_total >= MINIMUM_REQUESTS, f"{MINIMUM_REQUESTS} requests, not {result.requests_total}")
        asked = {(request.name, request.size) for request in story.requests}
        claim(len(asked) == len(wanted_from(stage.expectations)), "every thumbnail was asked for")
        claim(all(result.in_flight_at_swaps), f"requests were in flight at every swap: {result.in_flight_at_swaps}")
        in_flight = ", ".join(str(count) for count in result.in_flight_at_swaps)
        record.fact(f"{result.requests_total:,} requests, 0 failed; in flight at the swaps: {in_flight}")
    seconds = round(time.monotonic() - record.began, 1)
    result = msgspec.structs.replace(result, steps=tuple(record.steps), seconds=seconds)
    (stage.out / "result.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    _print_end(stage, result, record)


def _print_end(stage: Stage, result: Result, record: Record) -> None:
    record.console.print()
    record.console.print(record.table())
    smaller = result.full_bytes / max(result.patch_bytes, 1)
    record.console.print(
        f"\n[bold green]{result.cves[0]}[/] was closed {result.poll_to_effective_seconds:.1f} s after the agent's look "
        f"by a patch of {result.patch_bytes / 1e6:.2f} MB ({smaller:.1f} times smaller than the full download), with "
        f"{result.requests_failed} of {result.requests_total:,} requests failed. {result.seconds:.0f} s in all.\n"
        f"  {stage.out}/result.json\n  {stage.out}/timeline.svg, .png\n  {stage.out}/logs"
    )


if __name__ == "__main__":
    sys.exit(main())
