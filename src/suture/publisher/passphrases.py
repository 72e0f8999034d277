"""Where passphrases come from: a file, the service manager's credentials, a terminal; never the command line.

Lazy: the unattended `refresh` never asks for an offline passphrase.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from suture.adapters.files import read_file
from suture.core.errors import InputError, NotKnownError
from suture.publisher.workshop import KeyRole

ONLINE_CREDENTIAL = "suture-online-passphrase"
"""Name under ``$CREDENTIALS_DIRECTORY`` (systemd.exec(5), LoadCredential=)."""
MINIMUM_PASSPHRASE_CHARACTERS = 12
"""PKCS#8 as OpenSSL writes it stretches a passphrase by only 2,048 rounds of PBKDF2: length must do the rest."""
_MAXIMUM_BYTES = 4096

Ask = Callable[[str], str]


class Passphrases:
    """The passphrases of one command.

    Args:
        offline_files: files that hold one offline passphrase each (a role's keys may have different ones).
        online_file: a file that holds the online key's.
        environment: the process's environment, for the service manager's credentials.
        ask: asks at a terminal, or None where there is none.
    """

    def __init__(
        self,
        *,
        offline_files: Sequence[Path] = (),
        online_file: Path | None = None,
        environment: Mapping[str, str] | None = None,
        ask: Ask | None = None,
    ) -> None:
        self._offline_files = tuple(offline_files)
        self._online_file = online_file
        self._environment = dict(environment or {})
        self._ask = ask

    def of(self, role: KeyRole) -> tuple[bytes, ...]:
        """The passphrases to try for `role`.

        Raises:
            NotKnownError: nobody gave one. InputError: a file's is unusable.
        """
        return self._online if role is KeyRole.ONLINE else self._offline

    @cached_property
    def _offline(self) -> tuple[bytes, ...]:
        if self._offline_files:
            return tuple(read_passphrase(path) for path in self._offline_files)
        return (self._asked("offline keys", "--passphrase-file"),)

    @cached_property
    def _online(self) -> tuple[bytes, ...]:
        if self._online_file is not None:
            return (read_passphrase(self._online_file),)
        credentials = self._environment.get("CREDENTIALS_DIRECTORY")
        if credentials and (path := Path(credentials) / ONLINE_CREDENTIAL).exists():
            return (read_passphrase(path),)
        return (self._asked("online key", "--online-passphrase-file"),)

    def _asked(self, what: str, option: str) -> bytes:
        if self._ask is None:
            raise NotKnownError(
                f"cannot unlock the {what}: no passphrase was given and there is no terminal to ask at",
                advice=f"give it with {option} FILE (a file that only you can read)",
            )
        return check_passphrase(self._ask(f"Passphrase of the {what}: "), what)


def read_passphrase(path: Path) -> bytes:
    """The passphrase that is a file's only line.

    Raises:
        InputError: other users can read the file, it is empty, too short, or holds several lines.
        StorageError: it cannot be read.
    """
    data = read_file(path, maximum_bytes=_MAXIMUM_BYTES)
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise InputError(f"cannot use {path}: every user can read it", advice=f"run `chmod 600 {path}`")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"cannot use {path}: it is no UTF-8 text") from error
    return check_passphrase(text.removesuffix("\n").removesuffix("\r"), str(path))


def check_passphrase(text: str, whose: str) -> bytes:
    """The bytes of a passphrase that will do.

    Raises:
        InputError: too short, or with control characters.
    """
    if len(text) < MINIMUM_PASSPHRASE_CHARACTERS:
        raise InputError(
            f"cannot use the passphrase of {whose}: it has fewer than {MINIMUM_PASSPHRASE_CHARACTERS} characters",
            advice="make one with `openssl rand -base64 24`",
        )
    if not text.isprintable():
        raise InputError(f"cannot use the passphrase of {whose}: it must be one line of printable characters")
    return text.encode("utf-8")
