"""ChatHistory: a memory where a program has a list of messages.

    history = ChatHistory("sqlite:///agent.db", session="42", reader="anthropic:claude-opus-5.5")
    history.add_user_message("…")
    reply = client.messages.create(model=…, max_tokens=…, **history.request())
    history.add_ai_message(reply)

It appends, counts, indexes and pops like a list, and holds every message as it came; what
goes to the client has faded to the reader's budget.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optimem.context import Context
from optimem.errors import InputError
from optimem.memory import Memory
from optimem.message_list import Message, MessageList
from optimem.readers import Profile, find_reader
from optimem.values import Json
from optimem.vision_reader import VisionReader


class ChatHistory(MessageList):
    """A session as a list of message dicts; usable from several threads.

    Attributes:
        memory: the session's memory, for recall and everything else.
        reader: whom `messages` and `request` are for.
        budget: the most tokens of a request; None for the reader's window.
        tools: tool schemas that are sent along with each request, and counted.
    """

    def __init__(
        self,
        url: str | None = None,
        session: str = "default",
        *,
        reader: str | Profile | VisionReader,
        budget: int | None = None,
        system: str | None = None,
        tools: Sequence[Mapping[str, Json]] = (),
        memory: Memory | None = None,
        **options: Any,
    ) -> None:
        """Open a session, which comes into being with its first message.

        Args:
            url: where it lives; see `Memory.open`.
            session: its name.
            reader: whom it is sent to: a name, a profile, or a model that runs here.
            budget: the most tokens of a request, system and tools included.
            system: a system prompt that is sent with each request and is no message.
            tools: tool schemas, likewise.
            memory: an open memory to use in place of `url` and `session`; it stays open.
            options: further arguments of `Memory.open`.

        Raises:
            InputError: both a memory and a place for one are named.
            NotFoundError: no such reader.
        """
        if isinstance(reader, str):
            find_reader(reader)  # a mistyped name is said now, not with the first request
        if memory is not None and (url is not None or session != "default" or options):
            raise InputError("a memory brings its session along: name it or a URL, not both")
        super().__init__(memory or Memory.open(url, session, **options))
        self.reader = reader
        self.budget = budget
        self.tools = tools
        self._prompt = system
        self._owns_memory = memory is None

    @classmethod
    def from_messages(
        cls, messages: Iterable[object], url: str | None = "memory://", **arguments: Any
    ) -> ChatHistory:
        """A history that goes on from messages; takes what `ChatHistory` takes.

        Raises:
            InputError: a message cannot be read; nothing was stored.
        """
        history = cls(url, **arguments)
        try:
            history.add_messages(messages)
        except BaseException:
            history.close()
            raise
        return history

    # What goes to the client

    def context(self) -> Context:
        """What the reader is sent now; see `Memory.context`."""
        return self.memory.context(self.reader, self.budget, tools=self.tools, system=self._prompt)

    @property
    def messages(self) -> list[Message]:
        """What the reader's client takes as its messages, old turns as pages."""
        return self.context().messages()

    @property
    def system(self) -> Json:
        """The system prompt apart, for readers that want it so; None without one."""
        return self.context().system

    @system.setter
    def system(self, prompt: str | None) -> None:
        self._prompt = prompt

    def request(self) -> dict[str, Any]:
        """Keyword arguments for the reader's client; see `Context.request`."""
        return self.context().request()

    # Messages in

    def add_message(self, message: object) -> None:
        """Add a message; see `append`."""
        self.append(message)

    def add_messages(self, messages: Iterable[object]) -> None:
        """Add several messages, all or none; see `append`."""
        self.extend(messages)

    def add_user_message(self, content: object) -> None:
        """Add what the user said: text, content blocks, or a whole message."""
        self.append(_spoken("user", content))

    def add_ai_message(self, content: object) -> None:
        """Add what the model said: text, content blocks, a message, or the client's reply."""
        self.append(_spoken("assistant", content))

    # Its end

    def close(self) -> None:
        """Close the memory if this history opened it."""
        if self._owns_memory:
            self.memory.close()

    def __enter__(self) -> ChatHistory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Asynchronous twins: a thread does the work

    async def aadd_message(self, message: object) -> None:
        """Asynchronous `add_message`."""
        await asyncio.to_thread(self.add_message, message)

    async def aadd_messages(self, messages: Iterable[object]) -> None:
        """Asynchronous `add_messages`."""
        await asyncio.to_thread(self.add_messages, messages)

    async def aadd_user_message(self, content: object) -> None:
        """Asynchronous `add_user_message`."""
        await asyncio.to_thread(self.add_user_message, content)

    async def aadd_ai_message(self, content: object) -> None:
        """Asynchronous `add_ai_message`."""
        await asyncio.to_thread(self.add_ai_message, content)

    async def amessages(self) -> list[Message]:
        """Asynchronous `messages`."""
        return await asyncio.to_thread(lambda: self.messages)

    async def arequest(self) -> dict[str, Any]:
        """Asynchronous `request`."""
        return await asyncio.to_thread(self.request)

    async def afull(self) -> list[Message]:
        """Asynchronous `full`."""
        return await asyncio.to_thread(self.full)

    async def apop(self, index: int = -1) -> Message:
        """Asynchronous `pop`."""
        return await asyncio.to_thread(self.pop, index)

    async def aclear(self) -> None:
        """Asynchronous `clear`."""
        await asyncio.to_thread(self.clear)

    async def aclose(self) -> None:
        """Asynchronous `close`."""
        await asyncio.to_thread(self.close)

    async def __aenter__(self) -> ChatHistory:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _spoken(role: str, content: object) -> object:
    """A message of text or content blocks; whatever else comes is a message already."""
    blocks = isinstance(content, Sequence) and not isinstance(content, (bytes, bytearray))
    return {"role": role, "content": content} if blocks else content
