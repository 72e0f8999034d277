"""Which paths and links an improvement may hold: one set of rules for trees, layers, pins and patches.

A path that passes here names one place under the component's root on every file system that we graft on, prints on
one line, and cannot lead outside (spec/improvement.md §1). Raises `TreeError` with the path and the reason.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from suture.core.errors import TreeError
from suture.core.limits import MAXIMUM_NAME_BYTES, MAXIMUM_PATH_BYTES

_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Controls (C0, DEL, C1), lone surrogates (bytes that are no UTF-8), line and paragraph separators."""


def shown(path: str) -> str:
    """A path as a message may show it: printable, on one line, not endless."""
    text = path if len(path) <= 200 else path[:200] + "…"
    return repr(text)


def check_path(path: str) -> str:
    """Return `path` if an entry may have it.

    Args:
        path: relative to the component's root, ``/`` between names.

    Raises:
        TreeError: empty or absolute, an empty name, ``.`` or ``..``, a control character, no UTF-8, too long.
    """
    if not path:
        raise TreeError("cannot use an empty path in an improvement")
    for name in path.split("/"):
        _check_name(name, path)
    if len(path.encode()) > MAXIMUM_PATH_BYTES:
        raise TreeError(f"cannot use {shown(path)}: the path is longer than {MAXIMUM_PATH_BYTES} bytes")
    return path


def _check_name(name: str, path: str) -> None:
    if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
        raise TreeError(f"cannot use {shown(path)}: a name holds NUL, newline, a control character or no valid UTF-8")
    if name == "..":
        raise TreeError(f"cannot use {shown(path)}: a name is ..")
    if name in ("", "."):
        raise TreeError(f"cannot use {shown(path)}: it is absolute, or a name is empty or a single dot")
    if len(name.encode()) > MAXIMUM_NAME_BYTES:
        raise TreeError(f"cannot use {shown(path)}: a name is longer than {MAXIMUM_NAME_BYTES} bytes")


def check_link(path: str, target: str) -> str:
    """Return `target` if the symbolic link at `path` stays inside the component.

    Resolved lexically. ``..`` may only lead, since after a name that is itself a link, ``name/..`` is not where the
    letters say: with every link of a tree under this rule, and no entry below a link, none leads outside.

    Raises:
        TreeError: absolute, escaping, a ``..`` after a name, a bad or overlong target.
    """
    where = f"cannot use the link {shown(path)} to {shown(target)}"
    if target.startswith("/"):
        raise TreeError(f"{where}: it is absolute")
    if not target or any(unicodedata.category(character) in _UNPRINTABLE for character in target):
        raise TreeError(f"{where}: the target is empty or holds a control character or no valid UTF-8")
    if len(target.encode()) > MAXIMUM_PATH_BYTES:
        raise TreeError(f"{where}: the target is longer than {MAXIMUM_PATH_BYTES} bytes")
    depth = path.count("/")
    descended = False
    for name in target.split("/"):
        if name == "..":
            if descended:
                raise TreeError(f"{where}: it has a .. after a name")
            depth -= 1
            if depth < 0:
                raise TreeError(f"{where}: it leads outside the component")
        elif name != ".":
            if not name or len(name.encode()) > MAXIMUM_NAME_BYTES:
                raise TreeError(f"{where}: a name in it is empty or longer than {MAXIMUM_NAME_BYTES} bytes")
            descended = True
    return target


def check_order(paths: Sequence[str]) -> None:
    """Paths are valid, sorted by their UTF-8 bytes, and none is there twice.

    Raises:
        TreeError: naming the first path that breaks it.
    """
    previous = b""
    for path in paths:
        current = check_path(path).encode()
        if current == previous:
            raise TreeError(f"cannot use {shown(path)}: it is there twice")
        if current < previous:
            raise TreeError(f"cannot use {shown(path)}: it is not in the order of its bytes")
        previous = current


def check_twins(paths: Iterable[str]) -> None:
    """No two names of one directory differ only in case or in Unicode normalisation: some file systems merge them.

    Raises:
        TreeError: naming both.
    """
    seen: dict[str, str] = {}
    for path in paths:
        # From the whole path upwards; a parent already seen under the same spelling has been judged with its own.
        prefix = path
        while prefix:
            first = seen.setdefault(_folded(prefix), prefix)
            if first != prefix:
                raise TreeError(f"cannot use {shown(prefix)}: it differs from {shown(first)} only in case")
            prefix = prefix.rpartition("/")[0]


def _folded(path: str) -> str:
    return path if path.isascii() and path.islower() else unicodedata.normalize("NFC", path.casefold())


def parents_of(path: str) -> Iterable[str]:
    """The directories above a path, nearest first, the root left out."""
    parent = path.rpartition("/")[0]
    while parent:
        yield parent
        parent = parent.rpartition("/")[0]
