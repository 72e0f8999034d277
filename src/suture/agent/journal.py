"""The journal: one SQLite file from which everything on a device is recoverable after a crash at any point.

A transition's state and its history lines are one transaction, committed (WAL, `synchronous=FULL`) before anything is
done. Also kept here: trust floors, measurements and deadlines, which must outlive an emptied cache.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

from suture.agent.machine.instructions import Outcome
from suture.agent.machine.invariants import broken_invariants
from suture.agent.machine.state import ProductState
from suture.core.errors import DiskFullError, JournalError, ReadOnlyError, StorageError
from suture.wire.status import HistoryRow

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS product (name TEXT PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS history (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, product TEXT NOT NULL, baseline TEXT NOT NULL,
    level INTEGER NOT NULL, event TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS history_of_product ON history (product, sequence);
CREATE TABLE IF NOT EXISTS fact (
    product TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (product, name));
"""
_MAXIMUM_DETAIL = 2000
_MAXIMUM_HISTORY_ROWS = 20_000
"""Years of transitions; the oldest go first."""


@contextlib.contextmanager
def _sqlite_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "full" in text:
            raise DiskFullError(f"cannot {doing}: {text}") from error
        if "readonly" in text or "read-only" in text:
            raise ReadOnlyError(f"cannot {doing}: {text}") from error
        raise StorageError(f"cannot {doing}: {text}") from error
    except sqlite3.DatabaseError as error:
        raise JournalError(f"cannot {doing}: {error}") from error


@dataclass(slots=True)
class Journal:
    """An open journal. Use `open_journal`."""

    connection: sqlite3.Connection

    def load(self, product: str) -> ProductState | None:
        """The state of `product` as last committed, or None.

        Raises:
            JournalError: it cannot be decoded.
        """
        with _sqlite_errors("read the journal"):
            row = self.connection.execute("SELECT state FROM product WHERE name = ?", (product,)).fetchone()
        if row is None:
            return None
        try:
            return msgspec.json.decode(row[0], type=ProductState)
        except msgspec.DecodeError as error:
            raise JournalError(f"cannot read the journal's state of {product}: {error}") from error

    def commit(self, outcome: Outcome, now: str) -> None:
        """Keep a transition: state and notes, durably, in one transaction.

        Raises:
            JournalError: the state breaks an invariant, so it is not written.
            StorageError: (or a kind of it) nothing was written.
        """
        state = outcome.state
        broken = broken_invariants(state)
        if broken:
            raise JournalError(f"cannot write a state that breaks its own rules: {'; '.join(broken)}")
        rows = [
            (now, state.product, state.baseline, note.level, note.event, str(note.state), note.reason,
             note.detail[:_MAXIMUM_DETAIL])
            for note in outcome.notes
        ]  # fmt: skip
        with _sqlite_errors("write the journal"), self.connection:
            self.connection.execute(
                "INSERT INTO product VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state",
                (state.product, msgspec.json.encode(state)),
            )
            self.connection.executemany(
                "INSERT INTO history (at, product, baseline, level, event, state, reason, detail)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            self.connection.execute(
                "DELETE FROM history WHERE sequence <= (SELECT MAX(sequence) FROM history) - ?",
                (_MAXIMUM_HISTORY_ROWS,),
            )

    def forget(self, product: str) -> None:
        """Drop the state and facts of a removed product; its history stays."""
        with _sqlite_errors("write the journal"), self.connection:
            self.connection.execute("DELETE FROM product WHERE name = ?", (product,))
            self.connection.execute("DELETE FROM fact WHERE product = ?", (product,))

    def fact(self, product: str, name: str) -> bytes | None:
        """A kept fact (JSON bytes), or None."""
        with _sqlite_errors("read the journal"):
            query = "SELECT value FROM fact WHERE product = ? AND name = ?"
            row = self.connection.execute(query, (product, name)).fetchone()
        return None if row is None else bytes(row[0])

    def keep_fact(self, product: str, name: str, value: bytes) -> None:
        """Keep a fact durably."""
        with _sqlite_errors("write the journal"), self.connection:
            self.connection.execute(
                "INSERT INTO fact VALUES (?, ?, ?) ON CONFLICT (product, name) DO UPDATE SET value = excluded.value",
                (product, name, value),
            )

    def history(self, product: str | None, limit: int) -> tuple[HistoryRow, ...]:
        """The newest `limit` lines, oldest first."""
        where, values = ("WHERE product = ?", [product]) if product is not None else ("", [])
        query = f"SELECT * FROM history {where} ORDER BY sequence DESC LIMIT ?"  # noqa: S608 - a constant, never input
        with _sqlite_errors("read the journal"):
            rows = self.connection.execute(query, (*values, limit)).fetchall()
        return tuple(HistoryRow(*row) for row in reversed(rows))

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


@contextlib.contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open the journal, making it where missing.

    Raises:
        JournalError: not a journal, or one of a later version.
        StorageError: (or a kind of it) it cannot be opened or written.
    """
    if not path.parent.is_dir():
        raise StorageError(f"cannot open the journal: {path.parent} is not there")
    if not path.exists():
        with contextlib.suppress(OSError):
            path.touch(mode=0o600)
    with _sqlite_errors(f"open the journal {path}"):
        connection = sqlite3.connect(path, timeout=10.0, isolation_level="IMMEDIATE")
    try:
        with _sqlite_errors(f"open the journal {path}"):
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute("PRAGMA synchronous = FULL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                connection.executescript(_SCHEMA + f"PRAGMA user_version = {_SCHEMA_VERSION};")
            elif version != _SCHEMA_VERSION:
                raise JournalError(
                    f"cannot read {path}: its version is {version} and this agent knows {_SCHEMA_VERSION}",
                    advice="use the Suture that wrote it, or a later one",
                )
        yield Journal(connection)
    finally:
        connection.close()


def read_history(path: Path, product: str | None, limit: int) -> tuple[HistoryRow, ...]:
    """History lines for a reader that never writes.

    Raises:
        StorageError: (or a kind of it) there is no journal, or it may not be read.
    """
    if not path.exists():
        return ()
    with _sqlite_errors(f"read the journal {path}"):
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=10.0)
    with contextlib.closing(connection):
        return Journal(connection).history(product, limit)
