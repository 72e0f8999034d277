"""The agent as a long-running process: it looks, waits, watches, and stays out of everybody's way.

It sleeps in one place, on signals and the next due time; SIGUSR1 makes it read its settings again, SIGTERM lets it
finish a transition and go. Every due time is worked out again from the journal after a restart.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec
import psutil

from suture.adapters.files import exclusive_lock
from suture.agent.commands import Session
from suture.agent.crash_watch import is_in_grace
from suture.agent.device import Device
from suture.agent.machine.state import ProductState
from suture.agent.notices import notice_of, send_notice
from suture.agent.report import AGENT_FACT, AgentProcess, refresh_status, trust_status
from suture.core.clock import parse_time
from suture.core.errors import BusyError, SutureError
from suture.wire.product import Product

JITTER = 0.2
"""Of the poll interval, either way, so that a fleet does not knock at once (fetch storms)."""
LONGEST_BACK_OFF = 8
"""Intervals between two looks at an unreachable repository, at most."""
FIRST_WATCH_SECONDS = 1.0
LONGEST_WATCH_SECONDS = 60.0
BUSY_SECONDS = 1.0
FIRST_LOOK_SECONDS = 30.0
"""After a start the first look comes within this, or within the poll interval where that is shorter."""

Say = Callable[[str], None]


@dataclass(slots=True)
class Due:
    """When a product is to be looked at next, on the steady clock, and how it went so far."""

    poll: float
    looked: float | None = None
    watch: float | None = None
    watch_seconds: float = FIRST_WATCH_SECONDS
    failures: int = 0
    drawn: float = 1.0
    considered: datetime | None = None
    """Wall clock of the last look at what is known; a back-off, hold or postponement that ended since asks for one."""


class Agent:
    """The daemon. `say` takes one line for the log."""

    def __init__(self, device: Device, say: Say, chance: random.Random | None = None) -> None:
        self.device = device
        self.say = say
        self.chance = chance or random.Random()  # noqa: S311 - jitter, not secrecy
        self.due: dict[str, Due] = {}
        self.stopping = False

    # --- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until told to stop; 0.

        Raises:
            BusyError: another agent runs on this state directory.
        """
        lock = self.device.places.state / "agent.lock"
        with exclusive_lock(lock, doing="run a second agent on this device"):
            return self._run()

    def _run(self) -> int:
        be_polite()
        own = psutil.Process()
        fact = AgentProcess(own.pid, own.create_time())
        with self._signals() as wait:
            self.device.journal.keep_fact("", AGENT_FACT, msgspec.json.encode(fact))
            self._recover_all()
            refresh_status(self.device)
            self.say(f"agent runs as process {own.pid}, state in {self.device.places.state}")
            try:
                while not self.stopping:
                    self._round()
                    if not self.stopping:
                        wait(self._seconds_to_next())
            finally:
                self.device.journal.keep_fact("", AGENT_FACT, b"")
                refresh_status(self.device)
        self.say("agent ends")
        return 0

    def _recover_all(self) -> None:
        self.device.graft.sweep()
        for product in self.device.shelf.list():
            try:
                Session(self.device, product).recover()
            except SutureError as error:
                self.say(f"{product.product}: {error.message}")

    def _round(self) -> None:
        now = self.device.clock.monotonic()
        products = self.device.shelf.list()
        for gone in set(self.due) - {product.product for product in products}:
            del self.due[gone]
        for product in products:
            due = self.due.setdefault(product.product, self._first_due(product, now))
            self._reschedule(product, due)
            if now >= due.poll:
                self._visit(product, due)
            elif (due.watch is not None and now >= due.watch) or self._has_ended(product, due):
                self._watch(product, due)

    def _first_due(self, product: Product, now: float) -> Due:
        interval = self.device.settings(product).poll_interval_seconds
        first = min(FIRST_LOOK_SECONDS, interval) * self.chance.random()
        watch = now if self._is_watched(product) else None
        return Due(poll=now + first, watch=watch, considered=self.device.clock.now())

    def _reschedule(self, product: Product, due: Due) -> None:
        """The interval may have changed: the next look is that long after the last one, never later than drawn."""
        if due.looked is None:
            return
        interval = self.device.settings(product).poll_interval_seconds
        stretch = min(2**due.failures, LONGEST_BACK_OFF)
        due.poll = due.looked + interval * stretch * due.drawn

    # --- looking -----------------------------------------------------------------------------------------------------

    def _visit(self, product: Product, due: Due) -> None:
        before = self.device.journal.load(product.product)
        try:
            Session(self.device, product).visit(may_start=True)
            due.failures = 0
        except BusyError as error:
            self.say(f"{product.product}: {error.message}; trying again")
            due.looked, due.poll = None, self.device.clock.monotonic() + BUSY_SECONDS
            return
        except SutureError as error:
            due.failures += 1
            self.say(f"{product.product}: {error.message}")
        due.looked = self.device.clock.monotonic()
        due.drawn = 1 + JITTER * (2 * self.chance.random() - 1)
        self._after(product, due, before)

    def _watch(self, product: Product, due: Due) -> None:
        """Look again at who runs old code; and act on what is known where a back-off has ended meanwhile."""
        before = self.device.journal.load(product.product)
        with contextlib.suppress(BusyError):
            try:
                fetch = Session(self.device, product, wait_seconds=0).consider()
                if fetch is not None:
                    due.looked, due.poll = None, self.device.clock.monotonic()
            except BusyError:
                raise
            except SutureError as error:
                self.say(f"{product.product}: {error.message}")
        due.watch_seconds = min(due.watch_seconds * 2, LONGEST_WATCH_SECONDS)
        self._after(product, due, before)

    def _after(self, product: Product, due: Due, before: ProductState | None) -> None:
        due.considered = self.device.clock.now()
        after = self.device.journal.load(product.product)
        tell_people(self.device, product, before, after)
        if after is not None and (before is None or before.active != after.active):
            due.watch_seconds = FIRST_WATCH_SECONDS
            self.say(f"{product.product}: level {after.active} is in place (was {before.active if before else 0})")
        now = self.device.clock.monotonic()
        due.watch = now + due.watch_seconds if self._is_watched(product) else None

    def _is_watched(self, product: Product) -> bool:
        """Something is left to prove or to finish before the next poll."""
        state = self.device.journal.load(product.product)
        if state is None:
            return False
        unproved = state.watch is not None and not state.watch.clean
        return state.operation is not None or unproved or is_in_grace(self.device, state)

    def _seconds_to_next(self) -> float:
        now = self.device.clock.monotonic()
        times = [due.poll for due in self.due.values()]
        times += [due.watch for due in self.due.values() if due.watch is not None]
        wall = self.device.clock.now()
        for product in self.device.shelf.list():
            times += [now + (end - wall).total_seconds() for end in self._ends(product) if end > wall]
        # A product that is added sends the signal; the hour is for a clock or a file that changed without one.
        return max(0.05, min([now + 3600.0, *times]) - now)

    def _ends(self, product: Product) -> list[datetime]:
        """When back-offs, a hold and a postponement end, from the journal and the settings."""
        state = self.device.journal.load(product.product)
        ends = [self.device.settings(product).postpone_until]
        if state is not None:
            ends += [state.hold_until, *(record.retry_at for record in state.levels)]
        return [parse_time(end) for end in ends if end is not None]

    def _has_ended(self, product: Product, due: Due) -> bool:
        """One of them ended since the last look."""
        wall, since = self.device.clock.now(), due.considered
        return since is not None and any(since < end <= wall for end in self._ends(product))

    # --- waiting -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[Callable[[float], None]]:
        """Signals wake a select(2); a transition that runs is never cut short."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        old = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        handled = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in handled}

        def wait(seconds: float) -> None:
            ready, _, _ = select.select([reader], [], [], seconds)
            if ready:
                with contextlib.suppress(BlockingIOError):
                    reader.recv(4096)

        try:
            yield wait
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(old)
            reader.close()
            writer.close()

    def _on_signal(self, number: int, _: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.stopping = True


def tell_people(device: Device, product: Product, before: ProductState | None, after: ProductState | None) -> None:
    """A notice of what this round did by itself, where the settings want one."""
    if after is None or not device.settings(product).notify:
        return
    text = notice_of(product, before, after)
    if text is not None:
        send_notice(text, os.environ, is_root=device.is_root)


def be_polite() -> None:
    """Lower this process's priority on processor and disk; a host that forbids it is no reason to stop."""
    with contextlib.suppress(OSError):
        os.nice(10)
    with contextlib.suppress(psutil.Error, OSError, AttributeError, ValueError):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


def once(device: Device, say: Say) -> int:
    """One look at every product, as a timer starts it; the exit code of the first that failed, else 0."""
    code = 0
    for product in device.shelf.list():
        before = device.journal.load(product.product)
        try:
            Session(device, product).visit(may_start=True)
            say(f"{product.product}: {trust_status(device, product).state}")
        except SutureError as error:
            code = code or error.exit_code
            say(f"{product.product}: {error.message}")
        tell_people(device, product, before, device.journal.load(product.product))
    refresh_status(device)
    return code
