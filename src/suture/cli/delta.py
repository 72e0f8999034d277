"""`suture delta encode | apply | inspect`: patches between two files or two trees, without keys or a repository.

Outputs are new and whole or not there at all. Nothing is signed: the patch only promises that the right bytes come
out, or an error.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import BinaryIO

from suture.adapters.files import host_errors
from suture.adapters.tree_output import finish_tree, new_file, new_tree, open_new, refuse_existing, write_directories
from suture.adapters.trees import scan_tree
from suture.cli.delta_inputs import Kind, Progress, Reader, bytes_of, kind_of, look_at, read_patch, shown_digest
from suture.cli.delta_inspect import inspect_patch
from suture.cli.printing import clean, print_json, print_table
from suture.core.errors import InputError, PatchError
from suture.delta import DEFAULT_EFFORT, Buffer
from suture.improvement.apply import Sink, apply_patch
from suture.improvement.build import BuiltPatch
from suture.improvement.container_parts import StandAlone
from suture.improvement.stand_alone import build_stand_alone, expected_result, only_file, read_stand_alone
from suture.improvement.tree import FileEntry, Tree
from suture.improvement.tree_rules import tree_digest

NAME = "delta"
SUMMARY = "make, apply and inspect patches between two files or two trees"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's words."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    encode = actions.add_parser("encode", help="make PATCH from OLD and NEW (both files, or both directories)")
    encode.add_argument("old", type=Path, metavar="OLD")
    encode.add_argument("new", type=Path, metavar="NEW")
    encode.add_argument("patch", type=Path, metavar="PATCH")
    encode.add_argument(
        "--effort",
        type=int,
        default=DEFAULT_EFFORT,
        choices=range(1, 23),
        metavar="1-22",
        help="compression level: smaller patches or quicker work (default: %(default)s)",
    )
    apply = actions.add_parser("apply", help="make NEW from OLD and PATCH")
    apply.add_argument("old", type=Path, metavar="OLD")
    apply.add_argument("patch", type=Path, metavar="PATCH")
    apply.add_argument("new", type=Path, metavar="NEW")
    for writing in (encode, apply):
        writing.add_argument("--force", action="store_true", help="replace the output where it exists")
        writing.add_argument("--progress", action="store_true", help="show progress though this is no terminal")
    inspect = actions.add_parser("inspect", help="say what PATCH holds")
    inspect.add_argument("patch", type=Path, metavar="PATCH")


def run(arguments: argparse.Namespace) -> int:
    """Do it; 0.

    Raises:
        SutureError: what cannot be done; no output is left behind then.
    """
    actions = {"encode": _encode, "apply": _apply, "inspect": inspect_patch}
    actions[arguments.action](arguments)
    return 0


def _encode(arguments: argparse.Namespace) -> None:
    refuse_existing(arguments.patch, force=arguments.force)
    old_kind, new_kind = kind_of(arguments.old), kind_of(arguments.new)
    if old_kind != new_kind:
        raise InputError(f"cannot compare a {old_kind} with a {new_kind}: give two files or two directories")
    progress = Progress(arguments)
    began = time.monotonic()
    old_tree, read_old = look_at(arguments.old, old_kind, progress)
    new_tree, read_new = look_at(arguments.new, new_kind, progress)
    built = build_stand_alone(
        new_kind, old_tree, new_tree, read_old, read_new, progress=progress.building, effort=arguments.effort
    )
    with new_file(arguments.patch, force=arguments.force) as file:
        file.write(built.data)
    progress.end()
    _say_encoded(arguments, new_kind, old_tree, new_tree, built, time.monotonic() - began)


def _say_encoded(
    arguments: argparse.Namespace, kind: Kind, old_tree: Tree, new_tree: Tree, built: BuiltPatch, seconds: float
) -> None:
    answer = {
        "patch": str(arguments.patch),
        "kind": kind,
        "old_bytes": bytes_of(old_tree),
        "new_bytes": bytes_of(new_tree),
        "patch_bytes": len(built.data),
        "digest": shown_digest(kind, new_tree),
        "seconds": round(seconds, 3),
        "files": built.choices,
    }
    if arguments.json:
        print_json(answer)
        return
    rows = [
        (
            choice.path,
            choice.engine,
            f"{choice.new_size:,}",
            f"{choice.delta_size:,}",
            "" if choice.group is None else f"{choice.alone_size:,} by {choice.alone_engine}",
            choice.reads or "",
        )
        for choice in built.choices
    ]
    if kind == "tree" and rows:
        # A file of a group has its share of the group's bytes, by what its own delta would have been.
        print_table(("file", "engine", "bytes", "patch bytes", "alone", "made from"), rows)
    share = len(built.data) / max(1, bytes_of(new_tree))
    print(
        f"{clean(str(arguments.patch))}: {len(built.data):,} bytes, {share:.2%} of the new {kind}, in {seconds:.1f} s"
    )


def _apply(arguments: argparse.Namespace) -> None:
    refuse_existing(arguments.new, force=arguments.force)
    progress = Progress(arguments)
    patch = read_patch(arguments.patch)
    stand_alone = read_stand_alone(patch)
    kind = kind_of(arguments.old)
    if kind != stand_alone.kind:
        raise InputError(f"cannot apply the patch to a {kind}: it is for a {stand_alone.kind}")
    old_tree, read_old = look_at(arguments.old, kind, progress)
    new = expected_result(old_tree, stand_alone)
    if kind == "file":
        _apply_to_file(arguments, stand_alone, patch, new, read_old)
    else:
        _apply_to_tree(arguments, stand_alone, patch, new, read_old, progress)
    progress.end()
    digest = shown_digest(kind, new)
    answer = {"new": str(arguments.new), "kind": kind, "new_bytes": bytes_of(new), "digest": digest}
    if arguments.json:
        print_json(answer)
    else:
        print(f"{clean(str(arguments.new))}: {bytes_of(new):,} bytes, {digest}")


def _apply_to_file(
    arguments: argparse.Namespace, stand_alone: StandAlone, patch: Buffer, new: Tree, read_old: Reader
) -> None:
    entry = only_file(new)
    with new_file(arguments.new, force=arguments.force, mode=int(entry.mode, 8)) as file:
        apply_patch(stand_alone.layer, patch, read_old=read_old, open_sink=lambda _: _Unclosed(file))
        if not stand_alone.layer.files():
            file.write(read_old(entry.path))  # nothing changed, or the mode alone


def _apply_to_tree(
    arguments: argparse.Namespace,
    stand_alone: StandAlone,
    patch: Buffer,
    new: Tree,
    read_old: Reader,
    progress: Progress,
) -> None:
    changed = {entry.path for entry in stand_alone.layer.entries}
    with new_tree(arguments.new, force=arguments.force) as root:

        def open_sink(entry: FileEntry) -> Sink:
            progress.say(f"writing {entry.path}")
            return open_new(root / entry.path)

        write_directories(root, new)
        with host_errors(f"write {arguments.new}"):
            apply_patch(stand_alone.layer, patch, read_old=read_old, open_sink=open_sink)
            for entry in new.entries:
                if isinstance(entry, FileEntry) and entry.path not in changed:
                    progress.say(f"copying {entry.path}")
                    with open_new(root / entry.path) as file:
                        file.write(read_old(entry.path))
        finish_tree(root, new)
        # What lies there now is what is promised, whatever changed in OLD meanwhile.
        if tree_digest(scan_tree(root).tree) != stand_alone.result:
            raise PatchError("cannot apply the patch: the old files changed meanwhile", advice="run it again")


class _Unclosed:
    """A sink over a file that its own context closes."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write

    def close(self) -> None:
        """Leave the file to its owner."""
