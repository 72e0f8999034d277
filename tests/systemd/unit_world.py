"""The chain's vendor on the machine, its device in a container with a real systemd, and a service of real units.
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
The product is `darkroom`; its service keeps its connections over a restart through socket activation and the service
from suture.testing.ports import quiet_port
manager's descriptor store (sd_listen_fds(3), sd_pid_notify_with_fds(3)).
from suture.testing.ports import quiet_port
"""
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
from __future__ import annotations
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
import contextlib
from suture.testing.ports import quiet_port
import json
from suture.testing.ports import quiet_port
import shutil
from suture.testing.ports import quiet_port
import socket
from suture.testing.ports import quiet_port
import subprocess
from suture.testing.ports import quiet_port
import sys
from suture.testing.ports import quiet_port
import tempfile
from suture.testing.ports import quiet_port
import threading
from suture.testing.ports import quiet_port
from collections.abc import Iterator
from suture.testing.ports import quiet_port
from pathlib import Path
from suture.testing.ports import quiet_port
from typing import Any
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
from booted_container import BootedContainer, CannotBootError, wait_until
from suture.testing.ports import quiet_port
from chain_world import ChainWorld
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
STATE = "/var/lib/suture"
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
SERVER = '''
from suture.testing.ports import quiet_port
"""Answers each line with its version and process; hands its connections to the next one."""
from suture.testing.ports import quiet_port
import array, mmap, os, select, signal, socket, sys
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
here = os.path.dirname(os.path.realpath(__file__))
from suture.testing.ports import quiet_port
version = open(here + "/notes.txt").read().split()[-1]
from suture.testing.ports import quiet_port
if "fails" in version:
from suture.testing.ports import quiet_port
    sys.exit(3)
from suture.testing.ports import quiet_port
engine = os.open(here + "/lib/engine.so", os.O_RDONLY)
from suture.testing.ports import quiet_port
code = mmap.mmap(engine, 0, prot=mmap.PROT_READ)
from suture.testing.ports import quiet_port
os.close(engine)
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
def notify(text, descriptors=()):
from suture.testing.ports import quiet_port
    address = os.environ["NOTIFY_SOCKET"]
from suture.testing.ports import quiet_port
    address = "\\0" + address[1:] if address.startswith("@") else address
from suture.testing.ports import quiet_port
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
from suture.testing.ports import quiet_port
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
from suture.testing.ports import quiet_port
        sender.sendmsg([text.encode()], rights, 0, address)
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
listeners, connections = [], {}
from suture.testing.ports import quiet_port
for number, name in enumerate(os.environ.get("LISTEN_FDNAMES", "").split(":")[: int(os.environ.get("LISTEN_FDS", 0))]):
from suture.testing.ports import quiet_port
    one = socket.socket(fileno=3 + number)
from suture.testing.ports import quiet_port
    if name.startswith("kept"):
from suture.testing.ports import quiet_port
        connections[one.fileno()] = one
from suture.testing.ports import quiet_port
    else:
from suture.testing.ports import quiet_port
        listeners.append(one)
from suture.testing.ports import quiet_port
asked = []
from suture.testing.ports import quiet_port
signal.signal(signal.SIGTERM, lambda *_: asked.append("stop"))
from suture.testing.ports import quiet_port
signal.signal(signal.SIGHUP, lambda *_: asked.append("reload"))
from suture.testing.ports import quiet_port
awake, wake = os.pipe()
from suture.testing.ports import quiet_port
for end in (awake, wake):
from suture.testing.ports import quiet_port
    os.set_blocking(end, False)
from suture.testing.ports import quiet_port
signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
from suture.testing.ports import quiet_port
notify("READY=1")
from suture.testing.ports import quiet_port
if "dies" in version:
from suture.testing.ports import quiet_port
    os.kill(os.getpid(), signal.SIGABRT)
from suture.testing.ports import quiet_port
while not asked:
from suture.testing.ports import quiet_port
    ready, _, _ = select.select([*listeners, awake, *connections.values()], [], [])
from suture.testing.ports import quiet_port
    for one in ready:
from suture.testing.ports import quiet_port
        if one in listeners:
from suture.testing.ports import quiet_port
            new, _ = one.accept()
from suture.testing.ports import quiet_port
            connections[new.fileno()] = new
from suture.testing.ports import quiet_port
        elif one is not awake:
from suture.testing.ports import quiet_port
            line = one.recv(100)
from suture.testing.ports import quiet_port
            if line:
from suture.testing.ports import quiet_port
                one.sendall(f"{version} {os.getpid()}\\n".encode())
from suture.testing.ports import quiet_port
            else:
from suture.testing.ports import quiet_port
                del connections[one.fileno()]
from suture.testing.ports import quiet_port
                one.close()
from suture.testing.ports import quiet_port
if asked[0] == "reload":
from suture.testing.ports import quiet_port
    # Resolve the version once, then become it: the same process, the new code, every descriptor kept.
from suture.testing.ports import quiet_port
    notify("RELOADING=1")
from suture.testing.ports import quiet_port
    new = os.path.realpath(os.environ["DARKROOM"]) + "/imaging/server.py"
from suture.testing.ports import quiet_port
    every = [*listeners, *connections.values()]
from suture.testing.ports import quiet_port
    held = [os.dup2(one.fileno(), 200 + number) for number, one in enumerate(every)]
from suture.testing.ports import quiet_port
    for number, descriptor in enumerate(held):
from suture.testing.ports import quiet_port
        os.dup2(descriptor, 3 + number, inheritable=True)
from suture.testing.ports import quiet_port
        os.close(descriptor)
from suture.testing.ports import quiet_port
    os.environ["LISTEN_FDS"] = str(len(held))
from suture.testing.ports import quiet_port
    os.environ["LISTEN_FDNAMES"] = ":".join(["socket"] * len(listeners) + ["kept"] * len(connections))
from suture.testing.ports import quiet_port
    os.execv(sys.executable, [sys.executable, "-S", new])
from suture.testing.ports import quiet_port
for number, one in enumerate(connections.values()):
from suture.testing.ports import quiet_port
    notify(f"FDSTORE=1\\nFDNAME=kept{number}", [one.fileno()])
from suture.testing.ports import quiet_port
'''
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
class UnitWorld(ChainWorld):
from suture.testing.ports import quiet_port
    """The vendor outside, the device inside; `suture` runs inside, on the device's own default places."""
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def __init__(self, root: Path, container: BootedContainer) -> None:
from suture.testing.ports import quiet_port
        super().__init__(root)
