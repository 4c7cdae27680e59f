"""WAIT: an append counts as done once so many replicas have it.

WAIT is about the writes of its own connection, so both commands go over one connection,
which clients of a cluster do not promise by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio.cluster import PipelineCommand
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    NoScriptError,
    RedisError,
    SlotNotCoveredError,
    TimeoutError,
    TryAgainError,
)

from optimem.errors import StoreError
from optimem.stores.redis_commands import Replicas

_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0)  # while a cluster finds itself again
_ASTRAY = (
    AskError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    SlotNotCoveredError,
    TimeoutError,
    TryAgainError,
)
Wire = tuple[Any, ...]


def run_and_wait(client: Any, key: str, script: Sequence[Wire], replicas: Replicas) -> Any:
    """Run a script, given by its name and whole, and wait for replicas."""
    in_cluster = hasattr(client, "get_primaries")
    for pause in (*_PAUSES, None):
        try:
            for wire in script:
                node = client
                if in_cluster:
                    node = client.get_redis_connection(client.get_node_from_key(key))
                pipeline = node.pipeline(transaction=False)
                pipeline.execute_command(*wire)
                pipeline.execute_command("WAIT", replicas.count, replicas.milliseconds)
                reply, reached = pipeline.execute(raise_on_error=False)
                if not isinstance(reply, NoScriptError):
                    return _checked(reply, reached, replicas)
        except _ASTRAY:
            if not in_cluster or pause is None:
                raise
            time.sleep(pause)
            client.nodes_manager.initialize()
    raise StoreError("the server forgets scripts at once: try again")


async def run_and_await(client: Any, key: str, script: Sequence[Wire], replicas: Replicas) -> Any:
    """Asynchronous `run_and_wait`."""
    in_cluster = hasattr(client, "get_primaries")
    wait = ("WAIT", replicas.count, replicas.milliseconds)
    for pause in (*_PAUSES, None):
        try:
            for wire in script:
                if in_cluster:
                    await client.initialize()
                    both = [PipelineCommand(at, *words) for at, words in enumerate((wire, wait))]
                    await client.get_node_from_key(key).execute_pipeline(both)
                    reply, reached = (command.result for command in both)
                else:
                    pipeline = client.pipeline(transaction=False)
                    pipeline.execute_command(*wire)
                    pipeline.execute_command(*wait)
                    reply, reached = await pipeline.execute(raise_on_error=False)
                if not isinstance(reply, NoScriptError):
                    return _checked(reply, reached, replicas)
        except _ASTRAY:
            if not in_cluster or pause is None:
                raise
            await asyncio.sleep(pause)
            await client.nodes_manager.initialize()
    raise StoreError("the server forgets scripts at once: try again")


def _checked(reply: Any, reached: Any, replicas: Replicas) -> Any:
    for answer in (reply, reached):
        if isinstance(answer, RedisError):
            raise answer
    if reached < replicas.count:
        raise StoreError(
            f"{reached} of {replicas.count} replicas have the turn after"
            f" {replicas.milliseconds} ms: append it again with the same id"
        )
    return reply
