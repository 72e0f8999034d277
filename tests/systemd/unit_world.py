"""The chain's vendor on the machine, its device in a container with a real systemd, and a service of real units.

The product is `darkroom`; its service keeps its connections over a restart through socket activation and the service
manager's descriptor store (sd_listen_fds(3), sd_pid_notify_with_fds(3)).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from booted_container import BootedContainer, CannotBootError, wait_until
from chain_world import ChainWorld

from suture.testing.ports import quiet_port

STATE = "/var/lib/suture"

SERVER = '''
"""Answers each line with its version and process; hands its connections to the next one."""
import array, mmap, os, select, signal, socket, sys

here = os.path.dirname(os.path.realpath(__file__))
version = open(here + "/notes.txt").read().split()[-1]
if "fails" in version:
    sys.exit(3)
engine = os.open(here + "/lib/engine.so", os.O_RDONLY)
code = mmap.mmap(engine, 0, prot=mmap.PROT_READ)
os.close(engine)


def notify(text, descriptors=()):
    address = os.environ["NOTIFY_SOCKET"]
    address = "\\0" + address[1:] if address.startswith("@") else address
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendmsg([text.encode()], rights, 0, address)


listeners, connections = [], {}
for number, name in enumerate(os.environ.get("LISTEN_FDNAMES", "").split(":")[: int(os.environ.get("LISTEN_FDS", 0))]):
    one = socket.socket(fileno=3 + number)
    if name.startswith("kept"):
        connections[one.fileno()] = one
    else:
        listeners.append(one)
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append("stop"))
signal.signal(signal.SIGHUP, lambda *_: asked.append("reload"))
awake, wake = os.pipe()
for end in (awake, wake):
    os.set_blocking(end, False)
signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
notify("READY=1")
while not asked:
    ready, _, _ = select.select([*listeners, awake, *connections.values()], [], [])
    for one in ready:
        if one in listeners:
            new, _ = one.accept()
            connections[new.fileno()] = new
        elif one is not awake:
            line = one.recv(100)
            if b"die" in line and "mortal" in version:
                os.kill(os.getpid(), signal.SIGABRT)
            if line:
                one.sendall(f"{version} {os.getpid()}\\n".encode())
            else:
                del connections[one.fileno()]
                one.close()
if asked[0] == "reload":
    # Resolve the version once, then become it: the same process, the new code, every descriptor kept.
    notify("RELOADING=1")
    new = os.path.realpath(os.environ["DARKROOM"]) + "/imaging/server.py"
    every = [*listeners, *connections.values()]
    held = [os.dup2(one.fileno(), 200 + number) for number, one in enumerate(every)]
    for number, descriptor in enumerate(held):
        os.dup2(descriptor, 3 + number, inheritable=True)
        os.close(descriptor)
    os.environ["LISTEN_FDS"] = str(len(held))
    os.environ["LISTEN_FDNAMES"] = ":".join(["socket"] * len(listeners) + ["kept"] * len(connections))
    os.execv(sys.executable, [sys.executable, "-S", new])
for number, one in enumerate(connections.values()):
    notify(f"FDSTORE=1\\nFDNAME=kept{number}", [one.fileno()])
'''


class UnitWorld(ChainWorld):
    """The vendor outside, the device inside; `suture` runs inside, on the device's own default places."""

    def __init__(self, root: Path, container: BootedContainer) -> None:
        super().__init__(root)
        self.container = container
        self.socket = "/run/darkroom.sock"

    # --- the vendor --------------------------------------------------------------------------------------------------

    def write_tree(self, root: Path, flavour: str, *, extra: dict[str, bytes] | None = None) -> Path:
        """The chain's component, with the service's program in it."""
        return super().write_tree(root, flavour, extra={**(extra or {}), "server.py": SERVER.encode()})

    def found(self, **product: Any) -> None:
        """Make baseline, workshop and product file; `product` holds more fields of the product file."""
        self.write_tree(self.baseline / "imaging", "1.0")
        self.release.write_text("1.0\n")
        self.port = quiet_port()
        describe = {
            "product": "darkroom",
            "title": "Darkroom",
            "vendor": "Example",
            "release": {"kind": "file", "path": str(self.release)},
            "root": str(self.baseline),
            "pointer": str(self.pointer),
            "architecture": "x86_64",
            "components": [{"name": "imaging", "path": "imaging"}],
            "repositories": [f"http://127.0.0.1:{self.port}/"],
            "units": ["darkroom.service"],
            "commands": [{"name": "is-well", "argv": ["/bin/sh", "-c", "! grep -q broken {root}/imaging/notes.txt"]}],
            "run_as": "nobody",
            **product,
        }
        (self.root / "describe.json").write_text(json.dumps(describe))
        self.publisher("init", "--describe", str(self.root / "describe.json"))
        self.serve()

    def publish_unit(self, level: int, flavour: str, *words: str) -> None:
        """Build and release one level that restarts the unit."""
        new = self.write_tree(self.root / f"new-{level}/imaging", flavour)
        words = ("--baseline", "1.0-x86_64", "--level", str(level), "--no-full-size", *words)
        words += ("--component", "imaging", "--old", str(self.baseline / "imaging"), "--new", str(new))
        words += ("--cve", "CVE-2023-4863", "--severity", "critical", "--title", "t", "--purl", "pkg:pypi/x@1")
        words += ("--restart-unit", "darkroom.service", "--health", "command:is-well", "--health", "stays-up:1")
        self.publisher("build", *words)
        self.publisher("release", str(level))

    # --- the device --------------------------------------------------------------------------------------------------

    def suture(self, *words: str, expect: int | None = 0) -> Any:
        """One command on the device, as root there."""
        command = (sys.executable, "-I", "-m", "suture", *words, "--json")
        code, text = self.container.try_run(*command, errors=subprocess.DEVNULL)
        if expect is not None:
            assert code == expect, (words, code, text)
        return json.loads(text) if text.strip() else None

    def visible(self, component: str = "imaging") -> str:
        """What a program inside sees through the pointer."""
        return self.container.run("cat", f"{self.pointer}/{component}/notes.txt").strip()

    def start_unit(self) -> None:
        """Install the units and start them."""
        self.container.write(
            "/etc/systemd/system/darkroom.socket",
            f"[Socket]\nListenStream={self.socket}\nSocketMode=0666\n[Install]\nWantedBy=sockets.target\n",
        )
        self.container.write(
            "/etc/systemd/system/darkroom.service",
            "[Unit]\nRequires=darkroom.socket\nStartLimitIntervalSec=0\n[Service]\nType=notify\n"
            f"ExecStart=/usr/bin/python3 -S {self.pointer}/imaging/server.py\nEnvironment=DARKROOM={self.pointer}\n"
            "ExecReload=/bin/kill -HUP $MAINPID\nFileDescriptorStoreMax=100\nUser=nobody\n"
            "[Install]\nWantedBy=multi-user.target\n",
        )
        self.container.run("systemctl", "daemon-reload")
        self.container.run("systemctl", "enable", "--now", "darkroom.socket", "darkroom.service")

    def ask_unit(self) -> tuple[str, int]:
        """The version and process id (inside) that the service answers with, over a connection of its own."""
        with self.connect() as connection:
            return talk(connection)

    def connect(self) -> socket.socket:
        """A connection to the service, through the container's own file system."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10)
        connection.connect(f"/proc/{self.container.leader}/root{self.socket}")
        return connection

    def wait_for_level(self, level: int, seconds: float = 60) -> None:
        """Until the level is in place and proven."""

        def is_there() -> bool:
            product = self.product()
            return bool(product["level"] == level and product["effective"])

        try:
            wait_until(is_there, f"level {level}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; the status is {self.product()}") from error


def talk(connection: socket.socket) -> tuple[str, int]:
    """One line each way: version and process id."""
    connection.sendall(b"hello\n")
    version, pid = connection.recv(100).split()
    return version.decode(), int(pid)


class Load:
    """Clients that connect, ask and leave as fast as they can, and one that stays."""

    def __init__(self, world: UnitWorld) -> None:
        self.world = world
        self.done, self.errors, self.versions = 0, list[str](), set[str]()
        self.kept = world.connect()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._ends.is_set():
            try:
                self.versions.add(self.world.ask_unit()[0])
                self.done += 1
            except (OSError, ValueError) as error:
                self.errors.append(repr(error))

    def __enter__(self) -> Load:
        talk(self.kept)
        self._thread.start()
        wait_until(lambda: self.done > 20 or bool(self.errors), "the load")
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self.kept.close()


@contextlib.contextmanager
def unit_world(**product: Any) -> Iterator[UnitWorld]:
    """A booted container with a device that knows the product and runs its units.

    Raises:
        CannotBootError: no systemd can be had here.
    """
    root = Path(tempfile.mkdtemp(prefix="suture-units-", dir="/var/tmp"))
    root.chmod(0o755)
    try:
        container = BootedContainer([root])
        world = UnitWorld(root, container)
        try:
            container.boot()
            world.found(**product)
            world.suture("product", "add", str(world.workshop / "product.json"))
            world.start_unit()
            yield world
        except BaseException:
            print(container.try_run("journalctl", "--no-pager", "--lines=25", "--boot")[1])
            raise
        finally:
            world.stop_serving()
            container.close()
    finally:
        shutil.rmtree(root, ignore_errors=True)


__all__ = ["STATE", "CannotBootError", "Load", "UnitWorld", "talk", "unit_world"]
