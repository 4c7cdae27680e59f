"""Sessions in Redis or Valkey, for processes and machines that share them.

    redis://host:6379/0?ttl=86400          rediss://…  (TLS)
    redis+sentinel://a:26379,b:26379/service/0
    redis+cluster://a:7000,b:7001          rediss+cluster://…

Options of the URL: `ttl` (seconds until a session expires), `ttl_refresh=never` (an append
does not begin them anew), `blob_ttl` (a shorter life for images and vision tokens), `wait`
(how many replicas must have an append before it counts as done, within `wait_ms`, 1,000 by
default), `patience` (seconds to wait while a cluster moves a slot or finds another primary, 30
by default) and `prefix`; redis-py reads the rest. Core commands of Redis 6.2 and later are enough.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from optimem.errors import MissingExtraError
from optimem.stores.cipher import Ciphers, plain
from optimem.stores.jobs import Jobs
from optimem.stores.jobs_redis import RedisJobs
from optimem.stores.redis_commands import Command, Everywhere, Steps
from optimem.stores.redis_steps import RedisSteps
from optimem.stores.redis_url import Address
from optimem.values import Entry, Scope

try:
    import redis
    import redis.asyncio
    from redis.exceptions import NoScriptError
except ImportError:
    raise MissingExtraError("A store in Redis", "redis") from None

from optimem.stores.redis_client import (  # these need redis-py
    ERRORS,
    Connected,
    all_clients,
    on_the_wire,
    opened,
    pipelined,
    to_everyone,
)
from optimem.stores.redis_wait import run_and_await, run_and_wait

_READ_AT_ONCE = 64  # turns, to bound memory when a log is walked

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    steps: Callable[Concatenate[RedisSteps, P], Steps[T]],
) -> Callable[Concatenate[RedisStore, P], T]:
    """A verb of the store that waits for its replies."""

    def verb(store: RedisStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return store.run(steps(store.steps, *args, **kwargs))

    return verb


def _awaited(
    steps: Callable[Concatenate[RedisSteps, P], Steps[T]],
) -> Callable[Concatenate[AsyncRedisStore, P], Coroutine[Any, Any, T]]:
    """A verb of the store that is awaited."""

    async def verb(store: AsyncRedisStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await store.run(steps(store.steps, *args, **kwargs))

    return verb


class RedisStore(Connected):
    """The Store protocol on Redis. Safe to use from several threads."""

    @property
    def jobs(self) -> Jobs:
        """Claims and queues."""
        return RedisJobs(self.run, self.steps)

    @classmethod
    def open(cls, url: str, ciphers: Ciphers = plain) -> RedisStore:
        """Connect by URL; raises StoreError when it cannot be read."""
        store = cls(**opened(Address.parse(url), redis, ciphers))
        store._owns_client = True
        return store

    def run(self, steps: Steps[T]) -> T:
        """Send the commands of some steps, and them their replies."""
        client = self._open_client()
        try:
            commands = next(steps)
            while True:
                commands = steps.send(self._send(client, commands))
        except StopIteration as done:
            outcome: T = done.value
            return outcome
        except ERRORS as error:
            raise self._refused(error) from None

    def _send(self, client: Any, commands: list[Command]) -> list[Any]:
        patience = self._begin(client)
        while True:
            try:
                return self._send_once(client, commands)
            except ERRORS as error:
                time.sleep(patience.pause(error))

    def _send_once(self, client: Any, commands: list[Command]) -> list[Any]:
        if len(commands) != 1:
            pipeline = pipelined(client)
            for command in commands:
                pipeline.execute_command(*on_the_wire(command))
            replies: list[Any] = pipeline.execute()
            return replies
        (command,) = commands
        if isinstance(command, Everywhere):
            options = to_everyone(client)
            reply = client.execute_command(*command.words, **options)
            return [list(reply.values()) if options else [reply]]
        if self._waits(command):
            script = [on_the_wire(command), on_the_wire(command, whole=True)]
            return [run_and_wait(client, command.keys[0], script, self._replicas)]
        try:
            return [client.execute_command(*on_the_wire(command))]
        except NoScriptError:
            return [client.execute_command(*on_the_wire(command, whole=True))]

    state = _blocking(RedisSteps.state)
    sessions = _blocking(RedisSteps.sessions)
    append = _blocking(RedisSteps.append)
    entries_at = _blocking(RedisSteps.entries_at)
    turn_facts = _blocking(RedisSteps.turn_facts)
    position = _blocking(RedisSteps.position)
    recompress = _blocking(RedisSteps.recompress)
    rewind = _blocking(RedisSteps.rewind)
    erase = _blocking(RedisSteps.erase)
    forgotten = _blocking(RedisSteps.forgotten)
    bury = _blocking(RedisSteps.bury)
    drop = _blocking(RedisSteps.drop)
    fork = _blocking(RedisSteps.fork)
    add_pages = _blocking(RedisSteps.add_pages)
    page = _blocking(RedisSteps.page)
    page_facts = _blocking(RedisSteps.page_facts)
    plans = _blocking(RedisSteps.plans)
    swap_plan = _blocking(RedisSteps.swap_plan)
    blob = _blocking(RedisSteps.blob)
    put_blob = _blocking(RedisSteps.put_blob)
    blob_hash = _blocking(RedisSteps.blob_hash)
    blob_names = _blocking(RedisSteps.blob_names)
    drop_blobs = _blocking(RedisSteps.drop_blobs)
    index = _blocking(RedisSteps.index)
    frequencies = _blocking(RedisSteps.frequencies)
    completions = _blocking(RedisSteps.completions)
    postings = _blocking(RedisSteps.postings)
    size = _blocking(RedisSteps.size)
    warnings = _blocking(RedisSteps.warnings)
    purge = _blocking(RedisSteps.purge)
    stored = _blocking(RedisSteps.stored)

    def entries(self, scope: Scope, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """Turns by position, oldest first, read as they are asked for."""
        more = True
        while more:
            end = start + _READ_AT_ONCE if stop is None else min(start + _READ_AT_ONCE, stop)
            found, more = self.run(self.steps.entries_between(scope, start, end))
            yield from found
            start = end

    def close(self) -> None:
        """Close the client if this store opened it."""
        if self._owns_client and not self._closed:
            for client in all_clients(self._client):
                client.close()
        self._closed = True


class AsyncRedisStore(Connected):
    """The Store protocol on Redis with every verb awaited, `entries` by `async for`."""

    @classmethod
    def open(cls, url: str, ciphers: Ciphers = plain) -> AsyncRedisStore:
        """Connect by URL; raises StoreError when it cannot be read."""
        store = cls(**opened(Address.parse(url), redis.asyncio, ciphers))
        store._owns_client = True
        return store

    async def run(self, steps: Steps[T]) -> T:
        """Send the commands of some steps, and them their replies."""
        client = self._open_client()
        try:
            commands = next(steps)
            while True:
                commands = steps.send(await self._send(client, commands))
        except StopIteration as done:
            outcome: T = done.value
            return outcome
        except ERRORS as error:
            raise self._refused(error) from None

    async def _send(self, client: Any, commands: list[Command]) -> list[Any]:
        patience = self._begin(client)
        while True:
            try:
                return await self._send_once(client, commands)
            except ERRORS as error:
                await asyncio.sleep(patience.pause(error))

    async def _send_once(self, client: Any, commands: list[Command]) -> list[Any]:
        if len(commands) != 1:
            pipeline = pipelined(client)
            for command in commands:
                pipeline.execute_command(*on_the_wire(command))
            replies: list[Any] = await pipeline.execute()
            return replies
        (command,) = commands
        if isinstance(command, Everywhere):
            options = to_everyone(client)
            reply = await client.execute_command(*command.words, **options)
            return [list(reply.values()) if options else [reply]]
        if self._waits(command):
            script = [on_the_wire(command), on_the_wire(command, whole=True)]
            return [await run_and_await(client, command.keys[0], script, self._replicas)]
        try:
            return [await client.execute_command(*on_the_wire(command))]
        except NoScriptError:
            return [await client.execute_command(*on_the_wire(command, whole=True))]

    state = _awaited(RedisSteps.state)
    sessions = _awaited(RedisSteps.sessions)
    append = _awaited(RedisSteps.append)
    entries_at = _awaited(RedisSteps.entries_at)
    turn_facts = _awaited(RedisSteps.turn_facts)
    position = _awaited(RedisSteps.position)
    recompress = _awaited(RedisSteps.recompress)
    rewind = _awaited(RedisSteps.rewind)
    erase = _awaited(RedisSteps.erase)
    forgotten = _awaited(RedisSteps.forgotten)
    bury = _awaited(RedisSteps.bury)
    drop = _awaited(RedisSteps.drop)
    fork = _awaited(RedisSteps.fork)
    add_pages = _awaited(RedisSteps.add_pages)
    page = _awaited(RedisSteps.page)
    page_facts = _awaited(RedisSteps.page_facts)
    plans = _awaited(RedisSteps.plans)
    swap_plan = _awaited(RedisSteps.swap_plan)
    blob = _awaited(RedisSteps.blob)
    put_blob = _awaited(RedisSteps.put_blob)
    blob_hash = _awaited(RedisSteps.blob_hash)
    blob_names = _awaited(RedisSteps.blob_names)
    drop_blobs = _awaited(RedisSteps.drop_blobs)
    index = _awaited(RedisSteps.index)
    frequencies = _awaited(RedisSteps.frequencies)
    completions = _awaited(RedisSteps.completions)
    postings = _awaited(RedisSteps.postings)
    size = _awaited(RedisSteps.size)
    warnings = _awaited(RedisSteps.warnings)
    purge = _awaited(RedisSteps.purge)
    stored = _awaited(RedisSteps.stored)

    async def entries(
        self, scope: Scope, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[Entry]:
        """Turns by position, oldest first, read as they are asked for."""
        more = True
        while more:
            end = start + _READ_AT_ONCE if stop is None else min(start + _READ_AT_ONCE, stop)
            found, more = await self.run(self.steps.entries_between(scope, start, end))
            for entry in found:
                yield entry
            start = end

    async def close(self) -> None:
        """Close the client if this store opened it."""
        if self._owns_client and not self._closed:
            for client in all_clients(self._client):
                await client.aclose()
        self._closed = True
