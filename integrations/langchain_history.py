"""A chat history for LangChain, lossless: `pip install 'optimem[langchain,redis]'`.

    history = OptiMemChatMessageHistory("42", redis_url="redis://localhost:6379", ttl=86400)
    history.add_messages([HumanMessage("…"), AIMessage("…")])

For programs that use `RunnableWithMessageHistory`, or langchain-redis' history, whose arguments
it takes. Agents are better served by `OptiMemMiddleware`. Each message comes back as it went
in: tool calls, ids, names, usage, content blocks.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from optimem.errors import ConflictError, InputError, MissingExtraError
from optimem.ledger.facts import turn_facts
from optimem.memory import Memory
from optimem.messages import parse
from optimem.settings import settle
from optimem.stores import Draft, open_store
from optimem.stores.cipher import ciphers
from optimem.tokens import find_counter
from optimem.transcripts import check_pairs
from optimem.values import Json, Scope, Turn

try:
    from langchain_core.chat_history import BaseChatMessageHistory
    from langchain_core.messages import BaseMessage, convert_to_messages, messages_from_dict
except ImportError:
    raise MissingExtraError("A chat history for LangChain", "langchain") from None


class OptiMemChatMessageHistory(BaseChatMessageHistory):
    """A session as LangChain's chat history, blocking and asynchronous.

    Attributes:
        memory: the session, for contexts, recall and everything else.
        session_id: its name.
        key_prefix: what its keys in Redis begin with.
        ttl: seconds after the last message until it expires.
        index_name: kept for programs that pass it; nothing is indexed by Redis.
        overwrite_index: likewise.
    """

    def __init__(
        self,
        session_id: str,
        redis_url: str = "redis://localhost:6379",
        key_prefix: str = "chat:",
        ttl: int | None = None,
        index_name: str = "idx:chat_history",
        redis_client: Any = None,
        overwrite_index: bool = False,
        *,
        memory: Memory | None = None,
        **options: Any,
    ) -> None:
        """Open a session, which comes into being with its first message.

        Args:
            session_id: its name.
            redis_url: where it lives; `sqlite:///…` and `memory://` are taken as well.
            key_prefix: what its keys in Redis begin with.
            ttl: seconds after the last message until it expires; for ever by default.
            index_name: has no meaning here; in langchain-redis' place.
            redis_client: a client of redis-py in place of the URL; it stays open.
            overwrite_index: has no meaning here.
            memory: an open memory in place of all of these.
            options: of `redis.Redis.from_url`.

        Raises:
            InputError: the session has no name.
            StoreError: the store cannot be opened.
        """
        if not isinstance(session_id, str) or not session_id:
            raise InputError("session_id must be a non-empty string")
        self.session_id = session_id
        self.key_prefix = key_prefix
        self.ttl = ttl
        self.index_name = index_name
        self.overwrite_index = overwrite_index
        self._url = ""
        if memory is None:
            memory = Memory(
                self._store(redis_url, redis_client, options), Scope("default", session_id)
            )
        self.memory = memory
        self._settings = settle(memory.store, memory.scope, "auto", None, None)
        self._async_stores: dict[asyncio.AbstractEventLoop, Any] = {}

    @property
    def id(self) -> str:
        """The session's name."""
        return self.session_id

    @property
    def redis_client(self) -> Any:
        """The client of redis-py; None in another home."""
        return getattr(self.memory.store, "_client", None)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """All messages, as they came."""
        return plain_messages(self.memory.turns())

    async def aget_messages(self) -> list[BaseMessage]:
        """Asynchronous `messages`."""
        store = self._async_store()
        if store is None:
            return await asyncio.to_thread(lambda: self.messages)
        return plain_messages([entry.turn async for entry in store.entries(self.memory.scope)])

    def add_message(self, message: BaseMessage) -> None:
        """Add one message."""
        self.add_messages([message])

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages, all or none.

        One whose id is there with the same content is not added again.
        """
        turns = _turns(messages)
        try:
            self.memory.extend(turns)
        except ConflictError:
            self.memory.extend(self._renamed(turns))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Asynchronous `add_messages`."""
        store = self._async_store()
        if store is None:
            await asyncio.to_thread(self.add_messages, messages)
            return
        turns = _turns(messages)
        scope = self.memory.scope
        if any(turn.answers for turn in turns):
            facts = await store.turn_facts(scope)
            known = {call for _, fact in facts for call in fact.calls}
            check_pairs(turns, known.__contains__)
        settings = self._settings
        counter = find_counter(settings.counter)
        drafts = [Draft(turn, turn_facts(turn, counter)) for turn in turns]
        try:
            await store.append(scope, drafts, settings.to_json())
        except ConflictError:
            await asyncio.to_thread(self.memory.extend, self._renamed(turns))

    def clear(self) -> None:
        """Forget the whole session: words, pages, index."""
        self.memory.forget(session=True)

    async def aclear(self) -> None:
        """Asynchronous `clear`."""
        store = self._async_store()
        if store is None:
            await asyncio.to_thread(self.clear)
        else:
            await store.drop(self.memory.scope)

    def delete(self) -> None:
        """Forget the session. (langchain-redis drops all sessions of its index here.)"""
        self.clear()

    def search_messages(self, query: str, limit: int = 10) -> list[dict[str, Json]]:
        """The messages that a query finds, best first, as their plain data."""
        if not query or limit < 1:
            return []
        found = self.memory.recall(query, limit)
        return [
            message.model_dump()
            for each in found
            for message in plain_messages([self.memory.turn(each.id)])
        ]

    def __len__(self) -> int:
        return len(self.memory.store.turn_facts(self.memory.scope))

    def __bool__(self) -> bool:
        """True: an empty history is one all the same."""
        return True

    def _store(self, url: str, client: Any, options: dict[str, Any]) -> Any:
        if client is None and not url.startswith("redis"):
            return open_store(url)
        from optimem.stores.redis import RedisStore
        from optimem.stores.redis_commands import Life

        ttl = max(self.ttl, 1) if self.ttl is not None and self.ttl >= 0 else None
        if client is None and not options:
            joint = "&" if "?" in url else "?"
            lives = f"&ttl={ttl}" if ttl else ""
            self._url = f"{url}{joint}prefix={quote(self.key_prefix)}{lives}"
            return open_store(self._url)
        if client is None:
            import redis

            client = redis.Redis.from_url(url, **options)
        return RedisStore(client, prefix=self.key_prefix, life=Life(ttl), ciphers=ciphers(None))

    def _async_store(self) -> Any:
        """A store whose verbs are awaited, for this event loop; None where threads do as well."""
        if not self._url:
            return None
        loop = asyncio.get_running_loop()
        if loop not in self._async_stores:
            from optimem.stores.redis import AsyncRedisStore

            for ended in [each for each in self._async_stores if each.is_closed()]:
                del self._async_stores[ended]
            self._async_stores[loop] = AsyncRedisStore.open(self._url, ciphers(None))
        return self._async_stores[loop]

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        store = self._async_stores.pop(asyncio.get_running_loop(), None)
        if store is not None:
            await store.close()

    def _renamed(self, turns: Iterable[Turn]) -> list[Turn]:
        """Turns with ids of their own, where other messages have taken them."""
        held = {turn.id: turn.message for turn in self.memory.turns()}
        return [
            replace(turn, id=uuid.uuid4().hex)
            if held.get(turn.id, turn.message) != turn.message
            else turn
            for turn in turns
        ]


def _turns(messages: Iterable[BaseMessage | None]) -> list[Turn]:
    turns = []
    for message in messages:
        if message is None:
            raise InputError("a message cannot be None")
        turns.append(parse(message, time=time.time(), default_id=uuid.uuid4().hex))
    return turns


def plain_messages(turns: Iterable[Turn]) -> list[BaseMessage]:
    """Turns as LangChain's messages, also those that came in another shape."""
    found: list[BaseMessage] = []
    for turn in turns:
        message = dict(turn.message)
        if turn.dialect == "langchain":
            found += messages_from_dict([message])
        else:
            found += convert_to_messages([message])
    return found
