"""Run what a manifest declares, as far as the product file allows: its words choose among the device's own list.

Never a shell, never root: commands run as the product's `run_as` user with a clean environment, no input, bounded
output and nothing left at the deadline. HTTP goes to this machine only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from suture.adapters.process import CommandResult, account_of, read_process, run_bounded
from suture.adapters.sockets import ask_loopback
from suture.agent.doors import HealthOutcome
from suture.agent.restarts.systemd import SystemdRestarter
from suture.agent.supervisor_state import read_live_state
from suture.core.errors import HostError, InputError, NotAllowedError, SutureError
from suture.improvement.manifest import CommandCheck, HealthCheck, HttpCheck, Restart
from suture.wire.product import Product

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT_BYTES = 4096
_RETRY_SECONDS = 0.1
_LOOK_SECONDS = 0.2


class HealthChecks:
    """Behind `suture.agent.doors.Health`.

    Args:
        state_directory: where supervised services are known.
        units: asks systemd about units; the system's own where left out.
    """

    def __init__(self, state_directory: Path, units: SystemdRestarter | None = None) -> None:
        self._state_directory, self._units = state_directory, units or SystemdRestarter()

    def check(self, product: Product, restart: Restart, checks: Sequence[HealthCheck]) -> tuple[HealthOutcome, ...]:
        """Run every check, in order, stopping at the first failure.

        Raises:
            NotAllowedError: a check names what the product file does not list, or a command would run as root.
        """
        for check in checks:
            _refuse_unknown(product, check)
        outcomes: list[HealthOutcome] = []
        for check in checks:
            began = time.perf_counter()
            if isinstance(check, CommandCheck):
                name, problem = check.name, _run_command(product, check)
            elif isinstance(check, HttpCheck):
                name, problem = check.name, _ask(product, check)
            else:
                name, problem = "stays-up", self._stays_up(product, restart, check.seconds)
            milliseconds = (time.perf_counter() - began) * 1000
            outcomes.append(HealthOutcome(name, problem is None, _printable(problem or ""), milliseconds))
            if problem is not None:
                break
        return tuple(outcomes)

    def _stays_up(self, product: Product, restart: Restart, seconds: int) -> str | None:
        """Why the restarted services did not keep their main process for so long, or None."""
        units = [name for name in restart.units if name in product.units]
        services = [name for name in restart.services if name in product.services]
        try:
            before = self._main_processes(units, services)
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(_LOOK_SECONDS, left))
                for name, process in self._main_processes(units, services).items():
                    if process != before[name]:
                        return f"{name} did not keep its main process for {seconds} s"
        except SutureError as error:
            return error.message
        return None

    def _main_processes(self, units: Sequence[str], services: Sequence[str]) -> dict[str, tuple[int, int]]:
        """The pid and start time of each one's main process."""
        found: dict[str, tuple[int, int]] = {}
        for name in services:
            said = read_live_state(self._state_directory, name)
            found[name] = _identity(name, said.worker_pid or 0)
        for name in units:
            state = self._units.look(name)
            if state.active != "active":
                raise HostError(f"cannot find {name} up: it is {state.active} ({state.result})")
            # A unit without a main process (a socket, an exited one-shot) stays up as long as it is active.
            found[name] = _identity(name, state.main_pid) if state.main_pid else (0, state.restarts)
        return found


def _printable(text: str) -> str:
    """A command's words as they may stand in a journal and on a terminal: no controls but the new line."""
    kept = "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
    return kept if len(kept) <= _KEPT_BYTES else f"{kept[:200]} … {kept[200 - _KEPT_BYTES :]}"


def _identity(name: str, pid: int) -> tuple[int, int]:
    process = read_process(pid) if pid > 0 else None
    if process is None or process.is_zombie:
        raise HostError(f"cannot find {name} up: its main process is gone")
    return process.pid, process.started


def _refuse_unknown(product: Product, check: HealthCheck) -> None:
    if isinstance(check, CommandCheck):
        if all(command.name != check.name for command in product.commands):
            raise NotAllowedError(f"cannot run the health check {check.name!r}: the product file lists no such command")
        if os.geteuid() == 0 and (product.run_as is None or account_of(product.run_as).user == 0):
            raise NotAllowedError(
                f"cannot run the health check {check.name!r} as root: the product file names no other user",
                advice="the vendor adds run_as to the product file, then `suture product add` learns it again",
            )
    elif isinstance(check, HttpCheck) and all(url.name != check.name for url in product.urls):
        raise NotAllowedError(f"cannot ask the health check {check.name!r}: the product file lists no such address")


def clean_environment(product: Product, home: str) -> dict[str, str]:
    """All that a health command knows of the world."""
    root = os.path.realpath(product.pointer if product.pointer is not None else product.root)
    return {
        "PATH": PATH,
        "HOME": home,
        "LANG": "C.UTF-8",
        "SUTURE_PRODUCT": product.product,
        "SUTURE_PRODUCT_ROOT": root,
    }


def _run_command(product: Product, check: CommandCheck) -> str | None:
    argv = next(command.argv for command in product.commands if command.name == check.name)
    account = account_of(product.run_as) if os.geteuid() == 0 and product.run_as is not None else None
    environment = clean_environment(product, account.home if account is not None else "/")
    words = [word.replace("{root}", environment["SUTURE_PRODUCT_ROOT"]) for word in argv]
    try:
        result = run_bounded(
            words,
            environment=environment,
            timeout_seconds=check.timeout_seconds,
            account=account,
            tail_bytes=_KEPT_BYTES,
        )
    except InputError as error:
        return error.message
    return None if result.status == 0 else _command_problem(result, check.timeout_seconds)


def _command_problem(result: CommandResult, seconds: int) -> str:
    if result.status is None:
        how = f"it did not end within {seconds} s and was killed"
    elif result.status < 0:
        how = f"it was ended by signal {-result.status}"
    else:
        how = f"it ended with {result.status}"
    said = result.tail.strip()
    return f"{how}: {said}" if said else how


def _ask(product: Product, check: HttpCheck) -> str | None:
    """Ask until it answers 200 or time is up: a service that is just starting may refuse its first connections."""
    url = next(allowed.url for allowed in product.urls if allowed.name == check.name)
    end, problem = time.monotonic() + check.timeout_seconds, "no answer"
    while (left := end - time.monotonic()) > 0:
        try:
            answer = ask_loopback(url, timeout_seconds=left)
        except (HostError, InputError) as error:
            problem = error.message
        else:
            if answer.status == 200:
                return None
            problem = f"it answered {answer.status}: {answer.body[:200]}"
        time.sleep(min(_RETRY_SECONDS, max(0.0, end - time.monotonic())))
    return problem
