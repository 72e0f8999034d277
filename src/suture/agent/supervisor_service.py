"""What a supervised service is: its words, checked, and where its product lies now."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from suture.adapters.files import read_file_if_there
from suture.adapters.sockets import check_loopback_url
from suture.core.errors import InputError, NotKnownError, StorageError, UsageError
from suture.core.identifiers import check_name
from suture.core.limits import MAXIMUM_PRODUCT_FILE_BYTES
from suture.wire.product import Product

_LONGEST_SECONDS = 3600.0
_PR_SET_CHILD_SUBREAPER = 36
"""prctl(2)."""


@dataclass(frozen=True, slots=True)
class Service:
    """What `suture supervise` was asked for.

    Attributes:
        argv: the worker's command; ``{root}`` in a word becomes the product's root.
        product: whose pointer names the root, known to the state directory; or `pointer` itself.
        listen: as `suture.adapters.sockets.listen` takes it; None for a service without a socket.
        ready_url, ready_command: at most one; neither: the worker says READY=1.
        start_timeout_seconds, drain_timeout_seconds: until a start has failed; between SIGTERM and SIGKILL.
    """

    name: str
    argv: tuple[str, ...]
    state_directory: Path
    product: str | None = None
    pointer: Path | None = None
    listen: str | None = None
    ready_url: str | None = None
    ready_command: tuple[str, ...] = ()
    start_timeout_seconds: float = 30.0
    drain_timeout_seconds: float = 30.0

    def check(self) -> Service:
        """Itself, if it makes sense.

        Raises:
            InputError: a bad name, URL, time or combination.
        """
        check_name(self.name, "a service")
        if self.product is not None:
            check_name(self.product, "a product")
        if not self.argv or not self.argv[0]:
            raise UsageError("cannot supervise nothing: write the worker's command after --")
        if any("\0" in word for word in self.argv):
            raise UsageError("cannot supervise a command with a NUL in it")
        if self.ready_url is not None:
            check_loopback_url(self.ready_url)
            if self.ready_command:
                raise UsageError("cannot use --ready and --ready-command together")
        for words, seconds in (
            ("--start-timeout", self.start_timeout_seconds),
            ("--drain-timeout", self.drain_timeout_seconds),
        ):
            if not 0 < seconds <= _LONGEST_SECONDS:
                raise UsageError(
                    f"cannot use {seconds:g} as {words}: more than 0 and at most {_LONGEST_SECONDS:g} seconds"
                )
        if self.pointer is None and self.product is None and any("{root}" in word for word in self.argv):
            raise UsageError("cannot fill {root} in: name the --product or the --pointer")
        return self


def product_root(service: Service) -> str | None:
    """Where the product's files lie now: the pointer's real path, resolved here and nowhere later.

    A worker that resolved the pointer again and again would mix two levels when it is swapped.

    Raises:
        NotKnownError: no such product here. InputError, StorageError: its file or its pointer is off.
    """
    pointer = service.pointer
    if pointer is None and service.product is not None:
        known = _read_product(service.state_directory, service.product)
        pointer = Path(known.pointer if known.pointer is not None else known.root)
    if pointer is None:
        return None
    try:
        root = os.path.realpath(pointer, strict=True)
    except OSError as error:
        raise StorageError(f"cannot resolve the pointer {pointer}: {error.strerror}") from error
    if not os.path.isdir(root):
        raise StorageError(f"cannot use {root}: what the pointer {pointer} names is no directory")
    return root


def _read_product(state_directory: Path, name: str) -> Product:
    path = state_directory / "products" / f"{name}.json"
    data = read_file_if_there(path, maximum_bytes=MAXIMUM_PRODUCT_FILE_BYTES)
    if data is None:
        raise NotKnownError(
            f"cannot find the product {name!r}: there is no {path}",
            advice="add it with `suture product add FILE`, with the same state directory",
        )
    try:
        product = msgspec.json.decode(data, type=Product)
    except msgspec.DecodeError as error:
        raise InputError(f"cannot read the product file {path}: {error}") from error
    if product.product != name:
        raise InputError(f"cannot use the product file {path}: it is for {product.product!r}")
    return product


def adopt_orphans() -> bool:
    """Become the parent of workers' orphans (PR_SET_CHILD_SUBREAPER): they are reaped, and found by their ancestry."""
    try:
        return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False
