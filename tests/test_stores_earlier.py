"""Sessions of the version before, with dictionaries of their own, are read and freed of them."""

from __future__ import annotations

import random
import sqlite3
import sys
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from optimem import Memory
from optimem.errors import StoreError
from optimem.stores import new_key
from optimem.stores.packing import Dictionary

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SECRET = "Zanzibar-qv7731wx"
TURNS = 20


def said(number: int) -> str:
    words = random.Random(number).choices([f"word{n}" for n in range(300)], k=90)
    return f"Ticket {number}: {' '.join(words)} and {SECRET if number == 1 else 'nothing'} is it"


OWN = Dictionary(zstd.train_dict([said(n).encode() for n in range(TURNS)], 8 << 10).dict_content)


@pytest.fixture(params=["sqlite", "sealed_sqlite", "redis", "sealed_redis", "redis_cluster"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A session as the version before left it."""
    if request.param.startswith("sealed"):
        monkeypatch.setenv("OPTIMEM_KEY", new_key())
    kind = request.param.removeprefix("sealed_")
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    if kind != "sqlite":
        url = f"{request.getfixturevalue(f'{kind}_url')}?prefix={uuid.uuid4().hex}"
    with monkeypatch.context() as before, Memory.open(url, "42") as memory:
        before.setattr("optimem.stores.codec.pack", _pack)
        for number in range(TURNS):
            memory.append({"role": "user", "content": said(number)}, id=f"t{number}")
        store: Any = memory.store
        steps = getattr(store, "steps", None)
        if steps is None:
            sealed = store._cipher(memory.scope).seal(OWN.data, b"dictionary")
            with closing(sqlite3.connect(tmp_path / "memory.db")) as db, db:
                db.execute("INSERT INTO dictionary VALUES (1, ?, ?)", (OWN.id, sealed))
                db.execute("UPDATE session SET dictionary = ?", (OWN.id,))
                db.execute("DROP TABLE forgotten")
                db.execute("PRAGMA user_version = 4")
        else:
            sealed = steps._cipher(memory.scope).seal(OWN.data, b"dictionary")
            with _client(url) as client:
                fields: dict[str, Any] = {f"dictionary:{OWN.id}": sealed, "dictionary": OWN.id}
                client.hset(_meta(store, memory), mapping={**fields, "sampled": 9, "schema": 2})
    return url


def _pack(line: bytes) -> bytes:
    return b"d" + zstd.compress(line, zstd_dict=OWN.prepared)


def _client(url: str) -> Any:
    if "cluster" in url:
        first = url.partition("?")[0].partition(",")[0].replace("redis+cluster", "redis")
        return redis.RedisCluster.from_url(first)
    return redis.Redis.from_url(url.partition("?")[0])


def _meta(store: Any, memory: Memory) -> str:
    return str(store.steps._keys(memory.scope)[0])


def texts(memory: Memory) -> list[str]:
    return [turn.text for turn in memory.turns()]


def test_it_is_read_and_goes_on(home: str) -> None:
    with Memory.open(home, "42") as memory:
        assert texts(memory) == [said(number) for number in range(TURNS)]
        assert memory.append({"role": "user", "content": said(3)}, id="t3") == "t3"
        memory.append({"role": "user", "content": said(20)}, id="t20")
        assert memory.recall("Ticket 7")[0].position == 7
        memory.fork("43")
        assert any(OWN.data in value for _, value in memory.store.stored(memory.scope))
    for session in ("42", "43"):
        with Memory.open(home, session) as again:
            assert texts(again) == [said(number) for number in range(TURNS + 1)]


def test_what_it_forgets_leaves_its_dictionary(home: str) -> None:
    with Memory.open(home, "42") as memory, Memory.open(home, "42") as other:
        assert len(other.turns()) == TURNS and SECRET.encode() in OWN.data
        assert memory.traces(SECRET)
        memory.forget(["t1"])
        assert memory.traces(SECRET) == []
        assert not any(OWN.data in value for _, value in memory.store.stored(memory.scope))
        for reader in (memory, other):
            assert texts(reader) == [said(number) for number in range(TURNS) if number != 1]
        memory.rewind("t0")
        assert texts(memory) == [said(0)]


def test_a_broken_off_forgetting_is_finished_by_the_next(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory.open(home, "42") as memory:
        with monkeypatch.context() as broken:
            written = iter(range(5))

            def pack_some(line: bytes) -> bytes:
                if next(written, None) is None:
                    raise StoreError("the server went away")
                return b"j" + line

            broken.setattr("optimem.stores.sqlite_log.pack", pack_some)
            broken.setattr("optimem.stores.redis_log.pack", pack_some)
            with pytest.raises(StoreError, match="went away"):
                memory.forget(["t1"])
        assert texts(memory) == [said(number) for number in range(TURNS)]
        memory.forget(["t1"])
        assert memory.traces(SECRET) == []


def test_a_dictionary_that_is_gone_is_named(home: str) -> None:
    with Memory.open(home, "42") as memory:
        store: Any = memory.store
        if hasattr(store, "steps"):
            with _client(home) as client:
                client.hdel(_meta(store, memory), f"dictionary:{OWN.id}")
        else:
            with store._database.write() as db:
                db.execute("DELETE FROM dictionary")
        with pytest.raises(StoreError, match=r"dictionary .* lacks: pip install -U optimem"):
            memory.turns()
