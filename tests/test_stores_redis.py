"""What only Redis can get wrong: expiry, eviction, slots, clients, servers that go away."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio as asyncio_redis
import servers

from optimem import Memory
from optimem.errors import MissingExtraError, StoreError
from optimem.stores import codec, open_store
from optimem.stores.redis import AsyncRedisStore, RedisStore
from optimem.stores.redis_scripts import DURABLE
from optimem.values import Scope

# Of Redis 6.2 and of no module; sub-commands of scripts are counted as well.
COMMANDS = set(
    "append dump eval evalsha exists exec get hdel hget hgetall hincrby hkeys hlen hmget hset"
    " hstrlen hvals lindex llen lrange lset ltrim multi pexpire pexpireat restore rpush sadd set"
    " scard smembers srem time unlink zadd zrangebylex zrem"
    " auth client command config hello info ping select cluster readonly readwrite wait".split()
)


@pytest.fixture
def url(redis_url: str) -> str:
    return f"{redis_url}?prefix={uuid.uuid4().hex}"


@pytest.fixture
def server(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def prefix(url: str) -> str:
    return url.partition("prefix=")[2].partition("&")[0]


def keys(server: Any, url: str, kind: str = "*") -> list[bytes]:
    return sorted(server.scan_iter(f"{prefix(url)}:{{*}}:{kind}", count=1000))


def remember(memory: Memory, turns: int, words: int = 300) -> None:
    for number in range(turns):
        text = " ".join(f"word{(number * 7 + n) % 997}" for n in range(words))
        memory.append({"role": "user", "content": f"{text} ref{number}"})


def shown(memory: Memory) -> list[dict[str, Any]]:
    return memory.context("openai:gpt-6-astra", 20_000).messages()


def test_the_durable_keys_are_few_and_of_one_slot(server: Any, url: str) -> None:
    with Memory.open(url, "a:b{x}") as memory:
        remember(memory, 2)
        few = len(keys(server, url))
        remember(memory, 30)
        shown(memory)
        memory.recall("word1")
        durable = {key.rsplit(b":", 1)[1].decode() for key in keys(server, url)}
        blobs = keys(server, url, "blob:*")
    assert few <= len(DURABLE)
    assert blobs
    assert {key.rsplit(b":", 1)[1].decode() for key in keys(server, url) if key not in blobs} == {
        *DURABLE
    }
    assert durable >= set(DURABLE)
    tags = {key.partition(b"{")[2].partition(b"}")[0] for key in keys(server, url)}
    assert len(tags) == 1


def test_all_expire_together_and_no_blob_outlives_them(server: Any, url: str) -> None:
    with Memory.open(f"{url}&ttl=1000", "42") as memory:
        remember(memory, 30)
        shown(memory)
        memory.recall("word1")
        durable = [key for key in keys(server, url) if b":blob:" not in key]
        first = {server.pexpiretime(key) for key in durable}
        assert len(durable) == len(DURABLE)
        assert len(first) == 1
        blobs = {server.pexpiretime(key) for key in keys(server, url, "blob:*")}
        assert blobs and max(blobs) <= min(first)
        time.sleep(0.05)
        memory.append({"role": "user", "content": "later"})
        second = {server.pexpiretime(key) for key in durable}
        assert len(second) == 1 and min(second) > max(first)
        assert {server.pexpiretime(key) for key in keys(server, url, "blob:*")} == blobs


def test_a_settled_moment_stays_and_blobs_may_go_earlier(server: Any, url: str) -> None:
    with Memory.open(f"{url}&ttl=1000&ttl_refresh=never&blob_ttl=10", "42") as memory:
        remember(memory, 30)
        first = {server.pexpiretime(key) for key in keys(server, url)}
        time.sleep(0.05)
        shown(memory)
        memory.append({"role": "user", "content": "later"})
        durable = [key for key in keys(server, url) if b":blob:" not in key]
        assert {server.pexpiretime(key) for key in durable} == first
        blobs = {server.pexpiretime(key) for key in keys(server, url, "blob:*")}
        assert blobs and max(blobs) < min(first) - 900_000


def test_an_expired_session_is_gone_as_a_whole(server: Any, url: str) -> None:
    with Memory.open(f"{url}&ttl=1", "42") as memory:
        remember(memory, 20)
        shown(memory)
        servers.wait_until(lambda: not keys(server, url), "the session to expire")
        assert memory.store.sessions("default") == []
        assert memory.store.state(memory.scope).turns == 0
        memory.append({"role": "user", "content": "a new life"})
        assert [turn.text for turn in memory.turns()] == ["a new life"]


@pytest.mark.parametrize(
    "kinds", [("blob:*",), ("index",), ("terms",), ("index", "terms"), ("plans",), ("pages",)]
)
def test_what_was_derived_is_made_again(server: Any, url: str, kinds: tuple[str, ...]) -> None:
    with Memory.open(url, "42") as memory:
        remember(memory, 40)
        before, found = shown(memory), memory.recall("word7 ref3")
        for kind in kinds:
            assert server.unlink(*keys(server, url, kind))
        assert shown(memory) == before
        assert memory.recall("word7 ref3") == found
    with Memory.open(url, "42") as memory:
        assert memory.recall("word7 re", 20) == memory.recall("word7 re", 20)
        assert shown(memory) == before


def test_blobs_may_vanish_at_any_moment(server: Any, url: str) -> None:
    dice = random.Random(7)
    with Memory.open(url, "42") as memory:
        remember(memory, 40)
        before = shown(memory)
        for _ in range(10):
            blobs = keys(server, url, "blob:*")
            server.unlink(*dice.sample(blobs, dice.randint(1, len(blobs))))
            with Memory.open(url, "42") as other:  # with no image at hand
                assert shown(other) == before


def test_blobs_that_a_full_server_evicts_are_made_again(tmp_path: Path) -> None:
    with servers.standalone(tmp_path) as server:
        with Memory.open(f"{server.url}?blob_ttl=100000", "42") as memory:
            remember(memory, 60)
            before, found = shown(memory), memory.recall("word7 ref3")
            server.ask("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
            facts = dict(line.split(":") for line in server.ask("INFO", "memory").split()[2:])
            server.ask("CONFIG", "SET", "maxmemory", str(int(facts["used_memory"]) - 50_000))
            with contextlib.suppress(StoreError):  # there may be too little room for another turn
                remember(memory, 1)
            evicted = server.ask("INFO", "stats").partition("evicted_keys:")[2].split()[0]
            assert int(evicted)
            server.ask("CONFIG", "SET", "maxmemory", "0")
            with contextlib.suppress(StoreError):
                memory.rewind(memory.turns()[59].id)
            with Memory.open(server.url, "42") as other:  # with no image at hand
                assert shown(other) == before
            assert memory.recall("word7 ref3") == found


def test_a_damaged_blob_is_noticed_and_made_again(server: Any, url: str) -> None:
    with Memory.open(url, "42") as memory:
        remember(memory, 40)
        before = shown(memory)
        for key in keys(server, url, "blob:*"):
            value = bytearray(server.get(key))
            value[len(value) // 2] ^= 1
            server.set(key, bytes(value))
        assert shown(memory) == before


@pytest.mark.parametrize("kind", ["log", "facts", "ids", "meta"])
def test_a_lost_log_is_an_error_not_a_gap(server: Any, url: str, kind: str) -> None:
    with Memory.open(url, "42") as memory:
        remember(memory, 3)
        server.unlink(*keys(server, url, kind))
        for verb in (
            lambda: memory.append({"role": "user", "content": "x"}),
            lambda: shown(memory),
        ):
            with pytest.raises(StoreError, match="lost a part of this session"):
                verb()


def test_a_later_schema_is_refused(server: Any, url: str) -> None:
    with Memory.open(url, "42") as memory:
        remember(memory, 3)
        (meta,) = keys(server, url, "meta")
        server.hset(meta, "schema", 999)
        with pytest.raises(StoreError, match="written by a later version of optimem"):
            memory.append({"role": "user", "content": "x"})
    with pytest.raises(StoreError, match="later version"):
        Memory.open(url, "42")


def test_a_session_of_the_first_schema_is_read(server: Any, url: str) -> None:
    line = json.dumps({"role": "user", "content": "long words " * 99}).encode()
    with Memory.open(url, "42", counter="chars") as memory:
        memory.append({"role": "user", "content": "long words " * 99}, id="t0", time=1.5)
        (log,), (meta,) = keys(server, url, "log"), keys(server, url, "meta")
        record = codec.encode_record(1.5, b"t0", b"z" + zlib.compress(line, 1))
        server.lset(log, 0, record)
        server.hset(meta, "schema", 1)
    with Memory.open(url, "42") as memory:
        assert [turn.text for turn in memory.turns()] == ["long words " * 99]
        memory.append({"role": "user", "content": "more words " * 99})
        assert server.hget(meta, "schema") == b"3"  # its zstd is not for earlier versions
        assert len(memory.turns()) == 2


def test_an_append_that_no_replica_has_is_not_acknowledged(url: str) -> None:
    with Memory.open(f"{url}&wait=1&wait_ms=20", "42") as memory:
        for _ in range(2):
            with pytest.raises(StoreError, match="0 of 1 replicas have the turn after 20 ms"):
                memory.append({"role": "user", "content": "hello"}, id="t0", time=0.0)
        assert [turn.text for turn in memory.turns()] == ["hello"]


def test_a_full_server_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    limits = ("--save", "", "--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
    with servers.standalone(tmp_path, *limits) as server, Memory.open(server.url, "42") as memory:
        stored = 0
        with pytest.raises(StoreError, match="maxmemory"):
            for stored in range(1000):
                memory.append(
                    {"role": "user", "content": random.Random(stored).randbytes(9999).hex()}
                )
        assert len(memory.turns()) == stored
        server.ask("CONFIG", "SET", "maxmemory", "0")
        memory.append({"role": "user", "content": "room again"})
        assert len(memory.turns()) == stored + 1


def test_only_core_commands_are_sent(tmp_path: Path) -> None:
    with servers.standalone(tmp_path) as server:
        with Memory.open(f"{server.url}?ttl=99", "42") as memory:
            remember(memory, 40)
            shown(memory)
            memory.recall("word1")
            memory.rewind(memory.turns()[35].id)
            memory.forget([memory.turns()[3].id])
            memory.fork("43")
            memory.stats()
            memory.store.sessions("default")
            memory.forget(session=True)
        lines = server.ask("INFO", "commandstats").splitlines()
        used = {line.split(":")[0].removeprefix("cmdstat_").split("|")[0] for line in lines[1:]}
        assert used <= COMMANDS
        assert {"evalsha", "rpush", "unlink"} <= used


def test_forgetting_a_session_leaves_no_key(server: Any, url: str) -> None:
    with Memory.open(url, "42") as memory:
        remember(memory, 40)
        shown(memory)
        memory.recall("word1")
        memory.forget(session=True)
        assert not list(server.scan_iter(f"{prefix(url)}*", count=1000))


def test_a_client_that_is_passed_in_stays_open(redis_url: str, url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        store = RedisStore(client, prefix=prefix(url))
        memory = Memory(store, Scope("default", "42"))
        memory.append({"role": "user", "content": "hello"})
        store.close()
        assert client.ping()
        with pytest.raises(StoreError, match="closed"):
            memory.turns()


def test_a_client_that_decodes_is_refused(redis_url: str) -> None:
    with (
        redis.Redis.from_url(redis_url, decode_responses=True) as client,
        pytest.raises(StoreError, match="decode_responses"),
    ):
        RedisStore(client)


def test_an_asynchronous_client_that_decodes_is_refused(redis_url: str) -> None:
    client = asyncio_redis.Redis.from_url(redis_url, decode_responses=True)
    with pytest.raises(StoreError, match="decode_responses"):
        AsyncRedisStore(client)


def test_without_redis_py_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "optimem.stores.redis")
    with pytest.raises(MissingExtraError, match=r"pip install 'optimem\[redis\]'"):
        open_store("redis://localhost")


def test_an_absent_server_is_one_clear_error() -> None:
    url = f"redis://me:s3cret@127.0.0.1:{servers.free_port()}/0"
    with pytest.raises(StoreError, match="does not answer") as caught:
        Memory.open(url, "42")
    assert "s3cret" not in str(caught.value)


def test_an_absent_cluster_is_one_clear_error() -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1 does not answer as it should") as caught:
        open_store("redis+cluster://ann:s3cret@127.0.0.1:1")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        "redis+other://h",
        "redis://h:port",
        "redis+sentinel://h:26379",
        "redis://h?ttl=soon",
        "redis://h?ttl=0",
        "redis://h?ttl_refresh=sometimes",
        "redis://h?wait=-1",
        "redis://h?patience=0",
        "redis://h?socket_timeout=x",
    ],
)
def test_a_wrong_url_is_refused(wrong: str) -> None:
    with pytest.raises(StoreError):
        open_store(wrong)


def test_a_greedy_server_is_warned_of(tmp_path: Path) -> None:
    with servers.with_aof(tmp_path) as server, contextlib.closing(open_store(server.url)) as store:
        assert store.warnings() == []
        server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        (warning,) = store.warnings()
        assert "allkeys-lru may evict a log" in warning


def test_a_restarted_server_has_every_acknowledged_turn(tmp_path: Path) -> None:
    with servers.with_aof(tmp_path) as server, Memory.open(server.url, "42") as memory:
        remember(memory, 20)
        before = memory.turns()
        server.kill()
        server.start()
        assert memory.turns() == before
        memory.append({"role": "user", "content": "on we go"})
        assert len(memory.turns()) == 21
