"""Run by test_packages.py in a throw-away copy of this machine's own tree: grafts and the real dpkg and apt-get.

Every step asserts; the exit code tells. Not a test of its own: it installs packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from chain_world import ChainWorld, run_suture
from test_chain import level

PACKAGE, OTHER = "suture-story-library", "suture-story-other"
COMPONENT = Path("/usr/lib/suture-story/imaging")
LIBRARY = Path("/usr/lib/x86_64-linux-gnu/libsuturestory.so.1")
SAW = Path("/var/lib/suture-story-saw")
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


class PackageWorld(ChainWorld):
    """The product is a Debian package: one component is a directory, the other a library among others."""

    def found(self) -> None:
        """A workshop, and a product file for the root of this tree."""
        self.port = int(os.environ["SUTURE_STORY_PORT"])
        describe = self.root / "describe.json"
        describe.write_text(
            json.dumps(
                {
                    "product": "darkroom",
                    "title": "Darkroom",
                    "vendor": "Example",
                    "release": {"kind": "dpkg", "package": PACKAGE},
                    "root": "/usr",
                    "graft": "overlay",
                    "architecture": "x86_64",
                    "components": [
                        {"name": "imaging", "path": str(COMPONENT.relative_to("/usr"))},
                        {"name": "library", "path": str(LIBRARY.parent.relative_to("/usr")), "files": [LIBRARY.name]},
                    ],
                    "repositories": [f"http://127.0.0.1:{self.port}/"],
                }
            )
        )
        self.publisher("init", "--describe", str(describe))
        self.serve()

    def build(self, level: int, flavour: str, **_: Any) -> None:
        """Both components, against the release 1.0 of the package."""
        words: list[str] = ["--baseline", "1.0-x86_64", "--level", str(level), "--no-full-size"]
        for component, name in (("imaging", "notes.txt"), ("library", LIBRARY.name)):
            old, new = self.root / f"old/{component}", self.root / f"new-{level}/{component}"
            for place, text in ((old, "1.0"), (new, flavour)):
                place.mkdir(parents=True, exist_ok=True)
                (place / name).write_text(f"version {text}\n")
            words += ["--component", component, "--old", str(old), "--new", str(new)]
        words += ["--cve", "CVE-2023-4863", "--severity", "critical", "--title", "t", "--purl", "pkg:deb/debian/x@1"]
        self.publisher("build", *words)

    def seen(self) -> tuple[str, str]:
        """What programs read of both components."""
        return (COMPONENT / "notes.txt").read_text().split()[-1], LIBRARY.read_text().split()[-1]

    def package(self, name: str, version: str, files: dict[Path, str], *, postinst: str = "", suffix: str = "") -> Path:
        """A small package, built by dpkg-deb."""
        tree = self.root / f"tree-{name}-{version}{suffix}"
        for path, text in files.items():
            place = tree / str(path)[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        control = tree / "DEBIAN"
        control.mkdir()
        (control / "control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Example <x@example.org>\n"
            "Description: a story\n"
        )
        if postinst:
            (control / "postinst").write_text(f"#!/bin/sh\nset -e\n{postinst}\n")
            (control / "postinst").chmod(0o755)
        deb = self.root / f"{name}_{version}{suffix}_all.deb"
        run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(deb))
        return deb

    def library(self, version: str, text: str, suffix: str = "") -> Path:
        """The product's own package."""
        files = {COMPONENT / "notes.txt": f"version {text}\n", LIBRARY: f"version {text}\n"}
        return self.package(PACKAGE, version, files, suffix=suffix)


