"""What must be true of a product file beyond its shape, on this device: the checks of `suture product add`.

Every check raises one `InputError` that names the field. Reads the file system (that root and components exist),
changes nothing.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import msgspec

from suture.core.errors import InputError
from suture.core.identifiers import check_name, check_version
from suture.wire.product import CommandRelease, FileRelease, FixedRelease, Product, ProductComponent

MAXIMUM_PATTERN_CHARACTERS = 200


def decode_product(document: bytes, origin: str) -> Product:
    """A product file's shape.

    Args:
        document: the file's bytes, bounded by the caller.
        origin: what to call it in messages.

    Raises:
        InputError: names the field.
    """
    try:
        product = msgspec.json.decode(document, type=Product)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ValidationError is a DecodeError
        raise InputError(f"cannot use {origin} as a product file: {str(error)[:300]}") from error
    # A `$` in a pattern also matches before a final newline, so control characters are looked for once more.
    for field, text in _texts(msgspec.to_builtins(product), "$"):
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
            raise InputError(f"cannot use {origin} as a product file: a control character in {field}")
    check_name(product.product, "a product")
    return product


def check_product(product: Product, *, state: Path, is_root: bool) -> None:
    """All rules that concern this product alone, on this device.

    Args:
        product: a decoded product file.
        state: the state directory, which no component may touch.
        is_root: the agent runs as root, so commands need `run_as`.

    Raises:
        InputError: the first rule that is broken.
    """
    _check_release(product)
    _check_root(product)
    _check_components(product, state)
    if product.graft == "overlay":
        check_overlay(product, is_root=is_root)
    else:
        _check_pointer(product, state)
    for position, address in enumerate(product.repositories):
        _check_repository(address, f"repositories[{position}]")
    _check_commands(product, is_root=is_root)


def component_directories(product: Product) -> tuple[Path, ...]:
    """The components' absolute directories in the baseline, in the file's order."""
    return tuple(Path(product.root) / component.path for component in product.components)


def grafted_paths(product: Product) -> tuple[Path, ...]:
    """What a graft of the product may cover: the components' directories, or their single files."""
    paths: list[Path] = []
    for component, directory in zip(product.components, component_directories(product), strict=True):
        paths.extend([directory / file for file in component.files] if component.files else [directory])
    return tuple(paths)


def check_neighbours(product: Product, others: Sequence[Product]) -> None:
    """No two products may touch the same files, and no two vendors share a root or reach into each other's.

    Raises:
        InputError: names the other product.
    """
    for other in others:
        ours, theirs = _claims(product), _claims(other)
        if product.vendor != other.vendor:
            # A vendor's name is only its own word, so components and pointers are kept apart whoever the vendors are.
            ours, theirs = [*ours, ("root", Path(product.root))], [*theirs, ("root", Path(other.root))]
        for field, path in ours:
            for _, taken in theirs:
                if overlap(_resolved(path), _resolved(taken)):
                    raise InputError(
                        f"cannot add {product.product}: its {field} {path} overlaps {taken} of the product "
                        f"{other.product} by {other.vendor}",
                        advice=f"ask both vendors, or take the other away with `suture product remove {other.product}`",
                    )


def overlap(first: Path, second: Path) -> bool:
    """One is, or lies inside, the other."""
    return first == second or first in second.parents or second in first.parents


def _texts(value: object, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, f"{field}.{name}")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _texts(item, f"{field}[{position}]")


def _claims(product: Product) -> list[tuple[str, Path]]:
    claims = [("component", path) for path in grafted_paths(product)]
    return [*claims, ("pointer", Path(product.pointer))] if product.pointer is not None else claims


def _resolved(path: Path) -> Path:
    # The last component stays as it is: a pointer is a link by design, and what counts is where the link lies.
    return Path(os.path.realpath(path.parent)) / path.name


def _refuse(product: Product, field: str, reason: str) -> InputError:
    return InputError(f"cannot add {product.product}: {field}: {reason}")


