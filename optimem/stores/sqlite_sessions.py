"""Sessions in a SQLite store: found by scope, begun, forked and dropped."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping

from optimem.errors import ConflictError, NotFoundError
from optimem.stores import codec
from optimem.stores.cipher import Cipher, Ciphers, Plain, check_marks
from optimem.stores.protocol import SessionState, counted
from optimem.stores.sqlite_database import Database
from optimem.values import Json, Scope

_COPIED = {
    "turn": "position, id, time, facts, body",
    "page": "number, facts, body",
    "posting": "term, block, data",
    "dictionary": "id, data",
    "forgotten": "id",
}
_TABLES = (*_COPIED, "plan", "blob", "blob_hash")
_COUNTERS = "turns, generation, indexed, documents, terms, settings, dictionary"


class SQLiteSessions:
    """What the log, pages and index of a store share: its database and its sessions.

    Args:
        database: the file.
        ciphers: how each namespace is kept.
    """

    def __init__(self, database: Database, ciphers: Ciphers) -> None:
        self._database = database
        self._ciphers = ciphers

    def state(self, scope: Scope) -> SessionState:
        with self._database.read() as db:
            row = db.execute(
                "SELECT turns,"
                " (SELECT coalesce(max(number) + 1, 0) FROM page WHERE session = session.id),"
                " generation, indexed, documents, terms, settings"
                " FROM session WHERE namespace = ? AND name = ?",
                self._names(scope),
            ).fetchone()
            if row is None:
                self._check_key(db, scope.namespace)
                return SessionState()
        *counters, sealed = row
        line = self._cipher(scope).open(sealed, b"settings")
        return counted(counters, codec.decode_settings(line))

    def sessions(self, namespace: str) -> list[str]:
        cipher = self._ciphers(namespace)
        with self._database.read() as db:
            self._check_key(db, namespace)
            rows = db.execute(
                "SELECT name FROM session WHERE namespace = ?", (_namespace(cipher, namespace),)
            ).fetchall()
        names = sorted(cipher.open(name, b"session") for (name,) in rows)
        return [codec.decode_name(name) for name in names]

    def drop(self, scope: Scope, turns: int | None = None) -> int:
        cipher = self._cipher(scope)
        with self._database.write() as db:
            key = self._find(db, scope)
            length, count = db.execute(
                "SELECT turns, (SELECT count(*) FROM turn WHERE turn.session = session.id)"
                " FROM session WHERE id = ?",
                (key,),
            ).fetchone() or (0, 0)
            if key is None or turns not in (None, length):
                return 0
            for table in _TABLES:
                db.execute(f"DELETE FROM {table} WHERE session = ?", (key,))
            db.execute("DELETE FROM session WHERE id = ?", (key,))
            db.execute(
                "DELETE FROM mark WHERE namespace = ? AND mark = ?"
                " AND NOT EXISTS (SELECT 1 FROM session WHERE namespace = ?)",
                (_hashed(scope.namespace), cipher.mark, _namespace(cipher, scope.namespace)),
            )
            return int(count)

    def fork(self, scope: Scope, target: Scope) -> None:
        if scope.namespace != target.namespace:
            raise ConflictError("a session is forked within its namespace: export and import it")
        with self._database.write() as db:
            source = self._find(db, scope)
            if source is None:
                raise NotFoundError(f"no session {scope.session!r} to fork")
            key = self._session(db, target)
            if db.execute("SELECT turns FROM session WHERE id = ?", (key,)).fetchone()[0]:
                raise ConflictError(f"session {target.session!r} already has turns: name another")
            db.execute(
                f"UPDATE session SET ({_COUNTERS}) ="
                f" (SELECT {_COUNTERS} FROM session WHERE id = ?) WHERE id = ?",
                (source, key),
            )
            for table, columns in _COPIED.items():
                db.execute(
                    f"INSERT INTO {table} SELECT ?, {columns} FROM {table} WHERE session = ?",
                    (key, source),
                )

    # Parts

    def _cipher(self, scope: Scope) -> Cipher:
        return self._ciphers(scope.namespace)

    def _names(self, scope: Scope) -> tuple[bytes, bytes]:
        cipher = self._cipher(scope)
        name = cipher.seal(codec.encode_name(scope.session), b"session")
        return _namespace(cipher, scope.namespace), name

    def _find(self, db: sqlite3.Connection, scope: Scope) -> int | None:
        row = db.execute(
            "SELECT id FROM session WHERE namespace = ? AND name = ?", self._names(scope)
        ).fetchone()
        return None if row is None else int(row[0])

    def _session(
        self, db: sqlite3.Connection, scope: Scope, settings: Mapping[str, Json] | None = None
    ) -> int:
        """The session's key; it is begun if it is not there."""
        cipher = self._cipher(scope)
        row = db.execute(
            "SELECT id, settings FROM session WHERE namespace = ? AND name = ?",
            self._names(scope),
        ).fetchone()
        if row is None:
            self._check_key(db, scope.namespace)
            if cipher.mark:
                mark = (_hashed(scope.namespace), cipher.mark)
                db.execute("INSERT OR IGNORE INTO mark VALUES (?, ?)", mark)
            line = codec.encode_settings(settings or {}).encode()
            cursor = db.execute(
                "INSERT INTO session (namespace, name, settings) VALUES (?, ?, ?)",
                (*self._names(scope), cipher.seal(line, b"settings")),
            )
            return int(cursor.lastrowid or 0)
        if settings is not None:
            if codec.decode_settings(cipher.open(row[1], b"settings")) != settings:
                raise ConflictError(
                    f"session {scope.session!r} was meanwhile begun with other settings:"
                    " open it again"
                )
        return int(row[0])

    def _unmoved(self, db: sqlite3.Connection, scope: Scope, seen: SessionState) -> int | None:
        """The session's key if its index and generation still are those that were seen."""
        row = db.execute(
            "SELECT id FROM session WHERE namespace = ? AND name = ?"
            " AND generation = ? AND indexed = ?",
            (*self._names(scope), seen.generation, seen.indexed),
        ).fetchone()
        return None if row is None else int(row[0])

    def _check_key(self, db: sqlite3.Connection, namespace: str) -> None:
        """Raise StoreError when sessions of the namespace are kept with another key, or none."""
        rows = db.execute("SELECT mark FROM mark WHERE namespace = ?", (_hashed(namespace),))
        marks = {mark for (mark,) in rows}
        plain = (_namespace(Plain(), namespace),)
        has_plain = db.execute("SELECT 1 FROM session WHERE namespace = ? LIMIT 1", plain)
        check_marks(namespace, self._ciphers(namespace), marks, has_plain.fetchone() is not None)


def _namespace(cipher: Cipher, namespace: str) -> bytes:
    return cipher.label(codec.encode_name(namespace))


def _hashed(namespace: str) -> bytes:
    return hashlib.sha256(codec.encode_name(namespace)).digest()
