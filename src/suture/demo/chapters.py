"""The demo's chapters, in order. Each does what a person would do, then reads the claim back from the outside."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from suture.core.errors import ServiceError
from suture.demo.cast import Cast
from suture.demo.load import read_requests
from suture.demo.outside import (
    Versions,
    ask_versions,
    digest_of_tree,
    mapped_files,
    service_pids,
    users_of,
)
from suture.demo.record import Record, claim
from suture.demo.repository import check_advisory, published_file, requests_in
from suture.demo.stage import COMPONENT, PRODUCT, Stage
from suture.demo.tripwire import Tripwire, connects_in
from suture.demo.watcher import Watcher
from suture.wire.status import Measurements, ProductStatus

STEADY_SECONDS = 4.0
"""How long each state is left under load before the next thing happens."""
QUIET_INTERVAL = "30d"


@dataclass(slots=True)
class Findings:
    """What the chapters found, for the result and the picture. Moments are CLOCK_MONOTONIC."""

    baseline_digest: str = ""
    baseline_versions: Versions | None = None
    new_versions: Versions | None = None
    first: Measurements = field(default_factory=Measurements)
    published_at: float = 0.0
    polled_at: float = 0.0
    """When the agent's look that found (a) reached the repository, by the repository's own log."""
    effective_at: float = 0.0
    """When the status file first called (a) effective."""
    patch_bytes: int = 0
    advisory: str = ""
    rollback_reason: str = ""
    bad_rolled_back: bool = False
    recalled: bool = False
    removed_offline: bool = False
    reopened: tuple[str, ...] = ()
    attempts: int = 0
    counted_by: tuple[str, ...] = ()
    marks: list[tuple[float, str, str]] = field(default_factory=list)
    """(moment, ``publisher`` or ``device``, words)."""


@dataclass(slots=True)
class Chapters:
    """Tells the story."""

    stage: Stage
    cast: Cast
    record: Record
    findings: Findings = field(default_factory=Findings)
    watcher: Watcher | None = None

    # --- 1 --------------------------------------------------------------------------------------------------------

    def baseline(self) -> None:
        """The device knows its product, and the baseline serves under load."""
        with self.record.step("The publisher opens a workshop; the device is told of the product once"):
            self.cast.open_workshop()
            self.cast.serve()
            self.cast.learn_product()
            self.record.fact("the only setting changed: poll-interval 2s")
        with self.record.step("Baseline: the thumbnail service runs under load"):
            self.findings.baseline_digest = digest_of_tree(self.stage.baseline)
            self.cast.start_service()
            supervised = self.stage.state / "run/supervised/thumbnails.json"
            self.watcher = Watcher(self.stage.pointer, supervised, self.stage.state / "status.json")
            self.cast.start_load()
            versions = ask_versions(self.stage.service_port)
            claim(versions.pillow == self.cast.pair.old, f"the service runs Pillow {self.cast.pair.old}")
            self.findings.baseline_versions = versions
            self.cast.start_agent()
            self._wait("the agent to have looked once", lambda status: status.trust.state == "none")
            self._steady()
            self.record.fact(f"{_words_of(versions)}; the agent looked and found nothing to do")

    # --- 2, 3, 4 --------------------------------------------------------------------------------------------------

    def first_improvement(self) -> None:
        """(a) is published; the agent finds, installs and proves it by itself."""
        with self.record.step("The publisher builds, signs and releases (a)"):
            self.findings.published_at = self.cast.publish("new")
            self._mark("publisher", "releases (a)", self.findings.published_at)
            targets, fix = self.stage.workshop / "repository/targets", self.cast.pair.fix
            self.findings.patch_bytes = published_file(targets, f"1.{COMPONENT}.from-0.patch").stat().st_size
            self.findings.advisory = check_advisory(targets, 1, fix.cve, self.cast.processes)
            self.record.fact(f"patch of (a): {self.findings.patch_bytes:,} bytes")
            self.record.fact(f"advisory {self.findings.advisory}: valid CSAF 2.0, bound by its digest, names {fix.cve}")
        with self.record.step("The agent finds (a) by itself, installs it and proves it effective"):
            status, at = self._wait("(a) to be effective", lambda s: s.level == 1 and s.effective)
            self.findings.effective_at = self._first_sight("1 effective", at)
            self.findings.polled_at = self._poll_that_found()
            self.findings.first = status.measurements
            self._mark("device", "(a) effective: no process uses the old files", self.findings.effective_at)
            self._check_new(1)
            self.record.fact(f"{self._measured(status.measurements)}")
            self._steady()

    def _check_new(self, level: int) -> None:
        """The new version serves, and no process of the machine maps a file of the baseline."""
        versions = ask_versions(self.stage.service_port)
        old, new = self.cast.pair.old, self.cast.pair.new
        claim(versions.pillow == new, f"the service runs Pillow {new}, but it says {versions.pillow}")
        before = self.findings.baseline_versions
        if before is not None and (old, new) == ("10.0.0", "10.0.1"):
            claim((before.libwebp, versions.libwebp) == ("1.3.1", "1.3.2"), "libwebp went from 1.3.1 to 1.3.2")
        users = users_of(self.stage.baseline)
        claim(not users, f"no process maps a file of the baseline, but these do: {users}")
        tree = Path(versions.root)
        users = users_of(tree)
        for pid in service_pids(versions.main_pid)[1:]:
            claim(pid in users, f"the service's worker {pid} maps files of level {level}")
        claim(digest_of_tree(self.stage.baseline) == self.findings.baseline_digest, "the baseline is untouched")
        self.findings.new_versions = versions
        self.record.fact(f"service: {_words_of(versions)}; /proc: nobody maps the baseline")

    # --- 5 --------------------------------------------------------------------------------------------------------

    def bad_improvement(self) -> None:
        """(b) fails its health check; the agent goes back to (a) by itself."""
        with self.record.step("The publisher releases (b), whose build lost its WebP codec"):
            self._mark("publisher", "releases (b), a bad one", self.cast.publish("bad"))
        with self.record.step("The agent tries (b), sees it fail, and goes back to (a)"):
            status, at = self._wait(
                "(b) to be rolled back", lambda s: s.level == 1 and s.effective and _state_of(s, 2) == "rolled-back"
            )
            level = next(level for level in status.levels if level.level == 2)
            self.findings.rollback_reason = f"{level.reason}: {level.detail}" if level.detail else level.reason
            claim(bool(level.reason), "the agent says why it left (b)")
            versions = ask_versions(self.stage.service_port)
            claim(versions.pillow == self.cast.pair.new, "the service runs (a) again")
            claim(_level_of(self.stage.pointer) == 1, "the pointer points at (a) again")
            self.findings.bad_rolled_back = True
            self._mark("device", "(b) failed its health check: back to (a)", at)
            self.record.fact(self.findings.rollback_reason[:300])
            self._steady()
            status, _ = self._wait("the status", lambda _: True)
            claim(_state_of(status, 2) == "rolled-back", "the agent remembers (b) and does not try it again")

    # --- 6 --------------------------------------------------------------------------------------------------------

    def recall(self) -> None:
        """(a) and (b) are recalled; the device leaves them for the baseline."""
        with self.record.step("The publisher recalls (a) and (b); the device goes back to the baseline"):
            self._mark("publisher", "recalls (a) and (b)", self.cast.recall(1, 2))
            _, at = self._wait("the device to leave (a)", lambda s: s.level == 0 and _settled(s))
            self._check_baseline()
            self.findings.recalled = True
            self._mark("device", "leaves (a): recalled", at)
            self._steady()

    def again(self) -> None:
        """The same fix as (c)."""
        with self.record.step("The publisher releases (c); the agent installs it"):
            self._mark("publisher", "releases (c)", self.cast.publish("new"))
            _, at = self._wait("(c) to be effective", lambda s: s.level == 3 and s.effective)
            self._mark("device", "(c) effective", at)
            self._check_new(3)
            self._steady()

    def removal(self) -> None:
        """Automatic install off, the repository gone, (c) removed: the baseline, byte for byte, and no connection."""
        cve = self.cast.pair.fix.cve
        commands = self.cast.commands
        with self.record.step("The person switches automatic install off; the repository goes away"):
            commands.suture("settings", "set", "automatic-install", "off")
            self._wait("the agent to have read the setting", lambda s: not s.settings.automatic_install)
            commands.suture("settings", "set", "poll-interval", QUIET_INTERVAL)
            self._steady()
            last = max(moment for moment, _, _ in requests_in(self.stage.logs / "repository-requests.log"))
            claim(time.time() - last > STEADY_SECONDS / 2, f"the agent's next look is {QUIET_INTERVAL} away")
            self.cast.processes.stop("repository")
            self._mark("publisher", "repository stopped", time.monotonic())
        with self.record.step("The person removes (c), offline"), self._counted() as prefix:
            answer = commands.suture("remove", PRODUCT, prefix=prefix)
            removed_at = time.monotonic()
            status, at = self._wait("the baseline to be in place", lambda s: s.level == 0 and _settled(s))
            self.findings.reopened = tuple(sorted(entry.cve for entry in status.open_cves))
            claim(cve in answer["reopened_cves"], f"`suture remove` says that {cve} is open again")
            claim(cve in self.findings.reopened, f"`suture status` says that {cve} is open again")
            self._check_baseline()
            self._mark("device", f"person removes (c): {cve} is open again", min(removed_at, at))
        claim(self.findings.attempts == 0, f"nothing tried to connect, but {self.findings.attempts} attempts were seen")
        self.findings.removed_offline = True
        self._steady()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[tuple[str, ...]]:
        """Count connection attempts: a listener in the repository's place, and strace on the agent and the command."""
        traces = self.stage.out / "traces"
        traces.mkdir()
        tripwire = Tripwire(self.stage.repository_port)
        traced = self.cast.trace_agent(traces / "agent")
        prefix = ("strace", "-f", "-e", "trace=connect", "-o", str(traces / "remove")) if traced else ()
        try:
            yield prefix
        finally:
            attempts = tripwire.close()
            if traced:
                self.cast.processes.stop("strace")
        seen = [connects_in(path, besides=self.stage.service_port) for path in (traces / "agent", traces / "remove")]
        self.findings.attempts = attempts + sum(count for count in seen if count is not None)
        self.findings.counted_by = ("listener on the repository's port",) + (("strace",) if traced else ())
        self.record.fact(f"connection attempts: {self.findings.attempts} ({', '.join(self.findings.counted_by)})")

    # --- what several chapters ask --------------------------------------------------------------------------------

    def _check_baseline(self) -> None:
        """The baseline serves, from its own untouched files."""
        claim(self.stage.pointer.resolve() == self.stage.baseline.resolve(), "the pointer points at the baseline")
        digest = digest_of_tree(self.stage.baseline)
        claim(digest == self.findings.baseline_digest, "the baseline is what it was, byte for byte")
        versions = ask_versions(self.stage.service_port)
        claim(versions.pillow == self.cast.pair.old, f"the service runs Pillow {self.cast.pair.old} again")
        for pid in service_pids(versions.main_pid)[1:]:
            stray = [path for path in mapped_files(pid) if path.is_relative_to(self.stage.state.resolve())]
            claim(not stray, f"the service's worker {pid} maps nothing of the store")
        self.record.fact(f"service: {_words_of(versions)}; the baseline is byte for byte the same")

    def _first_sight(self, state: str, otherwise: float) -> float:
        """When the status file first began with these words."""
        sights = self.watcher.sights if self.watcher is not None else []
        return next(
            (sight.at for sight in sights if sight.what == "state" and sight.value.startswith(state)), otherwise
        )

    def _poll_that_found(self) -> float:
        """When the first request for a changed timestamp after the release came, in the repository's log."""
        offset = time.time() - time.monotonic()
        for moment, path, status in requests_in(self.stage.logs / "repository-requests.log"):
            if path == "/metadata/timestamp.json" and status == 200 and moment - offset >= self.findings.published_at:
                return moment - offset
        raise ServiceError("cannot find the agent's look that found (a) in the repository's log")

    def _wait(self, what: str, holds: Callable[[ProductStatus], bool]) -> tuple[ProductStatus, float]:
        return self.cast.commands.wait(what, holds)

    def _steady(self) -> None:
        """Leave the state as it is under load for a while, and look that every answer was right so far."""
        time.sleep(STEADY_SECONDS)
        self.cast.processes.check_alive()
        failed = [request for request in read_requests(self.stage.requests) if not request.ok]
        claim(not failed, f"no request fails, but {len(failed)} did, the first with: {[r.reason for r in failed[:1]]}")

    def _mark(self, lane: str, words: str, at: float) -> None:
        self.findings.marks.append((at, lane, words))

    def _measured(self, taken: Measurements) -> str:
        found = self.findings
        return (
            f"poll to effective {found.effective_at - found.polled_at:.2f} s, "
            f"release to effective {found.effective_at - found.published_at:.1f} s, "
            f"swap {taken.swap_milliseconds or 0:.2f} ms, restart {taken.restart_milliseconds or 0:.0f} ms"
        )


def _state_of(status: ProductStatus, level: int) -> str:
    return next((found.state for found in status.levels if found.level == level), "")


def _words_of(versions: Versions) -> str:
    return f"Pillow {versions.pillow}, libwebp {versions.libwebp}"


def _settled(status: ProductStatus) -> bool:
    """Nothing is under way, and nobody uses other files than those in place."""
    return status.state == "baseline" and status.effective


def _level_of(pointer: Path) -> int:
    """The level whose tree the pointer points at: ``…/BASELINE/LEVEL/tree``."""
    target = pointer.readlink()
    return int(target.parent.name) if target.name == "tree" else 0
