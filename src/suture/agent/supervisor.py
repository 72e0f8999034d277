"""`suture supervise`: keeps a service's listening socket, so that a worker can be replaced without losing a request.

One thread, one selector, no polling while nothing happens. It never stops a worker that serves before another is ready,
and never decides *when* to hand over: SIGHUP does (spec/supervise.md).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from suture.adapters.files import PUBLIC_DIRECTORY, exclusive_lock, make_directory
from suture.adapters.process import boot_seconds, own_identity
from suture.adapters.sockets import NotifySocket, address_of, close_listener, listen, tell_service_manager
from suture.agent.places import check_own_directory
from suture.agent.supervisor_ready import CommandAgrees, Said, UrlAnswers
from suture.agent.supervisor_service import Service, adopt_orphans, product_root
from suture.agent.supervisor_state import Phase, SupervisedState, reason_text, state_path, write_state
from suture.agent.supervisor_worker import Worker, start_worker, worker_environment
from suture.core.clock import format_time
from suture.core.errors import BusyError, SutureError

_FIRST_BACK_OFF_SECONDS = 0.1
_LONGEST_BACK_OFF_SECONDS = 30.0
_STEADY_SECONDS = 30.0
"""A worker that lived so long did not fail at its start: the back-off begins anew."""
_LAST_WAIT_SECONDS = 5.0
"""After SIGKILL; what is still there then hangs in the kernel, and nobody can end it."""
_SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Supervisor:
    """One supervised service, from its first start to its end. `say` prints a line for its log."""

    def __init__(self, service: Service, *, say: Callable[[str], None]) -> None:
        self._service, self._say = service, say
        self._listener: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._current: Worker | None = None
        self._candidate: Worker | None = None
        self._ready = Said()
        self._leaving: list[Worker] = []
        self._counts = True
        """The try under way is a hand-over, no restart after a crash."""
        self._restart_at: float | None = None
        self._failures = 0
        self._stopping = False
        pid, started = own_identity()
        self._state = SupervisedState(service.name, pid, started, 0, "starting", "", product=service.product)
        self._written: SupervisedState | None = None

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT, which end everything.

        Raises:
            BusyError: a service of that name is supervised already with this state directory.
            HostError: the socket cannot be bound; StorageError: the state cannot be written; InputError: bad words.
        """
        path = state_path(self._service.state_directory, self._service.name)
        make_directory(path.parent, mode=PUBLIC_DIRECTORY)
        check_own_directory(path.parent)
        name = self._service.name
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(exclusive_lock(path.with_suffix(".lock"), doing=f"supervise {name!r}"))
            except BusyError as error:
                advice = "end the other supervisor, or choose another --name or --state-directory"
                raise BusyError(f"cannot supervise {name!r}: it is supervised already", advice=advice) from error
            stack.callback(self._selector.close)
            product_root(self._service)  # a wrong --product is a person's mistake and is said at once
            if self._service.listen is not None:
                self._listener = listen(self._service.listen)
                stack.callback(close_listener, self._listener)
                self._change(listen=address_of(self._listener))
            adopt_orphans()
            self._wake_on_signals(stack)
            self._write(first=True)
            self._begin(counts=True)
            while not (self._stopping and not self._leaving):
                self._write()
                self._step()
            self._change(worker_pid=None, worker_started=None, state="stopped")
            self._write()

    # --- the loop -------------------------------------------------------------------------------------------------

    def _wake_on_signals(self, stack: contextlib.ExitStack) -> None:
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
            stack.callback(end.close)
        self._selector.register(self._woken, selectors.EVENT_READ)
        stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False))
        for number in _SIGNALS:
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: None))

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def _step(self) -> None:
        now = time.monotonic()
        due = [w.kill_at + (_LAST_WAIT_SECONDS if w.killed else 0) for w in self._leaving if w.kill_at is not None]
        due += [
            now + 0.2 for w in self._leaving if w.status is not None
        ]  # its group's last members are not our children
        due += [at for at in (self._restart_at, self._ready.due() if self._candidate else None) if at is not None]
        if self._candidate is not None:
            due.append(self._candidate.began + self._service.start_timeout_seconds)
        events = self._selector.select(max(0.0, min(due) - now) if due else None)
        if any(key.fileobj is self._woken for key, _ in events):
            with contextlib.suppress(BlockingIOError):
                while heard := self._woken.recv(4096):
                    self._heed(heard)
        for worker in [w for w in (self._current, self._candidate, *self._leaving) if w is not None]:
            said = worker.notify.receive(worker.pid)
            if worker is self._candidate and said.get("READY") == "1":
                self._ready.ready = True
        self._reap()
        self._look_at_candidate()
        self._look_at_leaving()
        if self._restart_at is not None and time.monotonic() >= self._restart_at and not self._stopping:
            self._begin(counts=False)

    def _heed(self, signals: bytes) -> None:
        if signal.SIGTERM in signals or signal.SIGINT in signals:
            if self._stopping:
                for worker in self._leaving:
                    worker.kill_at = time.monotonic()
            self._stop()
        elif signal.SIGHUP in signals and not self._stopping:
            if self._candidate is not None:
                self._finish("a newer hand-over was asked for")
            self._begin(counts=True)

    def _reap(self) -> None:
        while True:
            try:
                pid, raw = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            status = os.waitstatus_to_exitcode(raw)
            for worker in (self._current, self._candidate, *self._leaving):
                if worker is not None and worker.pid == pid:
                    worker.status = status
            self._ready.ended(pid, status)

    # --- workers --------------------------------------------------------------------------------------------------

    def _begin(self, *, counts: bool) -> None:
        """Start a worker beside the one that serves, if any."""
        self._counts, self._restart_at = counts, None
        service, notify = self._service, NotifySocket()
        try:
            root = product_root(service)
            environment = worker_environment(
                os.environ,
                notify=notify,
                root=root,
                product=service.product,
                name=service.name,
                listens=self._listener is not None,
            )
            listener = None if self._listener is None else self._listener.fileno()
            worker = start_worker(service.argv, environment=environment, listener=listener, root=root, notify=notify)
        except SutureError as error:
            notify.close()
            self._finish(f"the worker could not be started: {error}")
            return
        self._candidate = worker
        self._selector.register(notify, selectors.EVENT_READ)
        if service.ready_url is not None:
            self._ready = UrlAnswers(service.ready_url, worker.pid, self._wake)
        elif service.ready_command:
            self._ready = CommandAgrees(service.ready_command, environment, worker.pid)
        else:
            self._ready = Said()

    def _look_at_candidate(self) -> None:
        candidate = self._candidate
        if self._current is not None and self._current.status is not None:
            self._crashed(self._current)
        if candidate is None:
            return
        self._ready.look()
        if candidate.status is not None:
            self._finish(f"the new worker was not ready: {candidate.ending()}")
        elif self._ready.ready:
            self._finish(None)
        elif time.monotonic() >= candidate.began + self._service.start_timeout_seconds:
            self._finish(f"not ready within {self._service.start_timeout_seconds:g} s: {self._ready.problem}")

    def _finish(self, problem: str | None) -> None:
        """End the try under way: the new worker serves, or it leaves and everything stays as it was."""
        candidate, self._candidate = self._candidate, None
        self._ready.stop()
        if problem is None and candidate is not None:
            if self._current is not None:
                self._leave(self._current)
            self._current = candidate
            self._change(worker_pid=candidate.pid, worker_started=candidate.started, root=candidate.root)
            tell_service_manager("READY=1")
        else:
            if candidate is not None:
                self._leave(candidate)
            if self._current is None and not self._stopping:
                self._back_off()
        if self._counts:
            began = candidate.began_boottime if candidate else boot_seconds()
            outcome: Literal["ok", "failed"] = "ok" if problem is None else "failed"
            reason = reason_text(problem or "")
            self._change(generation=self._state.generation + 1, outcome=outcome, reason=reason, began=began)
        self._say(f"{self._service.name}: " + (problem or f"worker {candidate.pid if candidate else 0} serves"))

    def _crashed(self, worker: Worker) -> None:
        self._current = None
        self._leave(worker)
        if time.monotonic() - worker.began >= _STEADY_SECONDS:
            self._failures = 0
        self._change(crashes=self._state.crashes + 1, worker_pid=None, worker_started=None)
        self._say(f"{self._service.name}: worker {worker.pid} ended by itself: {worker.ending()}")
        if self._candidate is None and not self._stopping:
            self._back_off()

    def _back_off(self) -> None:
        delay = min(_FIRST_BACK_OFF_SECONDS * 2.0**self._failures, _LONGEST_BACK_OFF_SECONDS)
        self._failures = min(self._failures + 1, 20)
        self._restart_at = time.monotonic() + delay

    def _leave(self, worker: Worker) -> None:
        worker.terminate(self._service.drain_timeout_seconds)
        self._leaving.append(worker)

    def _look_at_leaving(self) -> None:
        now = time.monotonic()
        for worker in list(self._leaving):
            kill_at = worker.kill_at if worker.kill_at is not None else now
            stuck = worker.killed and now >= kill_at + _LAST_WAIT_SECONDS
            if worker.is_gone() or stuck:
                self._selector.unregister(worker.notify)
                worker.notify.close()
                self._leaving.remove(worker)
                if stuck:
                    self._say(f"{self._service.name}: process group {worker.pid} does not end even when killed")
            elif now >= kill_at and not worker.killed:
                worker.kill()

    def _stop(self) -> None:
        self._stopping, self._restart_at = True, None
        tell_service_manager("STOPPING=1")
        self._ready.stop()
        for worker in (self._candidate, self._current):
            if worker is not None:
                self._leave(worker)
        self._candidate = self._current = None

    # --- what it says of itself -----------------------------------------------------------------------------------

    def _phase(self) -> Phase:
        if self._state.state == "stopped":
            return "stopped"
        if self._stopping:
            return "stopping"
        if self._candidate is not None:
            return "starting" if self._current is None else "handing-over"
        return "running" if self._current is not None else "backing-off"

    def _change(self, **fields: object) -> None:
        self._state = msgspec.structs.replace(self._state, **fields)

    def _write(self, *, first: bool = False) -> None:
        """Write the file where it would say something new. A full disk must not end a service that runs."""
        if not first:
            self._change(state=self._phase())
        if self._state == self._written:
            return
        said = msgspec.structs.replace(self._state, at=format_time(datetime.now(UTC).replace(microsecond=0)))
        try:
            write_state(state_path(self._service.state_directory, self._service.name), said)
        except SutureError as error:
            if first:
                raise
            self._say(f"{self._service.name}: {error}")
        self._written = self._state
