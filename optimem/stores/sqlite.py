"""Sessions in one SQLite file (WAL mode), the embedded default; in memory without a path."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from optimem.stores import codec
from optimem.stores.cipher import Ciphers, plain
from optimem.stores.jobs import Jobs
from optimem.stores.jobs_sqlite import SQLiteJobs
from optimem.stores.postings import Postings
from optimem.stores.protocol import SessionState
from optimem.stores.sqlite_database import Database
from optimem.stores.sqlite_index import SQLiteIndex
from optimem.stores.sqlite_log import SQLiteLog
from optimem.stores.sqlite_pages import SQLitePages
from optimem.values import Scope

_SIZES = {"log": ("turn", "body"), "pages": ("page", "body"), "blobs": ("blob", "value")}


class SQLiteStore(SQLiteLog, SQLitePages, SQLiteIndex):
    """The Store protocol on SQLite.

    Args:
        path: the database file, made with its folder when missing, readable by its owner
            alone; None keeps everything in memory.
        synchronous: "normal" survives a crash of the process, "full" of the machine.
        ciphers: how each namespace is kept; unencrypted by default.
        create: make what is missing; else a missing or empty file is an error.

    Raises:
        StoreError: the file cannot be opened, is no database, belongs to another program
            or was written by a later version.
        NotFoundError: there is nothing, and it shall not be made.
    """

    def __init__(
        self,
        path: Path | None,
        synchronous: str = "normal",
        ciphers: Ciphers = plain,
        create: bool = True,
    ) -> None:
        super().__init__(Database(path, synchronous, create), ciphers)
        self.url = self._database.url
        self.jobs: Jobs = SQLiteJobs(self._database, self._names, ciphers)

    def rewind(
        self, scope: Scope, length: int, pages: int, postings: Postings, seen: SessionState
    ) -> bool:
        with self._database.write() as db:
            key = self._unmoved(db, scope, seen)
            if key is None:
                return False
            gone = set(range(length, seen.indexed))
            db.execute("DELETE FROM turn WHERE session = ? AND position >= ?", (key, length))
            self._drop_derived(db, scope, key, pages, postings, gone)
            db.execute(
                "UPDATE session SET turns = ?, indexed = min(indexed, ?) WHERE id = ?",
                (length, length, key),
            )
            return True

    def erase(
        self,
        scope: Scope,
        positions: Sequence[int],
        pages: int,
        postings: Postings,
        seen: SessionState,
    ) -> int | None:
        with self._database.write() as db:
            key = self._unmoved(db, scope, seen)
            if key is None:
                return None
            rows = [(key, position) for position in positions]
            self._bury(db, scope, key, self._tombstones(db, scope, rows))
            removed = db.executemany("DELETE FROM turn WHERE session = ? AND position = ?", rows)
            for table in ("blob", "blob_hash"):
                db.execute(f"DELETE FROM {table} WHERE session = ?", (key,))
            self._drop_derived(db, scope, key, pages, postings, set(positions))
            return removed.rowcount

    def forgotten(self, scope: Scope) -> frozenset[bytes]:
        cipher = self._cipher(scope)
        rows = self._database.rows(
            "SELECT id FROM forgotten WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?)",
            self._names(scope),
        )
        return frozenset(cipher.open(sealed, b"forgotten") for (sealed,) in rows)

    def bury(self, scope: Scope, tombstones: Iterable[bytes]) -> None:
        with self._database.write() as db:
            if key := self._find(db, scope):
                self._bury(db, scope, key, tombstones)

    def size(self, scope: Scope) -> dict[str, int]:
        with self._database.read() as db:
            key = self._find(db, scope)
            return {
                kind: db.execute(
                    f"SELECT coalesce(sum(length({column})), 0) FROM {table} WHERE session = ?",
                    (key,),
                ).fetchone()[0]
                for kind, (table, column) in _SIZES.items()
            }

    def warnings(self) -> list[str]:
        damage = self._database.damage()
        return [] if damage is None else [f"{self.url} is damaged: {damage}"]

    def purge(self) -> None:
        self._database.empty_log()

    def stored(self, scope: Scope) -> Iterator[tuple[str, bytes]]:
        with self._database.read() as db:
            key = self._find(db, scope) or 0
        for entry in self.entries(scope):
            yield "turn", codec.encode_name(entry.turn.id)
            yield "turn", codec.turn_line(entry.turn)
        for table, column, place in (
            ("turn", "facts", b"facts"),
            ("page", "facts", b"page facts"),
            ("page", "body", b"page"),
            ("plan", "name", b"plan name"),
            ("plan", "body", b"plan"),
            ("dictionary", "data", b"dictionary"),
            ("forgotten", "id", b"forgotten"),
        ):
            query = f"SELECT {column} FROM {table} WHERE session = ?"
            for (value,) in self._database.rows(query, (key,)):
                yield table, codec.readable(self._cipher(scope).open(value, place))
        for query in ("SELECT key, value FROM blob", "SELECT term, data FROM posting"):
            for row in self._database.rows(f"{query} WHERE session = ?", (key,)):
                yield from ((query.split()[-1], value) for value in row)
        for number in range(self.state(scope).pages):
            page = self.page(scope, number)
            if page is not None:
                yield f"page {number}", codec.encode_name(page.text)
        for path, data in self._database.file_bytes():
            yield f"file {path}", data

    def close(self) -> None:
        self._database.close()

    def _tombstones(
        self, db: sqlite3.Connection, scope: Scope, rows: Iterable[tuple[int, int]]
    ) -> Iterator[bytes]:
        """Those of turns at some positions, as pairs of session and position."""
        cipher = self._cipher(scope)
        for row in rows:
            query = "SELECT id FROM turn WHERE session = ? AND position = ?"
            for (sealed,) in db.execute(query, row).fetchall():
                yield codec.tombstone(codec.decode_name(cipher.open(sealed, b"id")))

    def _bury(
        self, db: sqlite3.Connection, scope: Scope, session: int, tombstones: Iterable[bytes]
    ) -> None:
        cipher = self._cipher(scope)
        sealed = [(session, cipher.seal(tombstone, b"forgotten")) for tombstone in tombstones]
        db.executemany("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", sealed)

    def _drop_derived(
        self,
        db: sqlite3.Connection,
        scope: Scope,
        session: int,
        pages: int,
        postings: Postings,
        positions: set[int],
    ) -> None:
        """Remove what was made of turns that are gone, within a transaction."""
        self._take_back(db, scope, session, postings, positions)
        db.execute("DELETE FROM page WHERE session = ? AND number >= ?", (session, pages))
        db.execute("DELETE FROM plan WHERE session = ?", (session,))
        db.execute("UPDATE session SET generation = generation + 1 WHERE id = ?", (session,))