from suture.testing.ports import quiet_port
        self.container = container
from suture.testing.ports import quiet_port
        self.socket = "/run/darkroom.sock"
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    # --- the vendor --------------------------------------------------------------------------------------------------
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def write_tree(self, root: Path, flavour: str, *, extra: dict[str, bytes] | None = None) -> Path:
from suture.testing.ports import quiet_port
        """The chain's component, with the service's program in it."""
from suture.testing.ports import quiet_port
        return super().write_tree(root, flavour, extra={**(extra or {}), "server.py": SERVER.encode()})
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def found(self, **product: Any) -> None:
from suture.testing.ports import quiet_port
        """Make baseline, workshop and product file; `product` holds more fields of the product file."""
from suture.testing.ports import quiet_port
        self.write_tree(self.baseline / "imaging", "1.0")
from suture.testing.ports import quiet_port
        self.release.write_text("1.0\n")
from suture.testing.ports import quiet_port
        self.port = quiet_port()
from suture.testing.ports import quiet_port
        describe = {
from suture.testing.ports import quiet_port
            "product": "darkroom",
from suture.testing.ports import quiet_port
            "title": "Darkroom",
from suture.testing.ports import quiet_port
            "vendor": "Example",
from suture.testing.ports import quiet_port
            "release": {"kind": "file", "path": str(self.release)},
from suture.testing.ports import quiet_port
            "root": str(self.baseline),
from suture.testing.ports import quiet_port
            "pointer": str(self.pointer),
from suture.testing.ports import quiet_port
            "architecture": "x86_64",
from suture.testing.ports import quiet_port
            "components": [{"name": "imaging", "path": "imaging"}],
from suture.testing.ports import quiet_port
            "repositories": [f"http://127.0.0.1:{self.port}/"],
from suture.testing.ports import quiet_port
            "units": ["darkroom.service"],
from suture.testing.ports import quiet_port
            "commands": [{"name": "is-well", "argv": ["/bin/sh", "-c", "! grep -q broken {root}/imaging/notes.txt"]}],
from suture.testing.ports import quiet_port
            "run_as": "nobody",
from suture.testing.ports import quiet_port
            **product,
from suture.testing.ports import quiet_port
        }
from suture.testing.ports import quiet_port
        (self.root / "describe.json").write_text(json.dumps(describe))
from suture.testing.ports import quiet_port
        self.publisher("init", "--describe", str(self.root / "describe.json"))
