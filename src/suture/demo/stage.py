"""The demo's stage: its directories, the two trees and the spoiled third, the pictures, and the device's product.

What a vendor's build and installer would have done before Suture comes into play.
"""

from __future__ import annotations

import lzma
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from suture.core.errors import HostError, NotKnownError, ServiceError
from suture.demo import wheels
from suture.testing.ports import quiet_port

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PRODUCT = "darkroom"
RELEASE = "1.0"
COMPONENT = "imaging"
SERVICE = "thumbnails"
PHOTOGRAPHS = ("grace_hopper.jpg", "Minduka_Present_Blue_Pack.png", "logo2.png")
"""Of matplotlib's sample data, which the picture of the time line needs anyhow; the first is in the public domain."""


OURS = frozenset(
    {
        "wheels",
        "logs",
        "trees",
        "device",
        "publisher",
        "pictures",
        "traces",
        "expectations.json",
        "requests.jsonl",
        "result.json",
        "timeline.svg",
        "timeline.png",
    }
)
"""What a run may leave in its directory; nothing else there is ever touched."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Every path of one run below `out`, and its two ports."""

    out: Path
    service_port: int
    repository_port: int

    @property
    def wheels(self) -> Path:
        """The cache of wheels, kept between runs."""
        return self.out / "wheels"

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.out / "logs"

    @property
    def trees(self) -> Path:
        """The publisher's trees: ``old``, ``new``, ``bad``."""
        return self.out / "trees"

    @property
    def installed(self) -> Path:
        """Where the product is installed on the device."""
        return self.out / "device/opt/darkroom"

    @property
    def baseline(self) -> Path:
        """The product's root, as installed."""
        return self.installed / "baseline"

    @property
    def pointer(self) -> Path:
        """The link through which programs reach the product."""
        return self.installed / "current"

    @property
    def state(self) -> Path:
        """The device's state directory."""
        return self.out / "device/state"

    @property
    def configuration(self) -> Path:
        """The device's configuration directory."""
        return self.out / "device/configuration"

    @property
    def workshop(self) -> Path:
        """The publisher's workshop."""
        return self.out / "publisher/workshop"

    @property
    def publisher(self) -> Path:
        """What else the publisher has: passphrases and the description of the product."""
        return self.out / "publisher"

    @property
    def pictures(self) -> Path:
        """The pictures that are asked for."""
        return self.out / "pictures"

    @property
    def expectations(self) -> Path:
        """What their thumbnails must be."""
        return self.out / "expectations.json"

    @property
    def requests(self) -> Path:
        """The load client's record."""
        return self.out / "requests.jsonl"

    def environment(self) -> dict[str, str]:
        """The environment of every process: little, and no proxy."""
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "TMPDIR") if key in os.environ}
        return kept | {
            "HOME": str(self.out / "device"),
            "SUTURE_STATE_DIRECTORY": str(self.state),
            "SUTURE_CONFIGURATION_DIRECTORY": str(self.configuration),
            "PYTHONUNBUFFERED": "1",
        }


def clear_stage(out: Path) -> Stage:
    """A fresh stage in `out`; only the wheels of an earlier run stay.

    Raises:
        HostError: `out` holds something that is not an earlier run's.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = [path for path in out.iterdir() if path.name != "wheels"]
    for path in found:
        if path.name not in OURS:
            raise HostError(
                f"cannot use {out}: it holds {path.name}, which is not the demo's",
                advice="name an empty directory, or one of an earlier run, with --out",
            )
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    stage = Stage(out, quiet_port(), quiet_port())
    # A user's own device: where others cannot reach the product, processes of theirs cannot use its old files.
    (out / "device").mkdir(mode=0o755 if os.geteuid() == 0 else 0o700)
    for directory in (stage.logs, stage.trees, stage.installed, stage.configuration, stage.publisher):
        directory.mkdir(parents=True)
    return stage


def make_trees(stage: Stage, old: wheels.Wheel, new: wheels.Wheel) -> None:
    """Unpack both wheels; the third tree is the new one as a broken build would give it: without its WebP codec."""
    wheels.unpack_wheel(old, stage.trees / "old")
    wheels.unpack_wheel(new, stage.trees / "new")
    shutil.copytree(stage.trees / "new", stage.trees / "bad", symlinks=True)
    codecs = list((stage.trees / "bad/PIL").glob("_webp*.so"))
    if not codecs:
        raise ServiceError("cannot spoil the tree for the bad level: its WebP codec was not found")
    for codec in codecs:
        codec.unlink()


def install_product(stage: Stage) -> None:
    """What the product's own installer does: the baseline, its release file, and the pointer."""
    shutil.copytree(stage.trees / "old", stage.baseline / COMPONENT, symlinks=True)
    (stage.installed / "RELEASE").write_text(f"{RELEASE}\n", encoding="ascii")
    stage.pointer.symlink_to(stage.baseline)


def find_photographs() -> list[Path]:
    """The photographs that matplotlib ships.

    Raises:
        NotKnownError: this matplotlib came without its sample data.
    """
    import matplotlib as mpl

    directory = Path(mpl.get_data_path()) / "sample_data"
    found = [directory / name for name in PHOTOGRAPHS if (directory / name).is_file()]
    if len(found) != len(PHOTOGRAPHS):
        raise NotKnownError(
            f"cannot find the demo's photographs in {directory}",
            advice="install matplotlib from the package index into the demo's .venv (`make clean`, then `make demo`)",
        )
    return found


def make_pictures(stage: Stage) -> int:
    """Make the pictures, and their thumbnails' digests, with the baseline's own code in its own process; how many."""
    maker = Path(__file__).with_name("picture_maker.py")
    command: list[str | Path] = [sys.executable, "-I", "-B", "-S", maker, "--root", stage.baseline]
    command += ["--out", stage.pictures, "--expectations", stage.expectations, *find_photographs()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise ServiceError(f"cannot make the pictures with the baseline's Pillow: {done.stderr.strip()[-600:]}")
    return sum(1 for _ in stage.pictures.iterdir())


def service_command(stage: Stage) -> list[str | Path]:
    """The vendor's own command line for the thumbnail service; `suture supervise` fills in ``{root}``."""
    program = Path(__file__).with_name("thumbnail_service.py")
    words: list[str | Path] = [sys.executable, "-I", "-B", "-S", program, "--root", "{root}"]
    return [*words, "--pictures", stage.pictures, "--expectations", stage.expectations]


def best_compression(tree: Path) -> tuple[int, str]:
    """The size in bytes of a tree's files in one stream under the best general compression, and which it was.

    Args:
        tree: every regular file counts, in order of path, as a full download would carry it.
    """
    stream = b"".join(path.read_bytes() for path in sorted(tree.rglob("*")) if path.is_file())
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: 22,
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    sizes = {
        "xz -9e": len(lzma.compress(stream, preset=9 | lzma.PRESET_EXTREME)),
        "zstd -22 --long": len(zstd.compress(stream, options=options)),
    }
    name = min(sizes, key=sizes.__getitem__)
    return sizes[name], name


def this_machine() -> tuple[str, str]:
    """Python's version and the machine's word, for the record."""
    return platform.python_version(), platform.machine()


def main() -> int:
    """``python -m suture.demo.stage TREE``: print the best compression's size and name, for a process of its own."""
    size, name = best_compression(Path(sys.argv[1]))
    print(f"{size} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
