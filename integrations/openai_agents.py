"""A session for OpenAI's Agents SDK: `pip install 'optimem[openai-agents]'`.

    session = OptiMemSession(memory)
    config = RunConfig(call_model_input_filter=session.fade("openai:gpt-6-astra", budget=20_000))
    await Runner.run(agent, "…", session=session, run_config=config)

The session keeps every item as it came; the filter puts pages in place of older ones in what
the model is sent, and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

from optimem.errors import MissingExtraError
from optimem.memory import Memory
from optimem.messages import parse
from optimem.readers import Profile
from optimem.readers.responses import response_items
from optimem.values import Turn

try:
    from agents.items import TResponseInputItem
    from agents.memory import SessionSettings
    from agents.run import CallModelData, ModelInputData
except ImportError:
    raise MissingExtraError("A session for the Agents SDK", "openai-agents") from None

Filter = Callable[[CallModelData[Any]], Coroutine[Any, Any, ModelInputData]]


class OptiMemSession:
    """A memory as the SDK's `Session`.

    Attributes:
        memory: the session.
        session_id: its name.
        session_settings: the SDK's own limits; `limit` is how many items are given back.
    """

    def __init__(self, memory: Memory, session_settings: SessionSettings | None = None) -> None:
        self.memory = memory
        self.session_id = memory.scope.session
        self.session_settings: SessionSettings | None = session_settings or SessionSettings()

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The newest items, oldest first; all without a limit."""
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        items = [_item(turn) for turn in await asyncio.to_thread(self.memory.turns)]
        return items if limit is None else items[max(len(items) - limit, 0) :]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items, all or none."""
        await self.memory.aextend(items)

    async def pop_item(self) -> TResponseInputItem | None:
        """Take the newest item back; None when there is none."""
        turns = await asyncio.to_thread(self.memory.turns)
        if not turns:
            return None
        if len(turns) == 1:
            await self.clear_session()
        else:
            await self.memory.arewind(to=turns[-2].id)
        return _item(turns[-1])

    async def clear_session(self) -> None:
        """Forget all items."""
        await self.memory.aforget(session=True)

    def fade(self, reader: str | Profile, budget: int | None = None) -> Filter:
        """What to pass as `RunConfig.call_model_input_filter`.

        Items of a run that the SDK has not yet added to the session are sent as they are, beside
        the budget.

        Args:
            reader: whom the agent asks.
            budget: the most tokens of what is in the session; see `Memory.context`.
        """

        async def call_model_input_filter(data: CallModelData[Any]) -> ModelInputData:
            given = data.model_data
            items = await asyncio.to_thread(self._faded, given.input, reader, budget)
            return ModelInputData(input=items, instructions=given.instructions)

        return call_model_input_filter

    def _faded(
        self, items: Sequence[TResponseInputItem], reader: str | Profile, budget: int | None
    ) -> list[TResponseInputItem]:
        turns = self.memory.turns()
        if not turns:
            return list(items)
        context = self.memory.context(reader, budget)
        shown = {segment.turn.id for segment in context.segments if segment.turn is not None}
        notes = [segment for segment in context.segments if segment.turn is None]
        head = next((n for n, turn in enumerate(turns) if turn.role != "system"), len(turns))
        covered = next((n for n in range(head, len(turns)) if turns[n].id in shown), len(turns))
        same = zip(items, turns[:covered], strict=False)
        if not notes or len(items) < covered or not all(_says(item, turn) for item, turn in same):
            return list(items)  # all of it is text, or the run has begun elsewhere
        pages = response_items(notes, context.reader, context.image)
        found = [*items[:head], *pages, *items[covered:]]
        return cast("list[TResponseInputItem]", found)


def _item(turn: Turn) -> TResponseInputItem:
    return cast("TResponseInputItem", dict(turn.message))


def _says(item: Any, turn: Turn) -> bool:
    """Whether an item of a run is the one of the log."""
    parsed = parse(item)
    return (parsed.role, parsed.parts) == (turn.role, turn.parts)
