"""`suture delta inspect`: what a patch says of itself, of either format, without applying it."""

from __future__ import annotations

import argparse

from suture import delta
from suture.cli.delta_inputs import read_patch
from suture.cli.printing import clean, print_facts, print_json, print_table
from suture.core.errors import PatchError
from suture.improvement.container import MAGIC, read_container
from suture.improvement.layer import layer_digest


def inspect_patch(arguments: argparse.Namespace) -> None:
    """Print what the patch named by `arguments` holds.

    Raises:
        PatchError: it is no patch, or a malformed one.
    """
    patch = read_patch(arguments.patch)
    if bytes(patch[: len(MAGIC)]) != MAGIC:
        info = delta.inspect(patch)
        _say_inspected(arguments, {"kind": "delta", "patch_bytes": len(patch)}, [{"path": None, "delta": info}])
        return
    container = read_container(patch)
    stand_alone = container.header.stand_alone
    files = stand_alone.layer.files() if stand_alone is not None else ()
    if stand_alone is not None and len(files) != len(container.header.members):
        raise PatchError("cannot read the patch: it does not hold its layer's files")
    members: list[dict[str, object]] = []
    for number, (member, start, end) in enumerate(container.spans()):
        info = delta.inspect(bytes(patch[start:end]))
        path = files[number].path if stand_alone is not None else None
        members.append({"path": path, "reads": member.reads, "delta_bytes": member.size, "delta": info})
    facts: dict[str, object] = {"kind": "published", "patch_bytes": len(patch), "header_bytes": container.body_offset}
    if stand_alone is not None:
        facts |= {
            "kind": stand_alone.kind,
            "result": stand_alone.result,
            "layer_digest": layer_digest(stand_alone.layer),
            "removed": stand_alone.layer.removed,
        }
    _say_inspected(arguments, facts, members)


def _say_inspected(arguments: argparse.Namespace, facts: dict[str, object], members: list[dict[str, object]]) -> None:
    if arguments.json:
        print_json({"patch": str(arguments.patch), **facts, "files": members})
        return
    shown = {name: f"{len(value)} entries" if isinstance(value, tuple) else str(value) for name, value in facts.items()}
    print_facts([(name.replace("_", " "), clean(value)) for name, value in shown.items()])
    rows = []
    for number, member in enumerate(members, 1):
        info = member["delta"]
        if isinstance(info, delta.PatchInfo):
            name = str(member["path"] or f"file {number}")
            rows.append(
                (name, info.engine, f"{info.new_size:,}", f"{info.payload_size:,}", str(member.get("reads") or ""))
            )
    if rows:
        print_table(("file", "engine", "bytes", "payload bytes", "made from"), rows)
