"""Sessions in one SQLite file (WAL mode), the embedded default; in memory without a path.

Search terms stand in a contentless FTS5 table, each prefixed with its session's number,
so that neither matches nor statistics cross a scope.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from optimem.errors import ConflictError, NotFoundError, StoreError
from optimem.stores import codec
from optimem.stores.protocol import Documents, Draft, SessionState
from optimem.values import Entry, Json, Page, PageFacts, Plan, Scope, Turn, TurnFacts, dump_json

_APPLICATION_ID = 0x4F70744D  # "OptM"
_SCHEMA_VERSION = 1
_READ_AT_ONCE = 64  # turns, to bound memory when a log is walked
_PIECES = 10  # bits of a search row's id that number the stretches of one turn

_SCHEMA = f"""
CREATE TABLE session (
    id INTEGER PRIMARY KEY, namespace BLOB NOT NULL, name BLOB NOT NULL,
    turns INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0,
    documents INTEGER NOT NULL DEFAULT 0, terms INTEGER NOT NULL DEFAULT 0,
    settings TEXT NOT NULL, UNIQUE (namespace, name));
CREATE TABLE turn (
    key INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL, position INTEGER NOT NULL,
    id BLOB NOT NULL, time REAL, facts BLOB NOT NULL, body BLOB NOT NULL,
    documents INTEGER NOT NULL, terms INTEGER NOT NULL,
    UNIQUE (session, position), UNIQUE (session, id));
CREATE TABLE page (
    session INTEGER NOT NULL, number INTEGER NOT NULL, facts BLOB NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (session, number)) WITHOUT ROWID;
CREATE TABLE plan (
    session INTEGER NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (session, name)) WITHOUT ROWID;
CREATE TABLE blob (
    session INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (session, key)) WITHOUT ROWID;
