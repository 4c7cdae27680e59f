"""LangChain's memory of before agents: `pip install 'optimem[langchain-classic]'`.

    memory = OptiMemMemory(chat_memory=OptiMemChatMessageHistory("42"), return_messages=True)

For chains that still take a `BaseChatMemory`; it knows no tool calls. Agents are better served
by `optimem.integrations.langchain.OptiMemMiddleware`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from optimem.errors import InputError, MissingExtraError
from optimem.integrations.langchain_history import OptiMemChatMessageHistory, plain_messages
from optimem.integrations.langchain_messages import pages_message

try:
    from langchain_classic.memory.chat_memory import BaseChatMemory
    from langchain_core.messages import BaseMessage, get_buffer_string
    from pydantic import ConfigDict, Field
except ImportError:
    raise MissingExtraError("LangChain's classic memory", "langchain-classic") from None


class OptiMemMemory(BaseChatMemory):
    """A session as a chain's memory: all of it, or as much as a reader is to get, as pages.

    Attributes:
        chat_memory: the session.
        memory_key: the prompt's variable.
        human_prefix: whose words a human's are, when messages are returned as text.
        ai_prefix: whose words the model's are.
        reader: whom the chain asks; with it (and `return_messages`) older messages come as
            pages within `budget`.
        budget: the most tokens of what is loaded.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    # It has to be named: the base class' own default is deprecated.
    chat_memory: OptiMemChatMessageHistory = Field(default=...)  # pyright: ignore[reportIncompatibleVariableOverride]
    memory_key: str = "history"
    human_prefix: str = "Human"
    ai_prefix: str = "AI"
    reader: str | None = None
    budget: int | None = None

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        if self.reader is not None and not self.return_messages:
            raise InputError("pages are messages: pass return_messages=True with reader=")

    @property
    def memory_variables(self) -> list[str]:
        """The variable that is loaded."""
        return [self.memory_key]

    def load_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """What the prompt gets."""
        messages = self._messages()
        if self.return_messages:
            return {self.memory_key: messages}
        return {self.memory_key: get_buffer_string(messages, self.human_prefix, self.ai_prefix)}

    async def aload_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Asynchronous `load_memory_variables`."""
        return await asyncio.to_thread(self.load_memory_variables, inputs)

    def _messages(self) -> list[BaseMessage]:
        if self.reader is None:
            return list(self.chat_memory.messages)
        context = self.chat_memory.memory.context(self.reader, self.budget)
        turns = [segment.turn for segment in context.segments if segment.turn is not None]
        head = sum(segment.kind == "system" for segment in context.segments)
        live = plain_messages(turns)
        has_pages = len(turns) < len(context.segments)
        return [*live[:head], *([pages_message(context)] if has_pages else []), *live[head:]]