def _check_lexical(product: Product, field: str, text: str) -> None:
    parts = text.removeprefix("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise _refuse(product, field, f"{text!r} has an empty, '.' or '..' part; write the path in full")


def _check_release(product: Product) -> None:
    release = product.release
    if isinstance(release, FixedRelease):
        check_version(release.version)
    elif isinstance(release, CommandRelease) and not release.argv[0].startswith("/"):
        raise _refuse(product, "release.argv", f"{release.argv[0]!r} is no absolute path")
    elif isinstance(release, FileRelease):
        _check_lexical(product, "release.path", release.path)
        if len(release.pattern) > MAXIMUM_PATTERN_CHARACTERS:
            raise _refuse(product, "release.pattern", f"longer than {MAXIMUM_PATTERN_CHARACTERS} characters")
        try:
            groups = re.compile(release.pattern).groups
        except (re.error, OverflowError, RecursionError) as error:
            raise _refuse(product, "release.pattern", f"no regular expression: {error}") from error
        if groups < 1:
            raise _refuse(product, "release.pattern", "has no group; put parentheses round the release's version")


def _check_root(product: Product) -> None:
    _check_lexical(product, "root", product.root)
    if not Path(product.root).is_dir():
        raise _refuse(product, "root", f"{product.root} is no directory on this device; install the product first")


def _check_components(product: Product, state: Path) -> None:
    names = [component.name for component in product.components]
    if len(set(names)) < len(names):
        raise _refuse(product, "components", "two have the same name")
    root = Path(os.path.realpath(product.root))
    for position, component in enumerate(product.components):
        field = f"components[{position}].path"
        _check_lexical(product, field, component.path)
        for before in product.components[:position]:
            if any(overlap(one, other) for one in _parts(before) for other in _parts(component)):
                raise _refuse(product, field, f"{component.path} overlaps the component {before.name}")
        directory = root / component.path
        if not directory.is_dir():
            raise _refuse(product, field, f"{directory} is no directory on this device")
        if os.path.realpath(directory) != str(directory):
            raise _refuse(product, field, f"{directory} is reached through a symbolic link")
        if overlap(directory, Path(os.path.realpath(state))):
            raise _refuse(product, field, f"{directory} overlaps Suture's state directory")


def _parts(component: ProductComponent) -> list[Path]:
    place = Path("/", component.path)
    return [place / file for file in component.files] if component.files else [place]


def check_overlay(product: Product, *, is_root: bool) -> None:
    """The rules of `overlay`: root alone mounts, programs use the product's own paths, single files are there.

    Raises:
        InputError: the first rule that is broken.
    """
    if not is_root:
        raise _refuse(product, "graft", "overlay needs an agent that is root; a user's own agent can use switch")
    if product.pointer is not None:
        raise _refuse(product, "pointer", "belongs to switch; with overlay programs use the components' own paths")
    for position, component in enumerate(product.components):
        field, directory = f"components[{position}].files", Path(os.path.realpath(product.root)) / component.path
        if len(set(component.files)) < len(component.files):
            raise _refuse(product, field, "names a file twice")
        for file in component.files:
            _check_lexical(product, field, file)
            path = directory / file
            if os.path.realpath(path) != str(path) or not path.is_file():
                raise _refuse(product, field, f"{path} is no regular file, or is reached through a symbolic link")


def _check_pointer(product: Product, state: Path) -> None:
    if product.pointer is None:
        raise _refuse(product, "pointer", "is missing; the graft `switch` needs the symbolic link that programs use")
    if any(component.files for component in product.components):
        raise _refuse(product, "components", "single files can be grafted by overlay alone")
    _check_lexical(product, "pointer", product.pointer)
    pointer = _resolved(Path(product.pointer))
    if overlap(pointer, Path(os.path.realpath(product.root))):
        raise _refuse(product, "pointer", f"{product.pointer} overlaps the root, which Suture never changes")
    if overlap(pointer, Path(os.path.realpath(state))):
        raise _refuse(product, "pointer", f"{product.pointer} overlaps Suture's state directory")


def _check_repository(address: str, field: str) -> None:
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"cannot use {address[:80]!r} in {field}: {error}") from error
    if not host or parts.username is not None or parts.query or parts.fragment:
        raise InputError(f"cannot use {address[:80]!r} in {field}: write https://HOST/PATH without user, query or #")
    if ".." in PurePosixPath(parts.path).parts:
        raise InputError(f"cannot use {address[:80]!r} in {field}: its path has a '..' part")
    if parts.scheme != "https" and not _is_loopback(host):
        raise InputError(
            f"cannot use {address[:80]!r} in {field}: repositories are read over https (http only from this machine); "
            "paths would tell an eavesdropper which level this device lacks"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_commands(product: Product, *, is_root: bool) -> None:
    for kind, names in (
        ("commands", [command.name for command in product.commands]),
        ("urls", [url.name for url in product.urls]),
    ):
        if len(set(names)) < len(names):
            raise _refuse(product, kind, "two have the same name")
    for position, command in enumerate(product.commands):
        if not command.argv[0].startswith("/"):
            raise _refuse(product, f"commands[{position}].argv", f"{command.argv[0]!r} is no absolute path")
    if not is_root or not (product.commands or isinstance(product.release, CommandRelease)):
        return
    if product.run_as is None:
        raise _refuse(product, "run_as", "is missing; commands of a product do not run as root unless it says so")
    try:
        pwd.getpwnam(product.run_as)
    except KeyError as error:
        raise _refuse(product, "run_as", f"there is no user {product.run_as} on this device") from error
