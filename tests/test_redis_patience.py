"""Waiting for a cluster: only for what passes, by growing and random pauses, up to an end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import servers
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    MovedError,
    RedisClusterException,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
    TimeoutError,
    TryAgainError,
)

from optimem import Memory
from optimem.errors import StoreError
from optimem.stores.redis_patience import Patience, outdates_map

ASK, MOVED = AskError("1 127.0.0.1:7000"), MovedError("1 127.0.0.1:7000")
PASSING = [
    ASK,
    MOVED,
    ClusterDownError("the cluster is down"),
    ClusterError("TTL exhausted."),
    ConnectionError(),
    SlotNotCoveredError(),
    TimeoutError(),
    TryAgainError(),
]
LASTING = [
    AuthenticationError(),
    RedisClusterException(),
    RedisError(),
    ResponseError("ERR"),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_pauses_grow_but_not_without_end(error: Exception) -> None:
    patience = Patience(60)
    pauses = [patience.pause(error) for _ in range(200)]
    assert max(pauses[:3]) <= 0.02
    assert 0.1 < max(pauses) <= 0.25
    assert len(set(pauses)) > 100


@pytest.mark.parametrize("error", LASTING, ids=lambda error: type(error).__name__)
def test_what_does_not_pass_is_not_waited_for(error: Exception) -> None:
    with pytest.raises(type(error)):
        Patience(60).pause(error)


def test_in_the_end_the_error_is_the_answer() -> None:
    with pytest.raises(TryAgainError):
        Patience(0).pause(TryAgainError())
    assert Patience(0.001).pause(TryAgainError()) <= 0.001


def test_a_slot_on_its_way_does_not_make_the_map_wrong() -> None:
    assert [error for error in PASSING if not outdates_map(error)] == [ASK, PASSING[-1]]
    assert not any(map(outdates_map, LASTING))


@pytest.fixture
def half_moved(tmp_path: Path) -> Iterator[str]:
    """A cluster, and a session in it of which one key has moved and the others have not."""
    with servers.cluster(tmp_path) as (url, nodes):
        with Memory.open(url, "42") as memory:
            memory.append({"role": "user", "content": "one"})
        primaries = [node for node in nodes if "role:master" in node.ask("INFO", "replication")]
        source = next(node for node in primaries if ":log" in node.ask("KEYS", "*"))
        target = next(node for node in primaries if node is not source)
        key = next(key for key in source.ask("KEYS", "*").split() if key.endswith(":log"))
        slot = source.ask("CLUSTER", "KEYSLOT", key)
        with redis.Redis(port=source.port) as here, redis.Redis(port=target.port) as there:
            ids = [node.execute_command("CLUSTER MYID") for node in (here, there)]
            there.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
            here.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
            here.execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        yield url


def test_a_move_that_does_not_end_is_an_error_in_the_end(half_moved: str) -> None:
    with pytest.raises(StoreError, match="does not answer as it should"):
        Memory.open(f"{half_moved}?patience=1", "42")
    with pytest.raises(StoreError, match="cannot read this Redis URL: patience is a whole number"):
        Memory.open(f"{half_moved}?patience=soon", "42")
