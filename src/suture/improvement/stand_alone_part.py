"""What a stand-alone container says of itself, as bytes: names in a frame, then sizes, then digests as they are.

Digests do not compress, and as hex they would take twice their bytes. Format: spec/improvement.md §4.4.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from suture import delta
from suture.core.digests import Digest, hex_of
from suture.core.errors import PatchError, TreeError
from suture.core.limits import MAXIMUM_FILE_BYTES
from suture.improvement.container_parts import MAXIMUM_HEADER_BYTES, StandAlone
from suture.improvement.layer import Layer
from suture.improvement.tree import DirectoryEntry, Entry, FileEntry, LinkEntry
from suture.improvement.tree_rules import check_layer
from suture.improvement.varints import Reader, varint

PREFIX: Final = (
    b"lib/\nlib/lib.so.1\nbin/\t0755\n/__init__.py\n/_version.py\n/util/tests/test_\n.so\t0755\n"
    b"content\t0755\n\n-1.0.dist-info/\n-1.0.dist-info/LICENSE\n-1.0.dist-info/METADATA\n-1.0.dist-info/RECORD\n"
    b"-1.0.dist-info/WHEEL\n-1.0.dist-info/entry_points.txt\n-1.0.dist-info/licenses/\n"
    b"-1.0.dist-info/licenses/LICENSE.txt\n-1.0.dist-info/top_level.txt\n\n"
)
"""What such names look like; part of the format, as the frame is made against it."""
_EFFORT: Final = 19
_DIGEST_BYTES: Final = 32
_FILE_MODE: Final = "0644"
_DIRECTORY_MODE: Final = "0755"
_LINK: Final = ">"


def write_part(stand_alone: StandAlone) -> bytes:
    """Size of the text, size of the frame, the frame; the files' sizes; the files' digests and the result's."""
    layer = stand_alone.layer
    text = _text(layer)
    frame = delta.encode_solid(PREFIX, text, _EFFORT)
    sizes = [varint(entry.size) for entry in layer.files()]
    digests = [*(entry.digest for entry in layer.files()), stand_alone.result]
    raw = [bytes.fromhex(hex_of(Digest(digest))) for digest in digests]
    return b"".join((varint(len(text)), varint(len(frame)), frame, *sizes, *raw))


def read_part(reader: Reader, kind: Literal["file", "tree"]) -> StandAlone:
    """The inverse, bounded.

    Raises:
        PatchError: malformed or out of bounds.
    """
    text_size = reader.number(MAXIMUM_HEADER_BYTES)
    frame = reader.data(reader.number())
    text = b"".join(delta.solid_chunks(PREFIX, frame, new_size=text_size))
    try:
        entries, _, removed = f"\n{text.decode()}".partition("\n\n")
        lines = entries.split("\n")[1:]
        files = [line for line in lines if _is_file(line)]
        sizes = [reader.number(MAXIMUM_FILE_BYTES) for _ in files]
        digests = [_digest(reader) for _ in files]
        facts = iter(zip(sizes, digests, strict=True))
        read = [_file(line, *next(facts)) if _is_file(line) else _other(line) for line in lines]
        body = {"entries": msgspec.to_builtins(read), "removed": removed.split("\n")[:-1]}
        layer = check_layer(msgspec.convert(body, Layer))
    except (msgspec.MsgspecError, UnicodeError, TreeError) as error:
        raise PatchError(f"cannot read the patch: its header is bad ({error})") from error
    stand_alone = StandAlone(kind, layer, _digest(reader))
    if _text(layer) != text:
        raise PatchError("cannot read the patch: its header is not written as it must be")
    return stand_alone


def _text(layer: Layer) -> bytes:
    """A line for each entry, an empty one, a line for each path that is removed."""
    return "".join(f"{line}\n" for line in (*map(_line, layer.entries), "", *layer.removed)).encode()


def _line(entry: Entry) -> str:
    """No path holds a tab or a newline, or ends with a slash."""
    if isinstance(entry, LinkEntry):
        return f"{entry.path}\t{_LINK}{entry.target}"
    name, usual = (f"{entry.path}/", _DIRECTORY_MODE) if isinstance(entry, DirectoryEntry) else (entry.path, _FILE_MODE)
    return name if entry.mode == usual else f"{name}\t{entry.mode}"


def _is_file(line: str) -> bool:
    name, _, rest = line.partition("\t")
    return not name.endswith("/") and not rest.startswith(_LINK)


def _file(line: str, size: int, digest: str) -> FileEntry:
    name, _, mode = line.partition("\t")
    return FileEntry(name, mode or _FILE_MODE, size, digest)


def _other(line: str) -> DirectoryEntry | LinkEntry:
    name, _, rest = line.partition("\t")
    if rest.startswith(_LINK):
        return LinkEntry(name, rest.removeprefix(_LINK))
    return DirectoryEntry(name.removesuffix("/"), rest or _DIRECTORY_MODE)


def _digest(reader: Reader) -> str:
    return f"sha256:{reader.data(_DIGEST_BYTES).hex()}"
