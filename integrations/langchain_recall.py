"""Recall as a LangChain tool: `pip install 'optimem[langchain]'`.

    agent = create_agent(model, tools=[recall_tool(memory)])

`OptiMemMiddleware` brings it along, for the session of the thread that it runs in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

from optimem.errors import MissingExtraError
from optimem.integrations import recall_tool as plain
from optimem.memory import Memory

try:
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import ArgsSchema, BaseTool
    from pydantic import BaseModel, Field, SkipValidation
except ImportError:
    raise MissingExtraError("Recall as a LangChain tool", "langchain") from None

Sessions = Callable[[RunnableConfig], Memory]
"""The session of a run, from its configuration."""


class RecallArguments(BaseModel):
    """What a model may ask for. Whose session it is stands elsewhere."""

    query: str = Field(default="", description="A question, or an exact string to find.")
    page: int | None = Field(default=None, description="A page's number, from its caption.")
    turn: str = Field(default="", description="A turn's id or number.")


class OptiMemRecall(BaseTool):
    """Gets exact words of earlier turns; see `optimem.integrations.recall_tool`.

    Attributes:
        session: the memory, or what finds a run's memory by its configuration.
        tokens: the most tokens of an answer.
        limit: the most turns that a query finds.
    """

    name: str = plain.NAME
    description: str = plain.DESCRIPTION
    args_schema: ArgsSchema | None = RecallArguments
    session: Annotated[Memory | Sessions, SkipValidation]
    tokens: int = 2_000
    limit: int = 5

    def _run(
        self, config: RunnableConfig, query: str = "", page: int | None = None, turn: str = ""
    ) -> str:
        bound = isinstance(self.session, Memory)
        memory = self.session if isinstance(self.session, Memory) else self.session(config)
        recall = plain.RecallTool(memory, self.tokens, self.limit)
        return recall.told(query, page, turn, asked=not bound)  # a thread's log has the question

    async def _arun(
        self, config: RunnableConfig, query: str = "", page: int | None = None, turn: str = ""
    ) -> str:
        return await asyncio.to_thread(self._run, config, query, page, turn)


def recall_tool(memory: Memory, tokens: int = 2_000, limit: int = 5) -> OptiMemRecall:
    """The tool for one session. See `RecallTool` for the arguments."""
    return OptiMemRecall(session=memory, tokens=tokens, limit=limit)
