"""Package managers go first: grafts give way before dpkg touches anything, and come back, or leave, when it is done.

A graft hides what dpkg writes, is read-only, and a rename over a grafted file gives EBUSY. dpkg's own hooks are used:
apt's would miss `dpkg -i`. A hook never ends a package manager's work but where a change of ours is half done.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from suture.adapters.files import exclusive_lock, host_errors, make_directory, write_file
from suture.agent.commands import Session
from suture.agent.device import Device
from suture.agent.executor import Executor
from suture.agent.machine.events import GaveWay
from suture.agent.machine.transitions import handle
from suture.agent.package_marker import mark, unmark
from suture.agent.places import SYSTEM_PLACES, Places
from suture.agent.product_rules import grafted_paths
from suture.agent.report import refresh_status
from suture.core.errors import BaselineMismatchError, BusyError, NotKnownError, SutureError
from suture.wire.product import Product

HOOKS_FILE = Path("/etc/dpkg/dpkg.cfg.d/suture")
LOCK_SECONDS = 120.0
"""A transition's restarts take at most 90 s each; then dpkg says that it could not begin."""

Say = Callable[[str], None]


def hooks(python: str, places: Places) -> str:
    """dpkg's configuration (dpkg.cfg(5)): both hooks, which do no harm where Suture has been taken away.

    Args:
        python: the interpreter that Suture is installed in, absolute.
        places: named in the hooks where they are not the system's own.
    """
    where = ""
    if places != SYSTEM_PLACES:
        state, configuration = shlex.quote(str(places.state)), shlex.quote(str(places.configuration))
        where = f" --state-directory {state} --configuration-directory {configuration}"
    program = shlex.quote(python)
    busy = BusyError.exit_code
    # Only "busy" may stop dpkg, and only before it begins: a half-done swap under it would be worse.
    before = f"test ! -x {program} || {program} -I -m suture graft pre-invoke{where} || test $? -ne {busy}"
    after = f"test ! -x {program} || {program} -I -m suture graft post-invoke{where} || true"
    return (
        "# Written by `suture graft hooks install`: grafts give way to dpkg and come back afterwards.\n"
        f"pre-invoke={before}\npost-invoke={after}\n"
    )


def install_hooks(python: str, places: Places, file: Path = HOOKS_FILE) -> None:
    """Write the hooks, atomically.

    Raises:
        StorageError: (or a kind of it) nothing changed.
    """
    make_directory(file.parent, mode=0o755)
    write_file(file, hooks(python, places).encode(), mode=0o644)


def remove_hooks(file: Path = HOOKS_FILE) -> bool:
    """Remove the hooks; whether there were any."""
    with host_errors(f"remove {file}"):
        try:
            file.unlink()
        except FileNotFoundError:
            return False
    return True


def give_way(device: Device, say: Say) -> int:
    """Before dpkg: show every overlay product's baseline, and leave a mark so that nothing grafts it meanwhile.

    Returns:
        How many products were grafted.

    Raises:
        BusyError: a transition is under way and did not end. StorageError: a graft could not be taken away.
    """
    products = [product for product in device.shelf.list() if product.graft == "overlay"]
    if not products:
        return 0
    given, failure = 0, None
    with exclusive_lock(device.places.lock, doing="give way to dpkg", wait_seconds=LOCK_SECONDS):
        manager = mark(device.places, os.getpid())
        for product in products:
            try:
                state = device.journal.load(product.product)
                if state is None or device.graft.current(product, state.baseline) == 0:
                    continue
                if state.active:
                    event = GaveWay(device.now(), f"{manager.name} ({manager.pid})")
                    device.journal.commit(handle(state, event), device.now())
                device.graft.swap(product, state.baseline, 0)
                given += 1
                say(f"{product.product}: its graft gives way to {manager.name} ({manager.pid})")
            except SutureError as error:
                say(f"{product.product}: {error.message}")
                failure = failure or error
        refresh_status(device)
    if failure is not None:
        raise failure
    return given


def come_back(device: Device, say: Say) -> None:
    """After dpkg: graft again what still fits, and let go what does not (`superseded`). Errors are said, not raised."""
    unmark(device.places)
    for product in device.shelf.list():
        if product.graft != "overlay":
            continue
        try:
            _come_back(device, product, say)
        except SutureError as error:
            say(f"{product.product}: {error.message}")


def _come_back(device: Device, product: Product, say: Say) -> None:
    before = device.journal.load(product.product)
    if before is None:
        return
    try:
        session = Session(device, product)  # another release: it supersedes here already
    except NotKnownError as error:
        if any(path.exists() for path in grafted_paths(product)):
            # apt unpacks and configures in two calls: in between, no release is installed.
            say(f"{product.product}: {error.message}; it stays as it is until that can be told")
            return
        _supersede(device, product, "none: its files are gone")
    else:
        change = _change_beneath(device, product)
        if change:
            _supersede(device, product, f"{session.baseline} with other files: {change}")
        else:
            session.recover()
    after = device.journal.load(product.product)
    if after is not None and before.active:
        words = f"level {after.active} is grafted again" if after.active else f"level {before.active} is superseded"
        say(f"{product.product}: {words}")


def _change_beneath(device: Device, product: Product) -> str:
    """What dpkg changed of the files that the level in place was made for; empty where nothing."""
    state = device.journal.load(product.product)
    record = state.record(state.active) if state is not None else None
    if state is None or record is None:
        return ""
    manifest = device.manifests.get(state.product, state.baseline, record.level, record.digest)
    if manifest is None:
        return ""
    try:
        device.graft.verify_pins(product, {change.name: change.pins for change in manifest.components})
    except BaselineMismatchError as error:
        return error.message
    return ""


def _supersede(device: Device, product: Product, release: str) -> None:
    state = device.journal.load(product.product)
    if state is not None:
        Executor(device, product, LOCK_SECONDS).supersede(state.baseline, release)
