"""WAIT: an append counts as done once so many replicas have it.

WAIT is about the writes of its own connection, so both commands go over one connection,
which clients of a cluster do not promise by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio.cluster import PipelineCommand
from redis.exceptions import NoScriptError, RedisError

from optimem.errors import StoreError
from optimem.stores.redis_commands import Replicas
from optimem.stores.redis_patience import in_cluster, outdates_map

Wire = tuple[Any, ...]


def run_and_wait(client: Any, key: str, script: Sequence[Wire], replicas: Replicas) -> Any:
    """Run a script, given by its name and whole, and wait for replicas."""
    clustered = in_cluster(client)
    for wire in script:
        node = client
        if clustered:
            node = client.get_redis_connection(client.get_node_from_key(key))
        pipeline = node.pipeline(transaction=False)
        pipeline.execute_command(*wire)
        pipeline.execute_command("WAIT", replicas.count, replicas.milliseconds)
        try:
            reply, reached = pipeline.execute(raise_on_error=False)
            if not isinstance(reply, NoScriptError):
                return _checked(reply, reached, replicas)
        except RedisError as error:
            if clustered and outdates_map(error):
                client.nodes_manager.initialize()
            raise
    raise StoreError("the server forgets scripts at once: try again")


async def run_and_await(client: Any, key: str, script: Sequence[Wire], replicas: Replicas) -> Any:
    """Asynchronous `run_and_wait`."""
    clustered = in_cluster(client)
    wait = ("WAIT", replicas.count, replicas.milliseconds)
    for wire in script:
        try:
            if clustered:
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
        except RedisError as error:
            if clustered and outdates_map(error):
                await client.nodes_manager.initialize()
            raise
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
