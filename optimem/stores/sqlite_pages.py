"""What a SQLite store can lose and make again: pages, plans, and blobs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from optimem.errors import StoreError
from optimem.stores import codec
from optimem.stores.cipher import Cipher
from optimem.stores.sqlite_sessions import SQLiteSessions
from optimem.values import Page, PageFacts, Plan, Scope

_NO_END = 1 << 62


class SQLitePages(SQLiteSessions):
    """The verbs of the Store protocol for pages, plans and blobs."""

    def add_pages(
        self, scope: Scope, pages: Sequence[tuple[Page, PageFacts]], generation: int
    ) -> bool:
        cipher = self._cipher(scope)
        with self._database.write() as db:
            key = self._find(db, scope)
            row = db.execute(
                "SELECT generation, (SELECT coalesce(max(number) + 1, 0) FROM page"
                " WHERE session = session.id) FROM session WHERE id = ?",
                (key,),
            ).fetchone()
            if row is None or row[0] != generation or (pages and pages[0][0].number > row[1]):
                return False
            for page, facts in pages:
                sealed_facts = cipher.seal(codec.encode_page_facts(facts), b"page facts")
                body = cipher.seal(codec.encode_page(page), b"page")
                row = (key, page.number, sealed_facts, body)
                db.execute("INSERT OR IGNORE INTO page VALUES (?, ?, ?, ?)", row)
            return True

    def page(self, scope: Scope, number: int) -> Page | None:
        rows = self._database.rows(
            "SELECT body FROM page WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?) AND number = ?",
            (*self._names(scope), number),
        )
        cipher = self._cipher(scope)
        return codec.decode_page(cipher.open(rows[0][0], b"page"), number) if rows else None

    def page_facts(self, scope: Scope, start: int = 0, stop: int | None = None) -> list[PageFacts]:
        last = _NO_END if stop is None else stop
        rows = self._database.rows(
            "SELECT number, facts FROM page WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?)"
            " AND number >= ? AND number < ? ORDER BY number",
            (*self._names(scope), start, last),
        )
        cipher = self._cipher(scope)
        return [
            codec.decode_page_facts(cipher.open(facts, b"page facts"), number)
            for number, facts in rows
        ]

    def plans(self, scope: Scope) -> dict[str, Plan]:
        rows = self._database.rows(
            "SELECT name, body FROM plan WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?)",
            self._names(scope),
        )
        cipher = self._cipher(scope)
        return {
            codec.decode_name(cipher.open(name, b"plan name")): codec.decode_plan(
                cipher.open(body, b"plan")
            )
            for name, body in rows
        }

    def swap_plan(
        self,
        scope: Scope,
        name: str,
        plan: Plan,
        past: Plan | None,
        hidden: Sequence[str] = (),
    ) -> bool:
        cipher = self._cipher(scope)
        sealed_name = cipher.seal(codec.encode_name(name), b"plan name")
        with self._database.write() as db:
            key = self._find(db, scope)
            if key is None:
                return True
            row = db.execute(
                "SELECT body FROM plan WHERE session = ? AND name = ?", (key, sealed_name)
            ).fetchone()
            if (row and row[0]) != (past and _sealed(cipher, past)):
                return False
            values = (key, sealed_name, _sealed(cipher, plan))
            db.execute("INSERT OR REPLACE INTO plan VALUES (?, ?, ?)", values)
            _drop_blobs(db, [(key, self._blob_name(scope, blob)) for blob in hidden])
            return True

    def blob(self, scope: Scope, key: str) -> bytes | None:
        cipher, name = self._cipher(scope), self._blob_name(scope, key)
        rows = self._database.rows(
            "SELECT value FROM blob WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?) AND key = ?",
            (*self._names(scope), name),
        )
        return open_blob(cipher, rows[0][0], name) if rows else None

    def put_blob(self, scope: Scope, key: str, value: bytes) -> bytes:
        cipher, name = self._cipher(scope), self._blob_name(scope, key)
        with self._database.write() as db:
            session = self._find(db, scope)
            if session is None:
                return value
            row = db.execute(
                "SELECT value FROM blob WHERE session = ? AND key = ?", (session, name)
            ).fetchone()
            kept = None if row is None else open_blob(cipher, row[0], name)
            if kept is not None:
                return kept
            made = (session, name, cipher.seal(codec.seal_blob(value), name))
            readable_name = cipher.seal(codec.encode_name(key), b"blob name")
            db.execute("INSERT OR REPLACE INTO blob VALUES (?, ?, ?, ?)", (*made, readable_name))
            told = (session, name, codec.blob_hash(value, cipher.digest))
            db.execute("INSERT OR REPLACE INTO blob_hash VALUES (?, ?, ?)", told)
            return value

    def blob_hash(self, scope: Scope, key: str) -> bytes | None:
        rows = self._database.rows(
            "SELECT hash FROM blob_hash WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?) AND key = ?",
            (*self._names(scope), self._blob_name(scope, key)),
        )
        return bytes(rows[0][0]) if rows else None

    def blob_names(self, scope: Scope) -> list[str]:
        cipher = self._cipher(scope)
        rows = self._database.rows(
            "SELECT name FROM blob WHERE session ="
            " (SELECT id FROM session WHERE namespace = ? AND name = ?) AND name != x''",
            self._names(scope),
        )
        return sorted(codec.decode_name(cipher.open(name, b"blob name")) for (name,) in rows)

    def drop_blobs(self, scope: Scope, keys: Iterable[str]) -> None:
        with self._database.write() as db:
            session = self._find(db, scope)
            _drop_blobs(db, [(session, self._blob_name(scope, key)) for key in keys])

    def _blob_name(self, scope: Scope, key: str) -> bytes:
        return self._cipher(scope).label(codec.encode_name(key))


def _drop_blobs(db: sqlite3.Connection, keys: list[tuple[int | None, bytes]]) -> None:
    for table in ("blob", "blob_hash"):
        db.executemany(f"DELETE FROM {table} WHERE session = ? AND key = ?", keys)


def open_blob(cipher: Cipher, sealed: bytes, place: bytes) -> bytes | None:
    """A stored blob; None for damaged bytes, which are then made anew."""
    try:
        return codec.open_blob(cipher.open(sealed, place))
    except StoreError:
        return None


def _sealed(cipher: Cipher, plan: Plan) -> bytes:
    return cipher.seal(plan.to_json().encode(), b"plan")
