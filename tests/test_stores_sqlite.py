"""What only a file can get wrong: other programs' files, permissions, other processes, crashes."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import stat
import subprocess
import sys
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from optimem import Memory
from optimem.errors import StoreError
from optimem.modes import Tier
from optimem.settings import Settings
from optimem.stores import codec, open_store, sqlite_schema
from optimem.values import Plan, Scope


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def remember(path: Path, *texts: str) -> None:
    with Memory.open(url(path), "42") as memory:
        memory.extend({"role": "user", "content": text} for text in texts)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE turn (words TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="database of another program"):
        open_store(url(path))
    assert path.read_bytes() == before


def test_a_marked_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA application_id = 42")
    with pytest.raises(StoreError, match="database of another program"):
        open_store(url(path))


def test_tables_that_another_has_just_made_are_left(tmp_path: Path) -> None:
    """Two that open a file at once both see the version before, and the slower one waits."""
    Memory.open(f"sqlite:///{tmp_path}/m.db").close()
    with closing(sqlite3.connect(tmp_path / "m.db", isolation_level=None)) as db:
        tables = db.execute("SELECT sql FROM sqlite_master").fetchall()
        sqlite_schema.create(db)
        assert db.execute("SELECT sql FROM sqlite_master").fetchall() == tables


def test_a_later_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    remember(path, "words")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 999")
    with pytest.raises(StoreError, match="written by a later version of optimem"):
        open_store(url(path))


FIRST_SCHEMA = """
CREATE TABLE session (
    id INTEGER PRIMARY KEY, namespace BLOB NOT NULL, name BLOB NOT NULL,
    turns INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0,
    indexed INTEGER NOT NULL DEFAULT 0, documents INTEGER NOT NULL DEFAULT 0,
    terms INTEGER NOT NULL DEFAULT 0, settings TEXT NOT NULL, UNIQUE (namespace, name));
CREATE TABLE turn (
    session INTEGER NOT NULL, position INTEGER NOT NULL,
    id BLOB NOT NULL, time REAL, facts BLOB NOT NULL, body BLOB NOT NULL,
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
CREATE TABLE posting (
    session INTEGER NOT NULL, term BLOB NOT NULL, block INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (session, term, block)) WITHOUT ROWID;
PRAGMA application_id = 1332769869;
PRAGMA user_version = 1;
"""


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    plan = Plan((Tier.TINY,), 2, False, 3)
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(FIRST_SCHEMA)
        settings = json.dumps(Settings("chars").to_json())
        db.execute(
            "INSERT INTO session (id, namespace, name, turns, settings)"
            " VALUES (1, CAST('default' AS BLOB), CAST('42' AS BLOB), 2, ?)",
            (settings,),
        )
        for position, text in enumerate(("short words", "long words " * 99)):
            line = json.dumps({"role": "user", "content": text}).encode()
            body = b"j" + line if position == 0 else b"z" + zlib.compress(line, 1)
            row = (position, b"t%d" % position, 1.5, b'["user",5,[],[],[]]', body)
            db.execute("INSERT INTO turn VALUES (1, ?, ?, ?, ?, ?)", row)
        db.execute("INSERT INTO plan VALUES (1, 'reader', ?)", (plan.to_json(),))
        db.execute("INSERT INTO blob VALUES (1, 'png', ?)", (codec.seal_blob(b"pixels"),))
    with Memory.open(url(path), "42") as memory:
        assert [turn.text for turn in memory.turns()] == ["short words", "long words " * 99]
        assert memory.store.plans(memory.scope) == {"reader": plan}
        assert memory.store.blob(memory.scope, "png") == b"pixels"
        assert memory.append({"role": "user", "content": "short words"}, id="t0") == "t0"
        memory.append({"role": "user", "content": "more words " * 99}, id="t2")
        assert memory.recall("short")[0].position == 0
    with Memory.open(url(path), "42") as memory:
        assert len(memory.turns()) == 3


def test_lost_and_damaged_blobs_are_made_again(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    dice = random.Random(7)
    with Memory.open(url(path), "42") as memory:
        for number in range(40):
            words = " ".join(f"word{(number * 7 + n) % 997}" for n in range(300))
            memory.append({"role": "user", "content": words})
        before = memory.context("openai:gpt-6-astra", 20_000).messages()
        with sqlite3.connect(path, isolation_level=None) as db:
            keys = [row[0] for row in db.execute("SELECT key FROM blob")]
            for _ in range(10):
                gone = dice.sample(keys, dice.randint(1, len(keys)))
                db.executemany("DELETE FROM blob WHERE key = ?", [(key,) for key in gone])
                db.execute("UPDATE blob SET value = CAST(value || x'00' AS BLOB)")
                assert memory.context("openai:gpt-6-astra", 20_000).messages() == before
        db.close()
        assert len(keys) > 3


def test_what_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary " * 1000)
    with pytest.raises(StoreError, match="not a database"):
        open_store(url(path))
    assert path.read_text() == "dear diary " * 1000
    with pytest.raises(StoreError, match="cannot open"):
        open_store(url(tmp_path))
    with pytest.raises(StoreError, match="cannot open"):
        open_store(url(path / "below" / "a.db"))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    remember(path, *("words " * 99 for _ in range(50)))
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = bytes(len(damaged) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"memory\.db"), Memory.open(url(path), "42") as memory:
        memory.turns()


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_files_are_their_owners_alone(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "folder" / "memory.db"
    before = os.umask(mask)
    try:
        with Memory.open(url(path), "42") as memory:
            memory.append({"role": "user", "content": "secret"})
            found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert found == dict.fromkeys(("memory.db", "memory.db-wal", "memory.db-shm"), 0o600)


def test_paths_in_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, file in (("plain.db", "plain.db"), ("with%20blank.db", "with blank.db")):
        open_store(f"sqlite:///{name}?synchronous=FULL").close()
        assert (tmp_path / file).exists()
    for wrong in ("sqlite:///a.db?synchronous=off", "sqlite:///a.db?mode=ro", "sqlite:///", "a.db"):
        with pytest.raises(StoreError, match="cannot open"):
            open_store(wrong)
    assert not (tmp_path / "a.db").exists()


def test_the_next_process_finds_everything(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    remember(path, "the port is 5432", "the host is a/b_c.py:12")
    with Memory.open(url(path), "42") as memory:
        assert [turn.text for turn in memory.turns()] == [
            "the port is 5432",
            "the host is a/b_c.py:12",
        ]
        assert memory.recall("a/b_c.py:12")[0].position == 1


WRITER = """
import sys
from optimem import Memory
url, name = sys.argv[1:]
with Memory.open(url, "42") as memory:
    for number in range(40):
        memory.append({"role": "user", "content": f"{name} says {number}"}, id=f"{name}-{number}")
        if number % 10 == 0:
            memory.context("deepseek-ocr")
            memory.recall(name)
"""


def test_processes_share_a_session(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    command = [sys.executable, "-c", WRITER, url(path)]
    running = [subprocess.Popen([*command, name]) for name in ("ann", "ben", "eve")]
    assert [process.wait(50) for process in running] == [0, 0, 0]
    with Memory.open(url(path), "42") as memory:
        said = [turn.text for turn in memory.turns()]
        assert len(said) == 120
        for name in ("ann", "ben", "eve"):
            mine = [text for text in said if text.startswith(name)]
            assert mine == [f"{name} says {number}" for number in range(40)]
        memory.recall("says")
        assert memory.store.state(Scope("default", "42")).documents == 120
