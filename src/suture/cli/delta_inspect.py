"""`suture delta inspect`: what a patch says of itself, of either format, without applying it."""

from __future__ import annotations

import argparse

from suture import delta
from suture.cli.delta_inputs import read_patch
from suture.cli.printing import clean, print_facts, print_json, print_table
from suture.delta import Buffer
from suture.improvement.container import pair_members, read_container
from suture.improvement.container_parts import MAGIC, Group, Member, OldPaths
from suture.improvement.drafting import SOLID
from suture.improvement.layer import layer_digest
from suture.improvement.tree import FileEntry


def inspect_patch(arguments: argparse.Namespace) -> None:
    """Print what the patch named by `arguments` holds.

    Raises:
        PatchError: it is no patch, or a malformed one.
    """
    patch = read_patch(arguments.patch)
    if bytes(patch[: len(MAGIC)]) != MAGIC:
        _say_delta(arguments, len(patch), delta.inspect(patch))
        return
    container = read_container(patch)
    stand_alone = container.stand_alone
    layer = None if stand_alone is None else stand_alone.layer
    if layer is not None:
        pair_members(layer, container)
    facts: dict[str, object] = {
        "kind": "published",
        "format_version": container.version,
        "patch_bytes": len(patch),
        "header_bytes": container.body_offset,
    }
    if stand_alone is not None:
        facts |= {
            "kind": stand_alone.kind,
            "result": stand_alone.result,
            "layer_digest": layer_digest(stand_alone.layer),
            "removed": stand_alone.layer.removed,
        }
    entries = (None,) * len(container.members) if layer is None else layer.files()
    paths = OldPaths(layer)
    pairs = zip(container.members, entries, strict=True)
    members = [_member(patch, member, entry, paths) for member, entry in pairs]
    groups = [_group(group, paths) for group in container.groups]
    _say_inspected(arguments, facts, members, groups)


def _member(patch: Buffer, member: Member, entry: FileEntry | None, paths: OldPaths) -> dict[str, object]:
    """One file: its path and size where the layer is at hand, its engine, its own bytes, its group."""
    size = member.end - member.start
    if member.group is not None:
        engine = SOLID
    elif member.engine is not None:
        engine = delta.engine_name(member.engine)
    else:
        info = delta.inspect(bytes(patch[member.start : member.end]))
        engine, size = info.engine, info.payload_size
    return {
        "path": None if entry is None else entry.path,
        "reads": None if member.reads is None else paths.path(member.reads),
        "new_bytes": None if entry is None else entry.size,
        "delta_bytes": member.end - member.start,
        "delta": {"engine": engine, "payload_size": size},
        "group": None if member.group is None else member.group + 1,
    }


def _group(group: Group, paths: OldPaths) -> dict[str, object]:
    return {
        "files": group.members,
        "bytes": group.end - group.start,
        "reads": [paths.path(old) for old in group.reads],
    }


def _say_delta(arguments: argparse.Namespace, patch_bytes: int, info: delta.PatchInfo) -> None:
    if arguments.json:
        files = [{"path": None, "delta": info}]
        print_json({"patch": str(arguments.patch), "kind": "delta", "patch_bytes": patch_bytes, "files": files})
        return
    print_facts([("kind", "delta"), ("patch bytes", str(patch_bytes))])
    rows = [(info.engine, f"{info.new_size:,}", f"{info.payload_size:,}")]
    print_table(("engine", "bytes", "payload bytes"), rows)


def _say_inspected(
    arguments: argparse.Namespace,
    facts: dict[str, object],
    members: list[dict[str, object]],
    groups: list[dict[str, object]],
) -> None:
    if arguments.json:
        print_json({"patch": str(arguments.patch), **facts, "files": members, "groups": groups})
        return
    shown = {name: f"{len(value)} entries" if isinstance(value, tuple) else str(value) for name, value in facts.items()}
    print_facts([(name.replace("_", " "), clean(value)) for name, value in shown.items()])
    rows = []
    for number, member in enumerate(members, 1):
        way, group, size = member["delta"], member["group"], member["new_bytes"]
        assert isinstance(way, dict)  # noqa: S101 - built above
        rows.append(
            (
                str(member["path"] or f"file {number}"),
                str(way["engine"]),
                f"{size:,}" if isinstance(size, int) else "",
                f"{way['payload_size']:,}" if group is None else f"in group {group}",
                str(member["reads"] or ""),
            )
        )
    if rows:
        print_table(("file", "engine", "bytes", "payload bytes", "made from"), rows)
    for number, one in enumerate(groups, 1):
        reads = one["reads"]
        assert isinstance(reads, list)  # noqa: S101 - built above
        print(f"group {number}: {one['files']} files in {one['bytes']:,} bytes, read with {len(reads)} old files:")
        for path in reads:
            print(f"  {clean(path)}")