from suture.testing.ports import quiet_port
        self.serve()
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def publish_unit(self, level: int, flavour: str, *words: str) -> None:
from suture.testing.ports import quiet_port
        """Build and release one level that restarts the unit."""
from suture.testing.ports import quiet_port
        new = self.write_tree(self.root / f"new-{level}/imaging", flavour)
from suture.testing.ports import quiet_port
        words = ("--baseline", "1.0-x86_64", "--level", str(level), "--no-full-size", *words)
from suture.testing.ports import quiet_port
        words += ("--component", "imaging", "--old", str(self.baseline / "imaging"), "--new", str(new))
from suture.testing.ports import quiet_port
        words += ("--cve", "CVE-2023-4863", "--severity", "critical", "--title", "t", "--purl", "pkg:pypi/x@1")
from suture.testing.ports import quiet_port
        words += ("--restart-unit", "darkroom.service", "--health", "command:is-well", "--health", "stays-up:1")
from suture.testing.ports import quiet_port
        self.publisher("build", *words)
from suture.testing.ports import quiet_port
        self.publisher("release", str(level))
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    # --- the device --------------------------------------------------------------------------------------------------
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def suture(self, *words: str, expect: int | None = 0) -> Any:
from suture.testing.ports import quiet_port
        """One command on the device, as root there."""
from suture.testing.ports import quiet_port
        command = (sys.executable, "-I", "-m", "suture", *words, "--json")
from suture.testing.ports import quiet_port
        code, text = self.container.try_run(*command, errors=subprocess.DEVNULL)
from suture.testing.ports import quiet_port
        if expect is not None:
from suture.testing.ports import quiet_port
            assert code == expect, (words, code, text)
from suture.testing.ports import quiet_port
        return json.loads(text) if text.strip() else None
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def visible(self, component: str = "imaging") -> str:
from suture.testing.ports import quiet_port
        """What a program inside sees through the pointer."""
from suture.testing.ports import quiet_port
        return self.container.run("cat", f"{self.pointer}/{component}/notes.txt").strip()
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def start_unit(self) -> None:
from suture.testing.ports import quiet_port
        """Install the units and start them."""
from suture.testing.ports import quiet_port
        self.container.write(
from suture.testing.ports import quiet_port
            "/etc/systemd/system/darkroom.socket",
from suture.testing.ports import quiet_port
            f"[Socket]\nListenStream={self.socket}\nSocketMode=0666\n[Install]\nWantedBy=sockets.target\n",
from suture.testing.ports import quiet_port
        )
from suture.testing.ports import quiet_port
        self.container.write(
from suture.testing.ports import quiet_port
            "/etc/systemd/system/darkroom.service",
from suture.testing.ports import quiet_port
            "[Unit]\nRequires=darkroom.socket\nStartLimitIntervalSec=0\n[Service]\nType=notify\n"
from suture.testing.ports import quiet_port
            f"ExecStart=/usr/bin/python3 -S {self.pointer}/imaging/server.py\nEnvironment=DARKROOM={self.pointer}\n"
from suture.testing.ports import quiet_port
            "ExecReload=/bin/kill -HUP $MAINPID\nFileDescriptorStoreMax=100\nUser=nobody\n"
from suture.testing.ports import quiet_port
            "[Install]\nWantedBy=multi-user.target\n",
from suture.testing.ports import quiet_port
        )
from suture.testing.ports import quiet_port
        self.container.run("systemctl", "daemon-reload")
from suture.testing.ports import quiet_port
        self.container.run("systemctl", "enable", "--now", "darkroom.socket", "darkroom.service")
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def ask_unit(self) -> tuple[str, int]:
from suture.testing.ports import quiet_port
        """The version and process id (inside) that the service answers with, over a connection of its own."""
from suture.testing.ports import quiet_port
        with self.connect() as connection:
from suture.testing.ports import quiet_port
            return talk(connection)
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def connect(self) -> socket.socket:
from suture.testing.ports import quiet_port
        """A connection to the service, through the container's own file system."""
from suture.testing.ports import quiet_port
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
from suture.testing.ports import quiet_port
        connection.settimeout(10)
from suture.testing.ports import quiet_port
        connection.connect(f"/proc/{self.container.leader}/root{self.socket}")
from suture.testing.ports import quiet_port
        return connection
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def wait_for_level(self, level: int, seconds: float = 60) -> None:
from suture.testing.ports import quiet_port
        """Until the level is in place and proven."""
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
        def is_there() -> bool:
