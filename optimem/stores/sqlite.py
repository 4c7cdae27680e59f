"""Sessions in one SQLite file (WAL mode), the embedded default; in memory without a path.

The search index is a table of packed postings (see `optimem.stores.postings`): FTS5 keeps
deleted words in its segments and reads common terms row by row, which at 100,000 turns
takes half a second a query.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from optimem.errors import ConflictError, NotFoundError
from optimem.stores import codec
from optimem.stores.postings import BLOCK, POSTING, Postings, without
from optimem.stores.protocol import Draft, SessionState
from optimem.stores.sqlite_database import Database
from optimem.values import Entry, Json, Page, PageFacts, Plan, Scope, Turn, TurnFacts, dump_json

_NO_END = 1 << 62
_READ_AT_ONCE = 64  # turns, to bound memory when a log is walked

_STORED = {
    "turn": "id, facts, body",
    "page": "facts, body",
    "plan": "name, body",
    "blob": "key, value",
    "posting": "term",
}


class SQLiteStore:
    """The Store protocol on SQLite.

    Args:
        path: the database file, made with its folder when missing, readable by its owner
            alone; None keeps everything in memory.
        synchronous: "normal" survives a crash of the process, "full" of the machine.
        create: make what is missing; else a missing or empty file is an error.

    Raises:
        StoreError: the file cannot be opened, is no database, belongs to another program
            or was written by a later version.
        NotFoundError: there is nothing, and it shall not be made.
    """

    def __init__(self, path: Path | None, synchronous: str = "normal", create: bool = True) -> None:
        self._database = Database(path, synchronous, create)
        self.url = self._database.url

    # Sessions

    def state(self, scope: Scope) -> SessionState:
        with self._database.read() as db:
            row = db.execute(
                "SELECT turns,"
                " (SELECT coalesce(max(number) + 1, 0) FROM page WHERE session = session.id),"
                " generation, indexed, documents, terms, settings"
                " FROM session WHERE namespace = ? AND name = ?",
                _names(scope),
            ).fetchone()
        if row is None:
            return SessionState()
        turns, pages, generation, indexed, documents, terms, line = row
        settings = codec.decode_settings(line)
        return SessionState(turns, pages, generation, indexed, documents, terms, settings)

    def sessions(self, namespace: str) -> list[str]:
        rows = self._database.rows(
            "SELECT name FROM session WHERE namespace = ? ORDER BY name",
            (codec.encode_name(namespace),),
        )
        return [codec.decode_name(name) for (name,) in rows]

    def drop(self, scope: Scope) -> int:
        with self._database.write() as db:
            key = self._find(db, scope)
            if key is None:
                return 0
            count: int = db.execute(
                "SELECT count(*) FROM turn WHERE session = ?", (key,)
            ).fetchone()[0]
            for table in ("turn", "page", "plan", "blob", "posting"):
                db.execute(f"DELETE FROM {table} WHERE session = ?", (key,))
            db.execute("DELETE FROM session WHERE id = ?", (key,))
            return count

    def fork(self, scope: Scope, target: Scope) -> None:
        with self._database.write() as db:
            source = self._find(db, scope)
            if source is None:
                raise NotFoundError(f"no session {scope.session!r} to fork")
            key = self._session(db, target)
            if db.execute("SELECT turns FROM session WHERE id = ?", (key,)).fetchone()[0]:
                raise ConflictError(f"session {target.session!r} already has turns: name another")
            db.execute(
                "UPDATE session SET (turns, generation, indexed, documents, terms, settings) ="
                " (SELECT turns, generation, indexed, documents, terms, settings FROM session"
                " WHERE id = ?) WHERE id = ?",
                (source, key),
            )
            for table, columns in (
                ("turn", "position, id, time, facts, body"),
                ("page", "number, facts, body"),
                ("posting", "term, block, data"),
            ):
                db.execute(
                    f"INSERT INTO {table} SELECT ?, {columns} FROM {table} WHERE session = ?",
                    (key, source),
                )

    # The log

    def append(
        self, scope: Scope, drafts: Sequence[Draft], settings: Mapping[str, Json]
    ) -> list[int]:
        if not drafts:
            return []
        with self._database.write() as db:
            key = self._session(db, scope, settings)
            length = db.execute("SELECT turns FROM session WHERE id = ?", (key,)).fetchone()[0]
            positions = []
            for draft in drafts:
                position = self._position_of_same(db, key, draft.turn)
                if position is None:
                    position, length = length, length + 1
                    self._insert(db, key, position, draft)
                positions.append(position)
            db.execute("UPDATE session SET turns = ? WHERE id = ?", (length, key))
        return positions

    def entries(self, scope: Scope, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        last = _NO_END if stop is None else stop
        while True:
            rows = self._database.rows(
                "SELECT position, id, time, body FROM turn WHERE session ="
                " (SELECT id FROM session WHERE namespace = ? AND name = ?)"
                " AND position >= ? AND position < ? ORDER BY position LIMIT ?",
                (*_names(scope), start, last, _READ_AT_ONCE),
            )
            for position, id, time, body in rows:
                yield Entry(position, codec.decode_turn(body, codec.decode_name(id), time))
            if len(rows) < _READ_AT_ONCE:
                return
            start = rows[-1][0] + 1

    def entries_at(self, scope: Scope, positions: Iterable[int]) -> list[Entry]:
        found = []
        with self._database.read() as db:
            key = self._find(db, scope)
            for position in positions:
                rows = db.execute(
                    "SELECT id, time, body FROM turn WHERE session = ? AND position = ?",
                    (key, position),
                )
                for id, time, body in rows:
                    turn = codec.decode_turn(body, codec.decode_name(id), time)
                    found.append(Entry(position, turn))
        return found

    def turn_facts(self, scope: Scope, start: int = 0) -> list[tuple[int, TurnFacts]]:
        rows = self._database.rows(
            "SELECT position, facts, time FROM turn WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?)"
            " AND position >= ? ORDER BY position",
            (*_names(scope), start),
        )
        return [(position, codec.decode_turn_facts(facts, time)) for position, facts, time in rows]

    def position(self, scope: Scope, turn_id: str) -> int | None:
        rows = self._database.rows(
            "SELECT position FROM turn WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?) AND id = ?",
            (*_names(scope), codec.encode_name(turn_id)),
        )
        return rows[0][0] if rows else None

    def rewind(
        self, scope: Scope, length: int, pages: int, postings: Postings, seen: SessionState
    ) -> bool:
        with self._database.write() as db:
            key = self._unmoved(db, scope, seen)
            if key is None:
                return False
            gone = range(length, seen.indexed)
            db.execute("DELETE FROM turn WHERE session = ? AND position >= ?", (key, length))
            self._take_back(db, key, pages, postings, set(gone))
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
            removed = db.executemany("DELETE FROM turn WHERE session = ? AND position = ?", rows)
            db.execute("DELETE FROM blob WHERE session = ?", (key,))
            self._take_back(db, key, pages, postings, set(positions))
            return removed.rowcount

    # Pages, plans, blobs

    def add_pages(
        self, scope: Scope, pages: Sequence[tuple[Page, PageFacts]], generation: int
    ) -> bool:
        with self._database.write() as db:
            key = self._find(db, scope)
            row = db.execute(
                "SELECT generation, (SELECT coalesce(max(number) + 1, 0) FROM page"
                " WHERE session = session.id) FROM session WHERE id = ?",
                (key,),
            ).fetchone()
            if row is None or row[0] != generation or (pages and pages[0][0].number > row[1]):
                return False
            db.executemany(
                "INSERT OR IGNORE INTO page VALUES (?, ?, ?, ?)",
                (
                    (key, page.number, codec.encode_page_facts(facts), codec.encode_page(page))
                    for page, facts in pages
                ),
            )
            return True

    def page(self, scope: Scope, number: int) -> Page | None:
        rows = self._database.rows(
            "SELECT body FROM page WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?) AND number = ?",
            (*_names(scope), number),
        )
        return codec.decode_page(rows[0][0], number) if rows else None

    def page_facts(self, scope: Scope, start: int = 0, stop: int | None = None) -> list[PageFacts]:
        last = -1 if stop is None else stop
        rows = self._database.rows(
            "SELECT number, facts FROM page WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?)"
            " AND number >= ? AND (? < 0 OR number < ?) ORDER BY number",
            (*_names(scope), start, last, last),
        )
        return [codec.decode_page_facts(facts, number) for number, facts in rows]

    def plans(self, scope: Scope) -> dict[str, Plan]:
        rows = self._database.rows(
            "SELECT name, body FROM plan WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?)",
            _names(scope),
        )
        return {name: codec.decode_plan(body) for name, body in rows}

    def swap_plan(self, scope: Scope, name: str, plan: Plan, past: Plan | None) -> bool:
        with self._database.write() as db:
            key = self._find(db, scope)
            if key is None:
                return True
            where = "session = ? AND name = ?"
            row = db.execute(f"SELECT body FROM plan WHERE {where}", (key, name)).fetchone()
            if (row and row[0]) != (past and past.to_json()):
                return False
            db.execute("INSERT OR REPLACE INTO plan VALUES (?, ?, ?)", (key, name, plan.to_json()))
            return True

    def blob(self, scope: Scope, key: str) -> bytes | None:
        rows = self._database.rows(
            "SELECT value FROM blob WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?) AND key = ?",
            (*_names(scope), key),
        )
        return codec.open_blob(rows[0][0]) if rows else None

    def put_blob(self, scope: Scope, key: str, value: bytes) -> bytes:
        with self._database.write() as db:
            session = self._find(db, scope)
            if session is None:
                return value
            row = db.execute(
                "SELECT value FROM blob WHERE session = ? AND key = ?", (session, key)
            ).fetchone()
            kept = None if row is None else codec.open_blob(row[0])
            if kept is not None:
                return kept
            made = (session, key, codec.seal_blob(value))
            db.execute("INSERT OR REPLACE INTO blob VALUES (?, ?, ?)", made)
            return value

    def drop_blobs(self, scope: Scope, keys: Iterable[str]) -> None:
        with self._database.write() as db:
            session = self._find(db, scope)
            pairs = [(session, key) for key in keys]
            db.executemany("DELETE FROM blob WHERE session = ? AND key = ?", pairs)

    # The search index

    def index(self, scope: Scope, postings: Postings, stop: int, seen: SessionState) -> bool:
        with self._database.write() as db:
            key = self._unmoved(db, scope, seen)
            if key is None:
                return False
            block = seen.indexed // BLOCK
            # In the order of the table, so that each of its pages is written once. What blobs
            # are joined to is a text of the same bytes.
            rows = ((codec.encode_name(term), data) for term, data in postings.by_term.items())
            db.executemany(
                "INSERT INTO posting VALUES (?, ?, ?, ?) ON CONFLICT DO"
                " UPDATE SET data = CAST(data || excluded.data AS BLOB)",
                ((key, term, block, data) for term, data in sorted(rows)),
            )
            db.execute(
                "UPDATE session SET indexed = ?, documents = documents + ?, terms = terms + ?"
                " WHERE id = ?",
                (stop, postings.documents, postings.terms, key),
            )
            return True

    def frequencies(self, scope: Scope, terms: Iterable[str]) -> dict[str, int]:
        found = {}
        with self._database.read() as db:
            key = self._find(db, scope)
            for term in terms:
                size = db.execute(
                    "SELECT sum(length(data)) FROM posting WHERE session = ? AND term = ?",
                    (key, codec.encode_name(term)),
                ).fetchone()[0]
                if size:
                    found[term] = size // POSTING.itemsize
        return found

    def completions(self, scope: Scope, prefixes: Iterable[str], limit: int) -> list[str]:
        found: list[str] = []
        with self._database.read() as db:
            key = self._find(db, scope)
            for prefix in prefixes:
                first = codec.encode_name(prefix)
                rows = db.execute(
                    "SELECT DISTINCT term FROM posting WHERE session = ? AND term >= ?"
                    " AND term < ? ORDER BY term LIMIT ?",
                    (key, first, first + b"\xff", limit),
                ).fetchall()
                found += (codec.decode_name(term) for (term,) in rows)
        return found

    def postings(self, scope: Scope, terms: Iterable[str]) -> dict[str, bytes]:
        found = {}
        with self._database.read() as db:
            key = self._find(db, scope)
            for term in terms:
                rows = db.execute(
                    "SELECT data FROM posting WHERE session = ? AND term = ? ORDER BY block",
                    (key, codec.encode_name(term)),
                ).fetchall()
                if rows:
                    found[term] = b"".join(data for (data,) in rows)
        return found

    def size(self, scope: Scope) -> dict[str, int]:
        columns = {"log": ("turn", "body"), "pages": ("page", "body"), "blobs": ("blob", "value")}
        with self._database.read() as db:
            key = self._find(db, scope)
            return {
                kind: db.execute(
                    f"SELECT coalesce(sum(length({column})), 0) FROM {table} WHERE session = ?",
                    (key,),
                ).fetchone()[0]
                for kind, (table, column) in columns.items()
            }

    def warnings(self) -> list[str]:
        damage = self._database.damage()
        return [] if damage is None else [f"{self.url} is damaged: {damage}"]

    def purge(self) -> None:
        self._database.empty_log()

    def stored(self, scope: Scope) -> Iterator[tuple[str, bytes]]:
        with self._database.read() as db:
            key = self._find(db, scope)
        for table, columns in _STORED.items():
            query = f"SELECT {columns} FROM {table} WHERE session = ?"
            for row in self._database.rows(query, (key or 0,)):
                for value in row:
                    data = value.encode() if isinstance(value, str) else bytes(value)
                    yield table, codec.readable(data)
        for number in range(self.state(scope).pages):
            page = self.page(scope, number)
            if page is not None:
                yield f"page {number}", codec.encode_name(page.text)
        for path, data in self._database.file_bytes():
            yield f"file {path}", data

    def close(self) -> None:
        self._database.close()

    # Inside a transaction

    def _insert(self, db: sqlite3.Connection, session: int, position: int, draft: Draft) -> None:
        turn = draft.turn
        row: tuple[Json, ...] = (session, position, codec.encode_name(turn.id), turn.time)
        row += (codec.encode_turn_facts(draft.facts), codec.encode_turn(turn))
        db.execute("INSERT INTO turn VALUES (?, ?, ?, ?, ?, ?)", row)

    def _position_of_same(self, db: sqlite3.Connection, session: int, turn: Turn) -> int | None:
        row = db.execute(
            "SELECT position, body FROM turn WHERE session = ? AND id = ?",
            (session, codec.encode_name(turn.id)),
        ).fetchone()
        if row is None:
            return None
        if codec.turn_digest(codec.decode_turn(row[1], turn.id, None)) != codec.turn_digest(turn):
            raise ConflictError(
                f"turn {turn.id!r} is already in the log with other content:"
                " give the new turn another id"
            )
        return int(row[0])

    def _take_back(
        self,
        db: sqlite3.Connection,
        session: int,
        pages: int,
        postings: Postings,
        positions: set[int],
    ) -> None:
        """Remove what was derived from turns that are gone."""
        for term in postings.by_term:
            rows = db.execute(
                "SELECT block, data FROM posting WHERE session = ? AND term = ?",
                (session, codec.encode_name(term)),
            ).fetchall()
            for block, data in rows:
                row = (session, codec.encode_name(term), block)
                if kept := without(data, positions):
                    db.execute("INSERT OR REPLACE INTO posting VALUES (?, ?, ?, ?)", (*row, kept))
                else:
                    db.execute(
                        "DELETE FROM posting WHERE session = ? AND term = ? AND block = ?", row
                    )
        db.execute("DELETE FROM page WHERE session = ? AND number >= ?", (session, pages))
        db.execute("DELETE FROM plan WHERE session = ?", (session,))
        db.execute(
            "UPDATE session SET generation = generation + 1, documents = documents - ?,"
            " terms = terms - ? WHERE id = ?",
            (postings.documents, postings.terms, session),
        )

    def _unmoved(self, db: sqlite3.Connection, scope: Scope, seen: SessionState) -> int | None:
        """The session's key if its index and generation still are those that were seen."""
        row = db.execute(
            "SELECT id FROM session WHERE namespace = ? AND name = ?"
            " AND generation = ? AND indexed = ?",
            (*_names(scope), seen.generation, seen.indexed),
        ).fetchone()
        return None if row is None else int(row[0])

    def _find(self, db: sqlite3.Connection, scope: Scope) -> int | None:
        row = db.execute(
            "SELECT id FROM session WHERE namespace = ? AND name = ?", _names(scope)
        ).fetchone()
        return None if row is None else int(row[0])

    def _session(
        self, db: sqlite3.Connection, scope: Scope, settings: Mapping[str, Json] | None = None
    ) -> int:
        row = db.execute(
            "SELECT id, settings FROM session WHERE namespace = ? AND name = ?", _names(scope)
        ).fetchone()
        if row is None:
            cursor = db.execute(
                "INSERT INTO session (namespace, name, settings) VALUES (?, ?, ?)",
                (*_names(scope), dump_json(dict(settings or {}))),
            )
            return int(cursor.lastrowid or 0)
        if settings is not None and codec.decode_settings(row[1]) != settings:
            raise ConflictError(
                f"session {scope.session!r} was meanwhile begun with other settings: open it again"
            )
        return int(row[0])


def _names(scope: Scope) -> tuple[bytes, bytes]:
    return codec.encode_name(scope.namespace), codec.encode_name(scope.session)
