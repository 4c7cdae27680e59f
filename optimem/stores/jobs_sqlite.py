"""Claims and queues in a SQLite file: two tables, for the processes of one machine."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from optimem.errors import StoreError
from optimem.stores.cipher import Ciphers
from optimem.stores.codec import decode_job
from optimem.stores.jobs import Job, Leased, Queue
from optimem.stores.sqlite_database import Database
from optimem.values import Scope

_logger = logging.getLogger(__name__)
_LONGEST = 100_000  # jobs in a queue: what is dropped is encoded by whoever shows it
_TABLES = (
    "CREATE TABLE IF NOT EXISTS claim (namespace BLOB, session BLOB, key BLOB,"
    " holder TEXT NOT NULL, until REAL NOT NULL,"
    " PRIMARY KEY (namespace, session, key)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS job (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " namespace BLOB, queue TEXT, session BLOB, page INTEGER, mode TEXT,"
    " worker TEXT NOT NULL DEFAULT '', until REAL NOT NULL DEFAULT 0,"
    " tries INTEGER NOT NULL DEFAULT 0, UNIQUE (namespace, queue, session, page, mode))",
)


Names = Callable[[Scope], tuple[bytes, bytes]]


class SQLiteJobs:
    """The Jobs protocol on SQLite.

    Args:
        database: the file.
        names: a scope's namespace and session as they are kept.
        ciphers: how each namespace is kept.
    """

    def __init__(self, database: Database, names: Names, ciphers: Ciphers) -> None:
        self._database = database
        self._names = names
        self._ciphers = ciphers
        self._has_tables = False

    def claim(
        self, scope: Scope, keys: Sequence[str], holder: str, seconds: float
    ) -> frozenset[str]:
        now, cipher = time.time(), self._ciphers(scope.namespace)
        mine = set()
        with self._write() as db:
            db.execute("DELETE FROM claim WHERE until <= ?", (now,))
            for key in keys:
                db.execute(
                    "INSERT INTO claim VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                    " SET until = excluded.until WHERE holder = excluded.holder",
                    (*self._names(scope), cipher.label(key.encode()), holder, now + seconds),
                )
                if db.execute("SELECT changes()").fetchone()[0]:
                    mine.add(key)
        return frozenset(mine)

    def release(self, scope: Scope, keys: Sequence[str], holder: str) -> None:
        names, cipher = self._names(scope), self._ciphers(scope.namespace)
        with self._write() as db:
            db.executemany(
                "DELETE FROM claim WHERE namespace = ? AND session = ? AND key = ? AND holder = ?",
                [(*names, cipher.label(key.encode()), holder) for key in keys],
            )

    def put(self, queue: Queue, jobs: Sequence[Job]) -> None:
        names = self._queue(queue)
        sessions = [self._names(Scope(queue.namespace, job.session))[1] for job in jobs]
        with self._write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO job (namespace, queue, session, page, mode)"
                " VALUES (?, ?, ?, ?, ?)",
                [
                    (*names, session, job.page, job.mode)
                    for session, job in zip(sessions, jobs, strict=True)
                ],
            )
            db.execute(
                "DELETE FROM job WHERE namespace = ? AND queue = ? AND id <="
                " (SELECT id FROM job WHERE namespace = ? AND queue = ?"
                " ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (*names, *names, _LONGEST),
            )

    def take(self, queue: Queue, worker: str, count: int, lease: float) -> list[Leased]:
        now = time.time()
        with self._write() as db:
            rows = db.execute(
                "SELECT id, session, page, mode, tries + 1 FROM job"
                " WHERE namespace = ? AND queue = ? AND until <= ?"
                " ORDER BY until = 0, id LIMIT ?",
                (*self._queue(queue), now, count),
            ).fetchall()
            db.executemany(
                "UPDATE job SET worker = ?, until = ?, tries = tries + 1 WHERE id = ?",
                [(worker, now + lease, row[0]) for row in rows],
            )
        cipher = self._ciphers(queue.namespace)
        taken = []
        for id, *fields, tries in rows:
            try:
                taken.append(Leased(str(id), decode_job(fields, cipher), tries))
            except StoreError as error:
                _logger.warning("a job was dropped: %s", error)
                self.finish(queue, [str(id)])
        return taken

    def renew(self, queue: Queue, worker: str, tickets: Sequence[str], lease: float) -> None:
        self._set_until(worker, tickets, time.time() + lease)

    def finish(self, queue: Queue, tickets: Sequence[str]) -> None:
        with self._write() as db:
            db.executemany("DELETE FROM job WHERE id = ?", [(int(t),) for t in tickets])

    def give_back(self, queue: Queue, worker: str, tickets: Sequence[str]) -> None:
        self._set_until(worker, tickets, 0)

    def count(self, queue: Queue) -> int:
        with self._write() as db:
            found: int = db.execute(
                "SELECT count(*) FROM job WHERE namespace = ? AND queue = ?",
                self._queue(queue),
            ).fetchone()[0]
        return found

    def _queue(self, queue: Queue) -> tuple[bytes, str]:
        return self._names(Scope(queue.namespace, ""))[0], queue.name

    def _set_until(self, worker: str, tickets: Sequence[str], until: float) -> None:
        with self._write() as db:
            db.executemany(
                "UPDATE job SET until = ? WHERE id = ? AND worker = ?",
                [(until, int(ticket), worker) for ticket in tickets],
            )

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._database.write() as db:
            for table in () if self._has_tables else _TABLES:
                db.execute(table)
            yield db
        self._has_tables = True
