"""One SQLite file in WAL mode: opening it, transactions, and what its files still hold."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optimem.errors import NotFoundError, StoreError
from optimem.stores.sqlite_schema import APPLICATION_ID, VERSION, create, version
from optimem.values import Json

_FILES = ("", "-wal", "-shm")
_CHUNK, _OVERLAP = 1 << 20, 1 << 12  # bytes of a file that are looked at together

_logger = logging.getLogger(__name__)


class Database:
    """A connection that threads share, to a file that is its owner's alone.

    Args:
        path: the file, made with its folder when missing; None keeps everything in memory.
        synchronous: "normal" survives a crash of the process, "full" of the machine.
        create: make what is missing; else a missing or empty file is an error.

    Raises:
        StoreError: the file cannot be opened, is no database, belongs to another program
            or was written by a later version.
        NotFoundError: there is nothing, and it shall not be made.
    """

    def __init__(self, path: Path | None, synchronous: str, create: bool = True) -> None:
        self._path = path
        self.url = "memory://" if path is None else f"sqlite:///{path}"
        self._lock = threading.RLock()
        try:
            if path is not None and not create and not _holds_anything(path):
                raise NotFoundError(
                    f"there is no store {self.url}: check the name (its first turn makes it)"
                )
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(
                path or ":memory:", timeout=30, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"cannot open {self.url}: {_reason(error)}") from None
        try:
            self._set_up(synchronous)
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise StoreError(f"cannot open {self.url}: {_reason(error)}") from None
            raise

    def _set_up(self, synchronous: str) -> None:
        found = self._db.execute("PRAGMA application_id").fetchone()[0]
        written_by = version(self._db)
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if found != APPLICATION_ID and (found or written_by or tables):
            raise StoreError(f"{self.url} is a database of another program: name another file")
        if written_by > VERSION:
            raise StoreError(
                f"{self.url} was written by a later version of optimem: pip install -U optimem"
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA synchronous = {synchronous}")
        self._db.execute("PRAGMA secure_delete = ON")
        if written_by < VERSION:
            with self.write() as db:  # another process may have been faster, and that is fine
                create(db)

    def rows(self, query: str, values: tuple[str | bytes | int, ...]) -> list[tuple[Json, ...]]:
        """All rows of one query."""
        with self.read() as db:
            return db.execute(query, values).fetchall()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone; its errors become a StoreError."""
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise StoreError(f"cannot read {self.url}: {_reason(error)}") from None

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Several reads of one moment."""
        with self.read() as db:
            db.execute("BEGIN")
            try:
                yield db
            finally:
                if db.in_transaction:
                    db.execute("COMMIT")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all that happens in it is kept, or nothing when it raises."""
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

    def damage(self) -> str | None:
        """What is wrong with the file, None when nothing is."""
        (found,) = self.rows("PRAGMA quick_check(1)", ())[0]
        return None if found == "ok" else str(found)

    def empty_log(self) -> None:
        """Move the write-ahead log into the database, where what is deleted is overwritten."""
        if self._path is None:
            return
        busy = self.rows("PRAGMA wal_checkpoint(TRUNCATE)", ())[0][0]
        if busy:
            _logger.warning(
                "%s is being read: its -wal file keeps deleted words until that ends", self.url
            )

    def file_bytes(self) -> Iterator[tuple[str, bytes]]:
        """Each file's name and bytes, in pieces that overlap."""
        for path in () if self._path is None else (f"{self._path}{end}" for end in _FILES):
            if os.path.exists(path):
                with open(path, "rb") as file:
                    before = b""
                    while chunk := file.read(_CHUNK):
                        yield path, before + chunk
                        before = chunk[-_OVERLAP:]

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        with self._lock:
            self._db.close()


def _holds_anything(path: Path) -> bool:
    """Whether a file has content; raises OSError where none can ever be."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