CREATE VIRTUAL TABLE search USING fts5(terms, content='', tokenize="ascii tokenchars '_'");
CREATE VIRTUAL TABLE search_row USING fts5vocab(search, row);
CREATE VIRTUAL TABLE search_instance USING fts5vocab(search, instance);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
"""


class SQLiteStore:
    """The Store protocol on SQLite.

    Args:
        path: the database file, made with its folder when missing, readable by its owner
            alone; None keeps everything in memory.
        synchronous: "normal" survives a crash of the process, "full" of the machine.

    Raises:
        StoreError: the file cannot be opened, is no database, belongs to another program
            or was written by a later version.
    """

    def __init__(self, path: Path | None, synchronous: str = "normal") -> None:
        self.url = "memory://" if path is None else f"sqlite:///{path}"
        self._lock = threading.RLock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(
                path or ":memory:", timeout=30, isolation_level=None, check_same_thread=False
            )
            self._set_up(synchronous)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"cannot open {self.url}: {_reason(error)}") from None

    def _set_up(self, synchronous: str) -> None:
        found = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if found != _APPLICATION_ID and (found or version or tables):
            self._db.close()
            raise StoreError(f"{self.url} is a database of another program: name another file")
        if version > _SCHEMA_VERSION:
            self._db.close()
            raise StoreError(
                f"{self.url} was written by a later version of optimem: pip install -U optimem"
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA synchronous = {synchronous}")
        self._db.execute("PRAGMA secure_delete = ON")
        if not tables:
            with self._write() as db:  # another process may have been faster
                if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    for statement in _SCHEMA.strip().split(";\n"):
                        db.execute(statement)

    # Sessions

    def state(self, scope: Scope) -> SessionState:
        with self._read() as db:
            row = db.execute(
                "SELECT turns,"
                " (SELECT coalesce(max(number) + 1, 0) FROM page WHERE session = session.id),"
                " generation, documents, terms, settings"
                " FROM session WHERE namespace = ? AND name = ?",
                _names(scope),
            ).fetchone()
        if row is None:
            return SessionState()
        turns, pages, generation, documents, terms, settings = row
        kept = codec.decode_settings(settings)
        return SessionState(turns, pages, generation, documents, terms, kept)

    def sessions(self, namespace: str) -> list[str]:
        rows = self._rows(
            "SELECT name FROM session WHERE namespace = ? ORDER BY name", (_text(namespace),)
        )
        return [_untext(name) for (name,) in rows]

    def drop(self, scope: Scope) -> int:
        with self._write() as db:
            key = self._find(db, scope)
            if key is None:
                return 0
            count: int = db.execute(
                "SELECT count(*) FROM turn WHERE session = ?", (key,)
            ).fetchone()[0]
            # FTS5 can only take back rows whose terms it is given; those of a whole session
            # are listed in the index itself.
            self._unindex_session(db, key)
            for table in ("turn", "page", "plan", "blob"):
                db.execute(f"DELETE FROM {table} WHERE session = ?", (key,))
            db.execute("DELETE FROM session WHERE id = ?", (key,))
            return count

    def fork(self, scope: Scope, target: Scope) -> None:
        with self._write() as db:
            source = self._find(db, scope)
            if source is None:
                raise NotFoundError(f"no session {scope.session!r} to fork")
            key = self._session(db, target)
            if db.execute("SELECT turns FROM session WHERE id = ?", (key,)).fetchone()[0]:
                raise ConflictError(f"session {target.session!r} already has turns: name another")
            db.execute(
                "UPDATE session SET (turns, generation, documents, terms, settings) ="
                " (SELECT turns, generation, documents, terms, settings FROM session"
                " WHERE id = ?) WHERE id = ?",
                (source, key),
            )
            db.execute(
                "INSERT INTO turn (session, position, id, time, facts, body, documents, terms)"
                " SELECT ?, position, id, time, facts, body, documents, terms FROM turn"
                " WHERE session = ? ORDER BY position",
                (key, source),
            )
            db.execute(
                "INSERT INTO page SELECT ?, number, facts, body FROM page WHERE session = ?",
                (key, source),
            )
            self._copy_index(db, source, key)

    # The log

    def append(
        self, scope: Scope, drafts: Sequence[Draft], settings: Mapping[str, Json]
    ) -> list[int]:
        if not drafts:
            return []
        with self._write() as db:
            key = self._session(db, scope, settings)
            start = db.execute("SELECT turns FROM session WHERE id = ?", (key,)).fetchone()[0]
            positions, documents, terms = [], 0, 0
            position = start
            for draft in drafts:
                there = self._position_of_same(db, key, draft.turn)
                if there is not None:
                    positions.append(there)
                    continue
                added = self._insert(db, key, position, draft)
                documents, terms = documents + added[0], terms + added[1]
                positions.append(position)
                position += 1
            db.execute(
                "UPDATE session SET turns = ?, documents = documents + ?, terms = terms + ?"
                " WHERE id = ?",
                (position, documents, terms, key),
            )
        return positions

    def entries(self, scope: Scope, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        last = -1 if stop is None else stop
        while True:
            rows = self._rows(
                "SELECT position, id, time, body FROM turn WHERE session ="
                " (SELECT id FROM session WHERE namespace = ? AND name = ?)"
                " AND position >= ? AND (? < 0 OR position < ?) ORDER BY position LIMIT ?",
                (*_names(scope), start, last, last, _READ_AT_ONCE),
            )
            for position, id, time, body in rows:
                yield Entry(position, codec.decode_turn(body, _untext(id), time))
            if len(rows) < _READ_AT_ONCE:
                return
            start = rows[-1][0] + 1

    def turn_facts(self, scope: Scope, start: int = 0) -> list[tuple[int, TurnFacts]]:
        rows = self._rows(
            "SELECT position, facts, time FROM turn WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?)"
            " AND position >= ? ORDER BY position",
            (*_names(scope), start),
        )
        return [(position, codec.decode_turn_facts(facts, time)) for position, facts, time in rows]

    def position(self, scope: Scope, turn_id: str) -> int | None:
        rows = self._rows(
            "SELECT position FROM turn WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?) AND id = ?",
            (*_names(scope), _text(turn_id)),
        )
        return rows[0][0] if rows else None

    def rewind(
        self, scope: Scope, length: int, pages: int, documents: Callable[[Turn], Documents]
    ) -> None:
        with self._write() as db:
            key = self._find(db, scope)
            if key is None:
                return
            rows = db.execute(
                "SELECT position FROM turn WHERE session = ? AND position >= ?", (key, length)
            ).fetchall()
            self._remove(db, key, [row[0] for row in rows], pages, documents)
            db.execute("UPDATE session SET turns = ? WHERE id = ?", (length, key))

    def erase(
        self,
        scope: Scope,
        positions: Sequence[int],
        pages: int,
        documents: Callable[[Turn], Documents],
    ) -> int:
        with self._write() as db:
            key = self._find(db, scope)
            if key is None:
                return 0
            db.execute("DELETE FROM blob WHERE session = ?", (key,))
            return self._remove(db, key, positions, pages, documents)

    # Pages, plans, blobs

    def add_pages(
        self, scope: Scope, pages: Sequence[tuple[Page, PageFacts]], generation: int
    ) -> bool:
        with self._write() as db:
            key = self._find(db, scope)
            row = db.execute("SELECT generation FROM session WHERE id = ?", (key,)).fetchone()
            if row is None or row[0] != generation:
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
        rows = self._rows(
            "SELECT body FROM page WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?) AND number = ?",
            (*_names(scope), number),
        )
        return codec.decode_page(rows[0][0], number) if rows else None

    def page_facts(self, scope: Scope, start: int = 0) -> list[PageFacts]:
        rows = self._rows(
            "SELECT number, facts FROM page WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?)"
            " AND number >= ? ORDER BY number",
            (*_names(scope), start),
        )
        return [codec.decode_page_facts(facts, number) for number, facts in rows]

    def plans(self, scope: Scope) -> dict[str, Plan]:
        rows = self._rows(
            "SELECT name, body FROM plan WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?)",
            _names(scope),
        )
        return {name: codec.decode_plan(body) for name, body in rows}

    def swap_plan(self, scope: Scope, name: str, plan: Plan, past: Plan | None) -> bool:
        with self._write() as db:
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
        rows = self._rows(
            "SELECT value FROM blob WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?) AND key = ?",
            (*_names(scope), key),
        )
        return bytes(rows[0][0]) if rows else None

    def put_blob(self, scope: Scope, key: str, value: bytes) -> bytes:
        with self._write() as db:
            session = self._find(db, scope)
            if session is None:
                return value
            db.execute("INSERT OR IGNORE INTO blob VALUES (?, ?, ?)", (session, key, value))
            row = db.execute(
                "SELECT value FROM blob WHERE session = ? AND key = ?", (session, key)
            ).fetchone()
            return bytes(row[0])

    def drop_blobs(self, scope: Scope, keys: Iterable[str]) -> None:
        with self._write() as db:
            session = self._find(db, scope)
            pairs = [(session, key) for key in keys]
            db.executemany("DELETE FROM blob WHERE session = ? AND key = ?", pairs)

    # The search index

    def frequencies(self, scope: Scope, terms: Iterable[str]) -> dict[str, int]:
        found = {}
        with self._read() as db:
            key = self._find(db, scope)
            for term in terms:
                row = db.execute(
                    "SELECT doc FROM search_row WHERE term = ?", (_term(key, term),)
                ).fetchone()
                if row:
                    found[term] = int(row[0])
        return found

    def completions(self, scope: Scope, prefix: str, limit: int) -> list[str]:
        with self._read() as db:
            first = _term(self._find(db, scope), prefix)
            rows = db.execute(
                "SELECT term FROM search_row WHERE term >= ? AND term < ? ORDER BY term LIMIT ?",
                (first, first + "\U0010ffff", limit),
            ).fetchall()
        return [str(term).partition("_")[2] for (term,) in rows]

    def postings(self, scope: Scope, term: str) -> list[tuple[int, int]]:
        with self._read() as db:
            rows = db.execute(
                "SELECT turn.position, count(*) FROM search_instance AS found"
                f" JOIN turn ON turn.key = found.doc >> {_PIECES}"
                " WHERE found.term = ? GROUP BY found.doc",
                (_term(self._find(db, scope), term),),
            ).fetchall()
        return rows

    def lengths(self, scope: Scope, positions: Iterable[int]) -> dict[int, float]:
        found = {}
        with self._read() as db:
            key = self._find(db, scope)
            for position in positions:
                row = db.execute(
                    "SELECT terms, documents FROM turn WHERE session = ? AND position = ?",
                    (key, position),
                ).fetchone()
                if row:
                    found[position] = row[0] / max(row[1], 1)
        return found

    def size(self, scope: Scope) -> dict[str, int]:
        columns = {"log": ("turn", "body"), "pages": ("page", "body"), "blobs": ("blob", "value")}
        with self._read() as db:
            key = self._find(db, scope)
            return {
                kind: db.execute(
                    f"SELECT coalesce(sum(length({column})), 0) FROM {table} WHERE session = ?",
                    (key,),
                ).fetchone()[0]
                for kind, (table, column) in columns.items()
            }

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # Inside a transaction

    def _insert(
        self, db: sqlite3.Connection, session: int, position: int, draft: Draft
    ) -> tuple[int, int]:
        turn = draft.turn
        row: tuple[Json, ...] = (session, position, _text(turn.id), turn.time)
        row += (codec.encode_turn_facts(draft.facts), codec.encode_turn(turn))
        cursor = db.execute(
            "INSERT INTO turn (session, position, id, time, facts, body, documents, terms)"
            " VALUES (?, ?, ?, ?, ?, ?, 0, 0)",
            row,
        )
        key = int(cursor.lastrowid or 0)
        counts = [0, 0]
        for line, terms, rowid in _index_rows(session, key, draft.documents):
            db.execute("INSERT INTO search (rowid, terms) VALUES (?, ?)", (rowid, line))
            counts = [counts[0] + 1, counts[1] + terms]
        db.execute("UPDATE turn SET documents = ?, terms = ? WHERE key = ?", (*counts, key))
        return counts[0], counts[1]

    def _position_of_same(self, db: sqlite3.Connection, session: int, turn: Turn) -> int | None:
        row = db.execute(
            "SELECT position, body FROM turn WHERE session = ? AND id = ?",
            (session, _text(turn.id)),
        ).fetchone()
        if row is None:
            return None
        if codec.decode_turn(row[1], turn.id, None).message != turn.message:
            raise ConflictError(
                f"turn {turn.id!r} is already in the log with other content:"
                " give the new turn another id"
            )
        return int(row[0])

    def _remove(
        self,
        db: sqlite3.Connection,
        session: int,
        positions: Sequence[int],
        pages: int,
        documents: Callable[[Turn], Documents],
    ) -> int:
        removed = 0
        for position in positions:
            row = db.execute(
                "SELECT key, id, time, body, documents, terms FROM turn"
                " WHERE session = ? AND position = ?",
                (session, position),
            ).fetchone()
            if row is None:
                continue
            key, id, time, body, pieces, terms = row
            turn = codec.decode_turn(body, _untext(id), time)
            for line, _, rowid in _index_rows(session, key, documents(turn)):
                db.execute(
                    "INSERT INTO search (search, rowid, terms) VALUES ('delete', ?, ?)",
                    (rowid, line),
                )
            db.execute("DELETE FROM turn WHERE key = ?", (key,))
            db.execute(
                "UPDATE session SET documents = documents - ?, terms = terms - ? WHERE id = ?",
                (pieces, terms, session),
            )
            removed += 1
        db.execute("DELETE FROM page WHERE session = ? AND number >= ?", (session, pages))
        db.execute("DELETE FROM plan WHERE session = ?", (session,))
        db.execute("UPDATE session SET generation = generation + 1 WHERE id = ?", (session,))
        return removed

    def _unindex_session(self, db: sqlite3.Connection, session: int) -> None:
        for rowid, line in self._indexed(db, session).items():
            db.execute(
                "INSERT INTO search (search, rowid, terms) VALUES ('delete', ?, ?)", (rowid, line)
            )

    def _copy_index(self, db: sqlite3.Connection, source: int, target: int) -> None:
        keys = dict(
            db.execute(
                "SELECT old.key, new.key FROM turn AS old JOIN turn AS new"
                " ON old.position = new.position WHERE old.session = ? AND new.session = ?",
                (source, target),
            ).fetchall()
        )
        pieces = (1 << _PIECES) - 1
        for rowid, line in self._indexed(db, source).items():
            moved = keys[rowid >> _PIECES] << _PIECES | rowid & pieces
            terms = " ".join(f"{target}_{term.partition('_')[2]}" for term in line.split(" "))
            db.execute("INSERT INTO search (rowid, terms) VALUES (?, ?)", (moved, terms))

    def _indexed(self, db: sqlite3.Connection, session: int) -> dict[int, str]:
        """The indexed line of each search row of a session, rebuilt from the index."""
        rows = db.execute(
            "SELECT doc, term FROM search_instance WHERE term >= ? AND term < ?"
            " ORDER BY doc, offset",
            (f"{session}_", f"{session}`"),  # ` follows _ in ASCII
        )
        lines: dict[int, list[str]] = {}
        for rowid, term in rows:
            lines.setdefault(rowid, []).append(term)
        return {rowid: " ".join(terms) for rowid, terms in lines.items()}

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

    # Connections

    def _rows(self, query: str, values: tuple[str | bytes | int, ...]) -> list[tuple[Json, ...]]:
        with self._read() as db:
            return db.execute(query, values).fetchall()

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise StoreError(f"cannot read {self.url}: {_reason(error)}") from None

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                finally:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise StoreError(f"cannot write {self.url}: {_reason(error)}") from None


def _index_rows(session: int, key: int, documents: Documents) -> Iterator[tuple[str, int, int]]:
    """(indexed line, number of terms, row id) for each stretch of a turn."""
    for piece, terms in enumerate(islice(documents, 1 << _PIECES)):
        line = _term(session, f" {session}_".join(terms)) if terms else ""
        yield line, len(terms), key << _PIECES | piece


def _term(session: int | None, term: str) -> str:
    """A term as it stands in the index, where no term has a lone surrogate."""
    return f"{session}_{term}".encode("utf-8", "replace").decode()


def _names(scope: Scope) -> tuple[bytes, bytes]:
    return _text(scope.namespace), _text(scope.session)


def _text(name: str) -> bytes:
    """A user's name or id as bytes: SQLite's text holds neither NUL nor lone surrogates."""
    return name.encode("utf-8", "surrogatepass")


def _untext(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