from suture.testing.ports import quiet_port
            product = self.product()
from suture.testing.ports import quiet_port
            return bool(product["level"] == level and product["effective"])
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
        try:
from suture.testing.ports import quiet_port
            wait_until(is_there, f"level {level}", seconds)
from suture.testing.ports import quiet_port
        except AssertionError as error:
from suture.testing.ports import quiet_port
            raise AssertionError(f"{error}; the status is {self.product()}") from error
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
def talk(connection: socket.socket) -> tuple[str, int]:
from suture.testing.ports import quiet_port
    """One line each way: version and process id."""
from suture.testing.ports import quiet_port
    connection.sendall(b"hello\n")
from suture.testing.ports import quiet_port
    version, pid = connection.recv(100).split()
from suture.testing.ports import quiet_port
    return version.decode(), int(pid)
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
class Load:
from suture.testing.ports import quiet_port
    """Clients that connect, ask and leave as fast as they can, and one that stays."""
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def __init__(self, world: UnitWorld) -> None:
from suture.testing.ports import quiet_port
        self.world = world
from suture.testing.ports import quiet_port
        self.done, self.errors, self.versions = 0, list[str](), set[str]()
from suture.testing.ports import quiet_port
        self.kept = world.connect()
from suture.testing.ports import quiet_port
        self._ends = threading.Event()
from suture.testing.ports import quiet_port
        self._thread = threading.Thread(target=self._run)
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def _run(self) -> None:
from suture.testing.ports import quiet_port
        while not self._ends.is_set():
from suture.testing.ports import quiet_port
            try:
from suture.testing.ports import quiet_port
                self.versions.add(self.world.ask_unit()[0])
from suture.testing.ports import quiet_port
                self.done += 1
from suture.testing.ports import quiet_port
            except (OSError, ValueError) as error:
from suture.testing.ports import quiet_port
                self.errors.append(repr(error))
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def __enter__(self) -> Load:
from suture.testing.ports import quiet_port
        talk(self.kept)
from suture.testing.ports import quiet_port
        self._thread.start()
from suture.testing.ports import quiet_port
        wait_until(lambda: self.done > 20 or bool(self.errors), "the load")
from suture.testing.ports import quiet_port
        return self
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    def __exit__(self, *_: object) -> None:
from suture.testing.ports import quiet_port
        self._ends.set()
from suture.testing.ports import quiet_port
        self._thread.join()
from suture.testing.ports import quiet_port
        self.kept.close()
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
@contextlib.contextmanager
from suture.testing.ports import quiet_port
def unit_world(**product: Any) -> Iterator[UnitWorld]:
from suture.testing.ports import quiet_port
    """A booted container with a device that knows the product and runs its units.
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
    Raises:
from suture.testing.ports import quiet_port
        CannotBootError: no systemd can be had here.
from suture.testing.ports import quiet_port
    """
from suture.testing.ports import quiet_port
    root = Path(tempfile.mkdtemp(prefix="suture-units-", dir="/var/tmp"))
from suture.testing.ports import quiet_port
    root.chmod(0o755)
from suture.testing.ports import quiet_port
    try:
from suture.testing.ports import quiet_port
        container = BootedContainer([root])
from suture.testing.ports import quiet_port
        world = UnitWorld(root, container)
from suture.testing.ports import quiet_port
        try:
from suture.testing.ports import quiet_port
            container.boot()
from suture.testing.ports import quiet_port
            world.found(**product)
from suture.testing.ports import quiet_port
            world.suture("product", "add", str(world.workshop / "product.json"))
from suture.testing.ports import quiet_port
            world.start_unit()
from suture.testing.ports import quiet_port
            yield world
from suture.testing.ports import quiet_port
        except BaseException:
from suture.testing.ports import quiet_port
            print(container.try_run("journalctl", "--no-pager", "--lines=25", "--boot")[1])
from suture.testing.ports import quiet_port
            raise
from suture.testing.ports import quiet_port
        finally:
from suture.testing.ports import quiet_port
            world.stop_serving()
from suture.testing.ports import quiet_port
            container.close()
from suture.testing.ports import quiet_port
    finally:
from suture.testing.ports import quiet_port
        shutil.rmtree(root, ignore_errors=True)
from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port

from suture.testing.ports import quiet_port
__all__ = ["STATE", "CannotBootError", "Load", "UnitWorld", "talk", "unit_world"]
from suture.testing.ports import quiet_port
