"""The `suture` command, driven as a person drives it: words in, JSON out.

No shortcut into the library: what a person could not type does not happen here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from suture.core.errors import ServiceError
from suture.demo.processes import Done, Processes
from suture.wire.status import ProductStatus, Status

POLL_SECONDS = 0.25


def suture_command() -> str:
    """The installed `suture` beside the Python that runs this."""
    return str(Path(sys.executable).with_name("suture"))


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs commands for one device and one publisher."""

    processes: Processes
    product: str

    def suture(self, *words: str | Path, timeout_seconds: float = 120, prefix: tuple[str, ...] = ()) -> Any:
        """Run ``suture WORDS… --json``; its answer, decoded (None where it printed nothing).

        Args:
            words: the command.
            timeout_seconds: for the whole command.
            prefix: what runs it, such as strace.

        Raises:
            ServiceError: it ended with another code than 0.
        """
        done = self.processes.run(
            "commands", [*prefix, suture_command(), *words, "--json"], timeout_seconds=timeout_seconds
        )
        if done.code != 0:
            raise ServiceError(_failure(done), advice=f"see {self.processes.logs}/commands.log")
        if not done.output.strip():
            return None
        try:
            return msgspec.json.decode(done.output)
        except msgspec.DecodeError as error:
            raise ServiceError(f"cannot read what `{_short(done)}` answered: {error}") from error

    def status(self) -> ProductStatus | None:
        """What `suture status --json` says of the product; None before the agent's first look."""
        done = self.processes.run("status", [suture_command(), "status", "--json"])
        if done.code != 0:
            raise ServiceError(_failure(done), advice=f"see {self.processes.logs}/status.log")
        status = msgspec.json.decode(done.output, type=Status)
        return next((product for product in status.products if product.product == self.product), None)

    def wait(
        self, what: str, holds: Callable[[ProductStatus], bool], *, timeout_seconds: float = 45
    ) -> tuple[ProductStatus, float]:
        """Ask for the status until `holds`.

        Returns:
            The status, and when it was asked for (CLOCK_MONOTONIC).

        Raises:
            ServiceError: it did not come to that in time, or one of the demo's processes ended.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            self.processes.check_alive()
            asked = time.monotonic()
            status = self.status()
            if status is not None and holds(status):
                return status, asked
            if asked > deadline:
                raise ServiceError(
                    f"cannot wait any longer for {what} ({timeout_seconds:.0f} s): {_standing(status)}",
                    advice=f"look at {self.processes.logs}/agent.log",
                )
            time.sleep(POLL_SECONDS)


def _standing(status: ProductStatus | None) -> str:
    if status is None:
        return "`suture status` does not know the product"
    why = "; ".join(f"{reason.code}: {reason.text}" for reason in status.why) or "it does not say why"
    return f"the device stands at {status.display}, {status.state} ({why[:600]})"


def _short(done: Done) -> str:
    words = [Path(word).name if word.startswith("/") else word for word in done.argv]
    return " ".join(words[:6])


def _failure(done: Done) -> str:
    said = (done.errors.strip() or done.output.strip() or "it said nothing")[-800:]
    return f"cannot run `{_short(done)} …`: it ended with {done.code}: {said}"
