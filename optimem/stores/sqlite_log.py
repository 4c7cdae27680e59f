"""The log in a SQLite store: turns as they came, and what planning needs to know of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence

from optimem.errors import ConflictError
from optimem.stores import codec
from optimem.stores.cipher import Cipher, Ciphers
from optimem.stores.packing import Dictionary, earlier_dictionary, pack, unpack
from optimem.stores.protocol import Draft
from optimem.stores.sqlite_database import Database
from optimem.stores.sqlite_sessions import SQLiteSessions
from optimem.values import Entry, Json, Scope, Turn, TurnFacts

_NO_END = 1 << 62
_READ_AT_ONCE = 64  # turns, to bound memory when a log is walked
_WRITTEN_AT_ONCE = 512  # turns, so that others wait for one transaction only a little
_MOST_DICTIONARIES = 64  # kept ready for use


class SQLiteLog(SQLiteSessions):
    """The verbs of the Store protocol that read and write turns."""

    def __init__(self, database: Database, ciphers: Ciphers) -> None:
        super().__init__(database, ciphers)
        self._ready: dict[tuple[Scope, int], Dictionary] = {}

    def append(
        self, scope: Scope, drafts: Sequence[Draft], settings: Mapping[str, Json]
    ) -> list[int]:
        if not drafts:
            return []
        with self._database.write() as db:
            key = self._session(db, scope, settings)
            (length,) = db.execute("SELECT turns FROM session WHERE id = ?", (key,)).fetchone()
            positions = []
            for draft in drafts:
                position = self._position_of_same(db, scope, key, draft.turn)
                if position is None:
                    position, length = length, length + 1
                    self._insert(db, self._cipher(scope), key, position, draft)
                positions.append(position)
            db.execute("UPDATE session SET turns = ? WHERE id = ?", (length, key))
        return positions

    def entries(self, scope: Scope, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        last = _NO_END if stop is None else stop
        while True:
            with self._database.snapshot() as db:
                key = self._find(db, scope)
                rows = db.execute(
                    "SELECT position, id, time, body FROM turn WHERE session = ?"
                    " AND position >= ? AND position < ? ORDER BY position LIMIT ?",
                    (key, start, last, _READ_AT_ONCE),
                ).fetchall()
                found = [self._entry(db, scope, key, *row) for row in rows]
            yield from found
            if len(found) < _READ_AT_ONCE:
                return
            start = found[-1].position + 1

    def entries_at(self, scope: Scope, positions: Iterable[int]) -> list[Entry]:
        found = []
        with self._database.snapshot() as db:
            key = self._find(db, scope)
            for position in positions:
                rows = db.execute(
                    "SELECT position, id, time, body FROM turn WHERE session = ? AND position = ?",
                    (key, position),
                )
                found += [self._entry(db, scope, key, *row) for row in rows.fetchall()]
        return found

    def turn_facts(self, scope: Scope, start: int = 0) -> list[tuple[int, TurnFacts]]:
        cipher = self._cipher(scope)
        rows = self._database.rows(
            "SELECT position, facts, time FROM turn WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?)"
            " AND position >= ? ORDER BY position",
            (*self._names(scope), start),
        )
        return [
            (position, codec.decode_turn_facts(cipher.open(facts, b"facts"), time))
            for position, facts, time in rows
        ]

    def position(self, scope: Scope, turn_id: str) -> int | None:
        rows = self._database.rows(
            "SELECT position FROM turn WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?) AND id = ?",
            (*self._names(scope), _id(self._cipher(scope), turn_id)),
        )
        return rows[0][0] if rows else None

    def recompress(self, scope: Scope) -> None:
        start = 0
        while True:
            with self._database.write() as db:
                key = self._find(db, scope)
                there = db.execute("SELECT 1 FROM dictionary WHERE session = ? LIMIT 1", (key,))
                if key is None or there.fetchone() is None:
                    return
                db.execute("UPDATE session SET dictionary = 0 WHERE id = ?", (key,))
                (turns,) = db.execute("SELECT turns FROM session WHERE id = ?", (key,)).fetchone()
                if start >= turns:
                    db.execute("DELETE FROM dictionary WHERE session = ?", (key,))
                    return
                self._write_anew(db, scope, key, start, start + _WRITTEN_AT_ONCE)
                start += _WRITTEN_AT_ONCE

    # Inside a transaction

    def _write_anew(
        self, db: sqlite3.Connection, scope: Scope, key: int, start: int, stop: int
    ) -> None:
        """Compress turns of a session's own dictionaries as all others are."""
        cipher = self._cipher(scope)
        rows = db.execute(
            "SELECT position, id, body FROM turn WHERE session = ?"
            " AND position >= ? AND position < ?",
            (key, start, stop),
        ).fetchall()
        for position, id, body in rows:
            place = _place(cipher.open(id, b"id"))
            packed = cipher.open(body, place)
            if earlier := self._dictionary(db, scope, key, packed):
                db.execute(
                    "UPDATE turn SET body = ? WHERE session = ? AND position = ?",
                    (cipher.seal(pack(unpack(packed, earlier)), place), key, position),
                )

    def _insert(
        self, db: sqlite3.Connection, cipher: Cipher, session: int, position: int, draft: Draft
    ) -> None:
        turn = draft.turn
        row: tuple[Json, ...] = (session, position, _id(cipher, turn.id), turn.time)
        row += (cipher.seal(codec.encode_turn_facts(draft.facts), b"facts"),)
        body = codec.encode_turn(turn)
        row += (cipher.seal(body, _place(codec.encode_name(turn.id))),)
        db.execute("INSERT INTO turn VALUES (?, ?, ?, ?, ?, ?)", row)

    def _position_of_same(
        self, db: sqlite3.Connection, scope: Scope, session: int, turn: Turn
    ) -> int | None:
        cipher = self._cipher(scope)
        row = db.execute(
            "SELECT position, id, time, body FROM turn WHERE session = ? AND id = ?",
            (session, _id(cipher, turn.id)),
        ).fetchone()
        if row is None:
            return None
        there = self._entry(db, scope, session, *row).turn
        if codec.turn_digest(there, cipher.digest) != codec.turn_digest(turn, cipher.digest):
            raise ConflictError(
                f"turn {turn.id!r} is already in the log with other content:"
                " give the new turn another id"
            )
        return int(row[0])

    def _entry(
        self,
        db: sqlite3.Connection,
        scope: Scope,
        session: int | None,
        position: int,
        id: bytes,
        time: float | None,
        body: bytes,
    ) -> Entry:
        cipher = self._cipher(scope)
        name = cipher.open(id, b"id")
        packed = cipher.open(body, _place(name))
        earlier = self._dictionary(db, scope, session, packed)
        turn = codec.decode_turn(packed, codec.decode_name(name), time, earlier)
        return Entry(position, turn)

    def _dictionary(
        self, db: sqlite3.Connection, scope: Scope, session: int | None, packed: bytes
    ) -> Dictionary | None:
        """The session's own dictionary that a turn needs, if an earlier version made it one."""
        id = earlier_dictionary(packed)
        if not id:
            return None
        ready = self._ready.get((scope, id))
        if ready is None:
            row = db.execute(
                "SELECT data FROM dictionary WHERE session = ? AND id = ?", (session, id)
            ).fetchone()
            if row is None:
                return None
            ready = Dictionary(self._cipher(scope).open(row[0], b"dictionary"))
            if len(self._ready) >= _MOST_DICTIONARIES:
                self._ready.clear()
            self._ready[scope, id] = ready
        return ready


def _id(cipher: Cipher, turn_id: str) -> bytes:
    return cipher.seal(codec.encode_name(turn_id), b"id")


def _place(id: bytes) -> bytes:
    return b"turn " + id
