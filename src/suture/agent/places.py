"""Where a device keeps its state and reads its configuration: every path in one place, made with the right modes.

It never follows a symbolic link to a state directory, never uses one that others could write or swap, and decides
nothing else. Whoever could write here could choose what this device trusts and runs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from suture.adapters.files import PRIVATE_DIRECTORY, PUBLIC_DIRECTORY, host_errors, make_directory
from suture.core.errors import ReadOnlyError, RightsError, StorageError
from suture.core.identifiers import check_name

STATE_VARIABLE = "SUTURE_STATE_DIRECTORY"
CONFIGURATION_VARIABLE = "SUTURE_CONFIGURATION_DIRECTORY"

_ELSEWHERE = "name another directory with --state-directory, or mend this one's owner and mode"


@dataclass(frozen=True, slots=True)
class Places:
    """The two directories of a device, absolute, and all paths below them."""

    state: Path
    configuration: Path

    @property
    def journal(self) -> Path:
        """The SQLite journal (0600)."""
        return self.state / "journal.sqlite3"

    @property
    def lock(self) -> Path:
        """Held while something changes."""
        return self.state / "lock"

    @property
    def settings_lock(self) -> Path:
        """Held while a setting is written: never for long, and apart from transitions, which may take minutes."""
        return self.state / "settings.lock"

    @property
    def status_file(self) -> Path:
        """What anyone may read (0644)."""
        return self.state / "status.json"

    @property
    def store(self) -> Path:
        """Staged levels (0755: services read them)."""
        return self.state / "store"

    @property
    def fetched(self) -> Path:
        """Downloads under way (0700)."""
        return self.state / "fetched"

    @property
    def products(self) -> Path:
        """One product file a known product."""
        return self.state / "products"

    @property
    def supervised(self) -> Path:
        """One file a service under `suture supervise`."""
        return self.state / "run" / "supervised"

    @property
    def user_settings(self) -> Path:
        """What `suture settings set` wrote."""
        return self.state / "settings.json"

    @property
    def managed_policy(self) -> Path:
        """A company's policy."""
        return self.configuration / "policy.json"

    @property
    def administrator_settings(self) -> Path:
        """The administrator's settings."""
        return self.configuration / "settings.json"

    @property
    def crash_file(self) -> Path:
        """The traceback of the last internal error (0600)."""
        return self.state / "last-crash.txt"

    @property
    def trust_root(self) -> Path:
        """What holds the products' trust directories (0700)."""
        return self.state / "trust"

    def trust(self, product: str) -> Path:
        """One product's own TUF metadata (0700), apart from all other vendors'."""
        return self.trust_root / check_name(product, "a product")

    def product_file(self, product: str) -> Path:
        """One known product's file."""
        return self.products / f"{check_name(product, 'a product')}.json"


SYSTEM_PLACES = Places(Path("/var/lib/suture"), Path("/etc/suture"))


def resolve_places(
    state_directory: Path | None,
    configuration_directory: Path | None,
    environment: Mapping[str, str],
    is_root: bool,
    home: Path,
) -> Places:
    """Choose both directories: an option, else the environment, else the default. Touches no file.

    Args:
        state_directory: what ``--state-directory`` said.
        configuration_directory: what ``--configuration-directory`` said.
        environment: an empty variable counts as unset.
        is_root: the caller is the system's agent or administrator.
        home: the user's home, for the defaults of a user's own agent.
    """
    state_default = SYSTEM_PLACES.state if is_root else home / ".local/state/suture"
    configuration_default = SYSTEM_PLACES.configuration if is_root else home / ".config/suture"
    state = state_directory or environment.get(STATE_VARIABLE) or state_default
    configuration = configuration_directory or environment.get(CONFIGURATION_VARIABLE) or configuration_default
    # abspath, not resolve: a link in the last component must still be seen (and refused) by `prepare`.
    return Places(Path(os.path.abspath(state)), Path(os.path.abspath(configuration)))


def places_to_read(own: Places, *, was_chosen: bool, system: Places = SYSTEM_PLACES) -> Places:
    """Whose status a person sees who only asks: their own agent's where it has one, else the system's.

    Args:
        own: what `resolve_places` said.
        was_chosen: an option or the environment named the state directory; then nothing else is looked at.
        system: the system's agent.
    """
    if was_chosen or own.status_file.exists() or not system.status_file.exists():
        return own
    return system


def prepare(places: Places) -> None:
    """Make the state directory and what belongs in it, refusing one that is not ours alone.

    Raises:
        StorageError: it, or one of its parts, is a symbolic link, no directory, or writable by everybody.
        RightsError: somebody else owns it, or this user may not make it.
        ReadOnlyError: it cannot be written.
    """
    refuse_swappable_parents(places.state)
    if not os.path.lexists(places.state):
        make_directory(places.state, mode=PUBLIC_DIRECTORY)
    check_own_directory(places.state)
    parts = (
        (places.trust_root, PRIVATE_DIRECTORY),
        (places.fetched, PRIVATE_DIRECTORY),
        (places.store, PUBLIC_DIRECTORY),
        (places.products, PUBLIC_DIRECTORY),
        (places.supervised.parent, PUBLIC_DIRECTORY),
        (places.supervised, PUBLIC_DIRECTORY),
    )
    for path, mode in parts:
        if not os.path.lexists(path):
            make_directory(path, mode=mode)
        check_own_directory(path)


def check_own_directory(path: Path) -> None:
    """Refuse a directory that is a link, another user's, open to everybody, or read-only.

    Raises:
        StorageError, RightsError, ReadOnlyError: as `prepare`.
    """
    with host_errors(f"use {path} as a state directory"):
        found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise StorageError(
            f"cannot use {path} as a state directory: it is a symbolic link", advice="name the directory itself"
        )
    if not stat.S_ISDIR(found.st_mode):
        raise StorageError(f"cannot use {path} as a state directory: it is no directory", advice=_ELSEWHERE)
    if found.st_uid != os.geteuid():
        raise RightsError(
            f"cannot use {path} as a state directory: it belongs to user {found.st_uid}, and this is {os.geteuid()}",
            advice="run the command as its owner, or name another directory with --state-directory",
        )
    if found.st_mode & stat.S_IWOTH:
        raise StorageError(f"cannot use {path} as a state directory: everybody may write it", advice=_ELSEWHERE)
    if not os.access(path, os.W_OK | os.X_OK):
        raise ReadOnlyError(f"cannot use {path} as a state directory: it is read-only")


def refuse_swappable_parents(path: Path) -> None:
    """Refuse a path below a directory in which everybody may rename things (world-writable without the sticky bit).

    Raises:
        StorageError: names that directory.
    """
    for parent in path.parents:
        try:
            mode = os.stat(parent).st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(f"cannot use {path}: {error.strerror or error} at {parent}") from error
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise StorageError(
                f"cannot use {path}: everybody may write {parent} and so swap what lies below it",
                advice=f"take that right away (chmod o-w {parent}), or choose another place",
            )
