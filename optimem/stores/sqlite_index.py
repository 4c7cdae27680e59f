"""The search index of a SQLite store: a table of packed postings (see `optimem.stores.postings`).

FTS5 keeps deleted words in its segments and reads common terms row by row, which at 100,000
turns takes half a second a query.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from optimem.stores import codec
from optimem.stores.postings import BLOCK, POSTING, Postings, without
from optimem.stores.protocol import SessionState
from optimem.stores.sqlite_sessions import SQLiteSessions
from optimem.values import Scope


class SQLiteIndex(SQLiteSessions):
    """The verbs of the Store protocol for the search index."""

    def index(self, scope: Scope, postings: Postings, stop: int, seen: SessionState) -> bool:
        with self._database.write() as db:
            key = self._unmoved(db, scope, seen)
            if key is None:
                return False
            block = seen.indexed // BLOCK
            # In the order of the table, so that each of its pages is written once. What blobs
            # are joined to is a text of the same bytes.
            rows = ((self._term(scope, term), data) for term, data in postings.by_term.items())
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
                    (key, self._term(scope, term)),
                ).fetchone()[0]
                if size:
                    found[term] = size // POSTING.itemsize
        return found

    def completions(self, scope: Scope, prefixes: Iterable[str], limit: int) -> list[str]:
        if self._cipher(scope).mark:
            return []  # keyed hashes have no beginnings
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
                    (key, self._term(scope, term)),
                ).fetchall()
                if rows:
                    found[term] = b"".join(data for (data,) in rows)
        return found

    def _take_back(
        self,
        db: sqlite3.Connection,
        scope: Scope,
        session: int,
        postings: Postings,
        positions: set[int],
    ) -> None:
        """Remove turns from the index, within a transaction."""
        for term in postings.by_term:
            label = self._term(scope, term)
            rows = db.execute(
                "SELECT block, data FROM posting WHERE session = ? AND term = ?",
                (session, label),
            ).fetchall()
            for block, data in rows:
                row = (session, label, block)
                if kept := without(data, positions):
                    db.execute("INSERT OR REPLACE INTO posting VALUES (?, ?, ?, ?)", (*row, kept))
                else:
                    db.execute(
                        "DELETE FROM posting WHERE session = ? AND term = ? AND block = ?", row
                    )
        db.execute(
            "UPDATE session SET documents = documents - ?, terms = terms - ? WHERE id = ?",
            (postings.documents, postings.terms, session),
        )

    def _term(self, scope: Scope, term: str) -> bytes:
        return self._cipher(scope).label(codec.encode_name(term))
