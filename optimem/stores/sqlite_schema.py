"""The tables of a SQLite store, and how those of earlier versions become today's."""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x4F70744D  # "OptM"
VERSION = 6  # what was forgotten has tombstones; 5: turns need the package's dictionary

# Derived data first written by version 1 as text: today's values may be encrypted.
_PLAN = """
CREATE TABLE plan (
    session INTEGER NOT NULL, name BLOB NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (session, name)) WITHOUT ROWID"""
_BLOB = """
CREATE TABLE blob (
    session INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    name BLOB NOT NULL DEFAULT x'', PRIMARY KEY (session, key)) WITHOUT ROWID"""
# Of the bytes last put under each key; it stays when they are lost.
_BLOB_HASH = """
CREATE TABLE blob_hash (
    session INTEGER NOT NULL, key BLOB NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (session, key)) WITHOUT ROWID"""
# Those that versions up to 4 made of a session's words; gone once it forgets anything.
_DICTIONARY = """
CREATE TABLE dictionary (
    session INTEGER NOT NULL, id INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (session, id)) WITHOUT ROWID"""
# Hashes of the ids of turns that were forgotten.
_FORGOTTEN = """
CREATE TABLE forgotten (
    session INTEGER NOT NULL, id BLOB NOT NULL, PRIMARY KEY (session, id)) WITHOUT ROWID"""
# Which keys the encrypted sessions of a namespace are kept with.
_MARK = """
CREATE TABLE mark (
    namespace BLOB NOT NULL, mark BLOB NOT NULL, PRIMARY KEY (namespace, mark)) WITHOUT ROWID"""

_TABLES = f"""
CREATE TABLE session (
    id INTEGER PRIMARY KEY, namespace BLOB NOT NULL, name BLOB NOT NULL,
    turns INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0,
    indexed INTEGER NOT NULL DEFAULT 0, documents INTEGER NOT NULL DEFAULT 0,
    terms INTEGER NOT NULL DEFAULT 0, settings BLOB NOT NULL,
    dictionary INTEGER NOT NULL DEFAULT 0,
    UNIQUE (namespace, name));
CREATE TABLE turn (
    session INTEGER NOT NULL, position INTEGER NOT NULL,
    id BLOB NOT NULL, time REAL, facts BLOB NOT NULL, body BLOB NOT NULL,
    UNIQUE (session, position), UNIQUE (session, id));
CREATE TABLE page (
    session INTEGER NOT NULL, number INTEGER NOT NULL, facts BLOB NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (session, number)) WITHOUT ROWID;
{_PLAN};
{_BLOB};
{_BLOB_HASH};
{_DICTIONARY};
{_FORGOTTEN};
{_MARK};
CREATE TABLE posting (
    session INTEGER NOT NULL, term BLOB NOT NULL, block INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (session, term, block)) WITHOUT ROWID;
"""

_FROM_1 = f"""
ALTER TABLE plan RENAME TO plan_1;
{_PLAN};
INSERT INTO plan SELECT session, CAST(name AS BLOB), CAST(body AS BLOB) FROM plan_1;
DROP TABLE plan_1;
ALTER TABLE blob RENAME TO blob_1;
{_BLOB};
INSERT INTO blob SELECT session, CAST(key AS BLOB), value, CAST(key AS BLOB) FROM blob_1;
DROP TABLE blob_1;
UPDATE session SET settings = CAST(settings AS BLOB);
ALTER TABLE session ADD COLUMN dictionary INTEGER NOT NULL DEFAULT 0;
{_DICTIONARY};
{_MARK};
{_BLOB_HASH};
{_FORGOTTEN};
"""
_FROM_2 = f"""
ALTER TABLE blob ADD COLUMN name BLOB NOT NULL DEFAULT x'';
{_BLOB_HASH};
{_FORGOTTEN};
"""
_FROM_3 = f"""
{_BLOB_HASH};
{_FORGOTTEN};
"""
_STEPS = {0: _TABLES, 1: _FROM_1, 2: _FROM_2, 3: _FROM_3, 4: _FORGOTTEN, 5: _FORGOTTEN}
"""What is missing in each version."""


def version(db: sqlite3.Connection) -> int:
    """Of which version the tables are; 0 when there are none."""
    found = db.execute("PRAGMA user_version").fetchone()
    return int(found[0])


def create(db: sqlite3.Connection) -> None:
    """Make what is missing, within a transaction; nothing is when another was faster."""
    for statement in _STEPS.get(version(db), "").split(";\n"):
        if statement.strip():
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")
