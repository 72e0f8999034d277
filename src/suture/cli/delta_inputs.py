"""What a person hands to `suture delta`: files and trees, read and measured; and the progress shown meanwhile."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from suture import delta
from suture.adapters.files import host_errors
from suture.adapters.trees import read_member, scan_tree
from suture.cli.printing import clean
from suture.core.digests import digest_bytes
from suture.core.errors import InputError
from suture.core.limits import MAXIMUM_PATCH_BYTES
from suture.delta import Buffer
from suture.improvement.stand_alone import file_tree
from suture.improvement.tree import FileEntry, Tree
from suture.improvement.tree_rules import tree_digest

Kind = Literal["file", "tree"]
Reader = Callable[[str], Buffer]


def kind_of(path: Path) -> Kind:
    """What a person named; a link there is followed, since they wrote it."""
    if path.is_dir():
        return "tree"
    if path.is_file():
        return "file"
    raise InputError(f"cannot read {path}: it is no file or directory that is there")


def look_at(path: Path, kind: Kind, progress: Progress) -> tuple[Tree, Reader]:
    """The tree, and a reader of its files; a single file is a tree of one."""
    with host_errors(f"read {path}"):
        real = path.resolve(strict=True)
    if kind == "tree":
        scanned = scan_tree(real, progress=lambda name, _: progress.say(f"reading {name}"))
        return scanned.tree, lambda name: read_member(real, name)
    with host_errors(f"read {path}"):
        mode = real.stat().st_mode & 0o777
    data = read_member(real.parent, real.name)
    with delta.view_of(data) as view:
        digest = digest_bytes(view)
    return file_tree(f"{mode:04o}", len(data), digest), lambda _: read_member(real.parent, real.name)


def read_patch(path: Path) -> Buffer:
    """A patch, mapped; a link that a person names is followed."""
    if kind_of(path) != "file":
        raise InputError(f"cannot read {path} as a patch: it is a directory")
    with host_errors(f"read {path}"):
        real = path.resolve(strict=True)
    patch = read_member(real.parent, real.name)
    if len(patch) > MAXIMUM_PATCH_BYTES:
        raise InputError(f"cannot read {path} as a patch: it is larger than {MAXIMUM_PATCH_BYTES:,} bytes")
    return patch


def shown_digest(kind: Kind, tree: Tree) -> str:
    """A file's own digest, as sha256sum(1) says it; a tree's covers all of it."""
    entry = tree.entries[0]
    return entry.digest if kind == "file" and isinstance(entry, FileEntry) else tree_digest(tree)


def bytes_of(tree: Tree) -> int:
    """Bytes of all regular files of a tree."""
    return sum(entry.size for entry in tree.entries if isinstance(entry, FileEntry))


class Progress:
    """One line on standard error that tells what is being done: on a terminal, or one line each with ``--progress``."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._shows = self._is_terminal or arguments.progress

    def say(self, text: str) -> None:
        """Show `text`; data in it is made printable."""
        if self._shows:
            with contextlib.suppress(OSError):
                line = clean(text)[:100]
                print(
                    f"\r\x1b[K{line}" if self._is_terminal else line,
                    end="" if self._is_terminal else "\n",
                    file=sys.stderr,
                )
                sys.stderr.flush()

    def building(self, path: str, number: int, count: int) -> None:
        """`suture.improvement.build.Progress`."""
        self.say(f"file {number} of {count}: {path}")

    def end(self) -> None:
        """Clear the line."""
        if self._shows and self._is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