def run(*words: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
    """A command; it must end with that code (None: with any other than 0)."""
    done = subprocess.run(words, env=CLEAN, capture_output=True, text=True, check=False)
    good = done.returncode == expect if expect is not None else done.returncode != 0
    assert good, (words, done.returncode, done.stdout, done.stderr)
    return done


def hooks(world: PackageWorld, what: str) -> None:
    """Install or remove dpkg's hooks."""
    world.suture("graft", "hooks", what)


def story(root: Path) -> None:
    """Every meeting of a graft and a package manager."""
    world = PackageWorld(root)
    first, rebuilt = world.library("1.0", "1.0"), world.library("1.0", "1.0-rebuilt", "-rebuilt")
    second = world.library("2.0", "2.0")
    looks = f"cat {COMPONENT}/notes.txt {LIBRARY} > {SAW} || true"
    other = world.package(OTHER, "1.0", {Path("/usr/share/suture-story/x"): "x\n"}, postinst=looks)
    run("dpkg", "-i", str(first))
    world.found()
    world.suture("product", "add", str(world.workshop / "product.json"))
    world.publish(1, "1.1")
    world.suture("agent", "once")
    assert world.seen() == ("1.1", "1.1")
    assert world.product()["level"] == 1

    print("with hooks, another package sees the baseline, and the graft comes back")
    hooks(world, "install")
    said = run("dpkg", "-i", str(other)).stderr
    assert "gives way to dpkg" in said, said
    assert SAW.read_text() == "version 1.0\nversion 1.0\n"
    assert world.seen() == ("1.1", "1.1")
    assert world.product()["level"] == 1

    print("the same release again: dpkg writes, the graft comes back")
    run("dpkg", "-i", str(first))
    assert world.seen() == ("1.1", "1.1")
    assert (world.product()["level"], world.product()["state"]) == (1, "effective")

    print("the same version with other bytes: superseded")
    run("dpkg", "-i", str(rebuilt))
    assert world.seen() == ("1.0-rebuilt", "1.0-rebuilt")
    assert (world.product()["level"], level(world, 1)["state"]) == (0, "superseded")
    assert "other files" in str(level(world, 1)["detail"])

    print("apt-get, in two calls of dpkg, brings the release back; the level can be had again")
    run("apt-get", "install", "-y", "--reinstall", str(first))
    world.suture("install", "darkroom")
    assert world.seen() == ("1.1", "1.1")
    run("apt-get", "install", "-y", "--reinstall", str(first))
    assert world.seen() == ("1.1", "1.1")
    events = [row["event"] for row in world.suture("history")]
    assert events.index("gave-way") < events.index("restore-done")

    print("while a package manager is at work, nothing is grafted; one that died counts for nothing")
    shell = f"{sys.executable} -I -m suture graft pre-invoke --state-directory {world.state}; echo ready; read line"
    with subprocess.Popen(["sh", "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as manager:
        assert manager.stdout is not None
        assert manager.stdout.readline() == "ready\n"
        assert world.seen() == ("1.0", "1.0")
        answer = world.suture("remove", "darkroom", "--wait", "0", expect=11)
        assert "package managers go first" in answer["error"]["message"]
        manager.communicate("\n")
    world.suture("agent", "once")
    assert world.seen() == ("1.1", "1.1")

    print("apt-get brings a later release: superseded, and the release's own files are seen")
    run("apt-get", "install", "-y", str(second))
    assert world.seen() == ("2.0", "2.0")
    assert (world.product()["baseline"], world.product()["level"]) == ("2.0-x86_64", 0)
    assert "supersede-done" in [row["event"] for row in world.suture("history")]

    print("without hooks, dpkg cannot replace what is grafted")
    run("apt-get", "install", "-y", "--allow-downgrades", str(first))
    world.suture("install", "darkroom")
    hooks(world, "remove")
    run("dpkg", "-i", str(first), expect=None)
    assert world.seen() == ("1.1", "1.1")
    hooks(world, "install")
    run("dpkg", "-i", str(first))
    assert world.seen() == ("1.1", "1.1")

    print("a removed package leaves nothing of ours, and hooks without Suture stop nobody")
    run("apt-get", "remove", "-y", PACKAGE)
    assert not LIBRARY.exists()
    shutil.rmtree(world.state / "products")
    (world.state / "products").touch()
    run("dpkg", "-r", OTHER)
    hooks_file = Path("/etc/dpkg/dpkg.cfg.d/suture")
    hooks_file.write_text(hooks_file.read_text().replace(sys.executable, "/no/such/python"))
    run("dpkg", "-i", str(other))
    code, _ = run_suture("graft", "hooks", "remove")
    assert (code, hooks_file.exists()) == (0, False)
    world.stop_serving()


if __name__ == "__main__":
    place = Path("/srv/suture-story")
    place.mkdir(mode=0o755)
    story(place)
    print("the whole story")
