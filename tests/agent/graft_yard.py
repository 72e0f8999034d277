"""A small product of two components, and every graft that can show levels of it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from suture.agent.doors import Graft
from suture.agent.grafts.overlay import OverlayGraft
from suture.agent.grafts.overlay_hidden import Ways
from suture.agent.grafts.switch import SwitchGraft
from suture.core.digests import digest_bytes
from suture.improvement.layer import Layer
from suture.improvement.tree import DirectoryEntry, FileEntry
from suture.wire.product import FixedRelease, Product, ProductComponent

ISSUED = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
IDENTITY = "1.0-x86_64"

WAYS = {
    "overlay": Ways(),
    "overlay-loop": Ways(file_backed=False),
    "overlay-path": Ways(by_descriptor=False),
    "overlay-stack": Ways(beneath=False),
    "overlay-old-kernel": Ways(file_backed=False, by_descriptor=False, beneath=False),
}
KINDS = ("switch", *WAYS)


class Yard:
    """Components `imaging` and `codec`; level N of either says ``level N``."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind
        self.baseline = path / "baseline"
        self.is_overlay = kind != "switch"
        self.product = self._product()
        self.graft = self.open()

    def _product(self) -> Product:
        return Product(
            format="suture-product/1",
            product="darkroom",
            title="Darkroom",
            vendor="Acme",
            release=FixedRelease("1.0"),
            root=str(self.baseline),
            components=(ProductComponent("imaging", "lib/imaging"), ProductComponent("codec", "codec")),
            repositories=("http://127.0.0.1/",),
            first_root="sha256:" + "0" * 64,
            graft="overlay" if self.is_overlay else "switch",
            pointer=None if self.is_overlay else str(self.path / "current"),
        )

    def open(self) -> Graft:
        """The graft, as a process finds it that starts now."""
        if not self.is_overlay:
            return SwitchGraft(self.path / "store")
        return OverlayGraft(self.path / "store", self.path / "grafts", WAYS[self.kind])

    def build(self) -> Yard:
        """Put the baseline on disk."""
        for component in ("lib/imaging", "codec"):
            place = self.baseline / component
            (place / "sub/__pycache__").mkdir(parents=True)
            (place / "version").write_bytes(b"level 0")
            (place / "same.so").write_bytes(b"same" * 1000)
            (place / "gone.txt").write_bytes(b"gone")
            (place / "sub/x.py").write_bytes(b"x = 0\n")
            (place / "sub/__pycache__/x.cpython-311.pyc").write_bytes(b"stale")
            (place / "link").symlink_to("same.so")
        (self.path / "new").mkdir()
        if not self.is_overlay:
            (self.path / "current").symlink_to(self.baseline)
        return self

    def entry(self, path: str, data: bytes, mode: str = "0644") -> FileEntry:
        """A layer's file, whose verified bytes lie ready."""
        digest = digest_bytes(data)
        (self.path / "new" / digest[7:]).write_bytes(data)
        return FileEntry(path, mode, len(data), digest)

    def new_file(self, component: str, entry: FileEntry) -> Path:
        """Where a layer's file lies ready."""
        return self.path / "new" / entry.digest[7:]

    def layer(self, level: int) -> Layer:
        """Changed, added and removed files."""
        return Layer(
            entries=(
                DirectoryEntry("added", "0750"),
                self.entry("added/deep.txt", b"deep"),
                self.entry("sub/x.py", f"x = {level}\n".encode()),
                self.entry("version", f"level {level}".encode(), "0755"),
            ),
            removed=("gone.txt",),
        )

    def layers(self, level: int, *components: str) -> dict[str, Layer]:
        """By component; both where none is named."""
        return {name: self.layer(level) for name in components or ("codec", "imaging")}

    def stage(self, level: int, *components: str) -> Path:
        """Stage a level."""
        layers = self.layers(level, *components)
        return self.graft.stage(self.product, IDENTITY, level, layers, self.new_file, ISSUED)

    def swap(self, level: int) -> float:
        """Show a level."""
        return self.graft.swap(self.product, IDENTITY, level)

    def current(self) -> int:
        """The level that the graft says is shown."""
        return self.graft.current(self.product, IDENTITY)

    def seen(self, component: str = "imaging") -> Path:
        """Where programs find a component."""
        start = self.baseline if self.is_overlay else self.path / "current"
        return start / {"imaging": "lib/imaging", "codec": "codec"}[component]

    def version(self, component: str = "imaging") -> str:
        """What programs read."""
        return (self.seen(component) / "version").read_text()

    def spoil(self, level: int) -> None:
        """Change a staged level behind the graft's back."""
        place = self.path / "store/darkroom" / IDENTITY / str(level)
        if not self.is_overlay:
            (place / "tree/lib/imaging/version").write_bytes(b"evil! 1")
            return
        image = place / "imaging.erofs"
        data = bytearray(image.read_bytes())
        position = data.index(b"deep") if b"deep" in data else len(data) // 2
        data[position] ^= 1
        descriptor = os.open(image, os.O_WRONLY)
        os.write(descriptor, data)
        os.close(descriptor)

    def left(self) -> list[str]:
        """What the store holds."""
        release = self.path / "store/darkroom" / IDENTITY
        return sorted(os.listdir(release)) if release.exists() else []
