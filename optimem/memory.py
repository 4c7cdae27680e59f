"""Memory: one session that fades, behind a few verbs.

    memory = Memory.open("sqlite:///agent.db", session="42")
    memory.append({"role": "user", "content": "…"})
    context = memory.context(reader="openai:gpt-6-astra", budget=20_000)
    client.chat.completions.create(model=…, **context.request())
    memory.recall("which port did we choose?")

Each verb has an asynchronous twin with an `a` in front.
"""

from __future__ import annotations

import asyncio
import time as clock
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optimem.bills import Observation, corrected, observe, read_usage
from optimem.context import Context
from optimem.errors import InputError
from optimem.ledger.facts import turn_facts
from optimem.looking import Stats
from optimem.messages import parse
from optimem.past import Receipt
from optimem.readers import Profile, find_reader
from optimem.recall import Recalled
from optimem.recalling import Recalling
from optimem.renderers.address import Place
from optimem.stores import Draft
from optimem.telemetry import ids, traced
from optimem.transcripts import check_pairs
from optimem.values import Json, Page, Role, Scope
from optimem.vision_reader import VisionReader


class Memory(Recalling):
    """One session's memory. Open it with `Memory.open`; usable from several threads."""

    # Turns in

    def append(self, message: object, *, id: str = "", time: float | None = None) -> str:
        """Add one turn; returns its id.

        Args:
            message: an OpenAI- or Anthropic-style dict, a LangChain message, or a Turn.
            id: the turn's id, for retries: a turn that is already there is not added again.
            time: seconds since the epoch; now by default.

        Raises:
            InputError: the message cannot be read; nothing was stored.
            ConflictError: the id is taken by other content.
        """
        turn = parse(message, id=id, time=time, default_id=uuid.uuid4().hex)
        return self.extend([turn])[0]

    @traced("create_memory", ids)
    def extend(self, messages: Iterable[object]) -> list[str]:
        """Add several turns, all or none; returns their ids. See `append`."""
        turns = [parse(message, default_id=uuid.uuid4().hex) for message in messages]
        with self._lock:
            if any(turn.answers for turn in turns):
                self._ledger.read()
                check_pairs(turns, self._ledger.exchanges.has_call)
            now = clock.time()
            turns = [turn if turn.time is not None else replace(turn, time=now) for turn in turns]
            drafts = [Draft(turn, turn_facts(turn, self._counter)) for turn in turns]
            positions = self.store.append(self.scope, drafts, self._settings.to_json())
            self._index.follow(max(positions, default=-1) + 1)
        return [turn.id for turn in turns]

    def flush(self) -> Page | None:
        """Seal the open page as it stands, so that its turns can leave the text."""
        with self._lock:
            self._ledger.sync()
            return self._ledger.flush()

    # Contexts out

    @traced("context", lambda context: {"gen_ai.usage.input_tokens": context.tokens})
    def context(
        self,
        reader: str | Profile | VisionReader,
        budget: int | None = None,
        *,
        tools: Sequence[Mapping[str, Json]] = (),
        system: str | None = None,
        now: float | None = None,
    ) -> Context:
        """What to send the reader now, within a budget for the whole input.

        Args:
            reader: its name (`optimem readers` lists them), your own Profile, or a model that
                runs here (`optimem.vision.LocalReader`).
            budget: the most tokens, by the reader's own rule; its window by default.
            tools: tool schemas that will be sent along; they are counted.
            system: a system prompt in front of the log's own.
            now: seconds since the epoch, for policies that fade by time.

        Raises:
            NotFoundError: no such reader.
            BudgetError: the budget is too small or larger than the reader's window.
        """
        local = None if isinstance(reader, (str, Profile)) else reader
        profile = find_reader(reader) if isinstance(reader, (str, Profile)) else reader.profile
        prompt = parse({"role": "system", "content": system}, id="system") if system else None

        def again(profile: Profile, budget: int | None) -> Context:
            return self.context(profile, budget, tools=tools, system=system, now=now)

        with self._lock:
            self._ledger.sync()
            if local is None:
                profile = corrected(self.store, self.scope, profile)
            self._images.begin()
            built = self._contexts.build(profile, budget, tools, prompt, now, local)
            self._images.follow(f"{profile.name} at {budget}", built.plan)
            self._last = replace(built, again=None if local else again)
            return self._last

    def observe(self, usage: object, context: Context | None = None) -> Observation:
        """Learn from a bill what a reader takes for images; later contexts are counted so.

        A bill that differs for reasons that more requests would show is not believed at once;
        one that changes the price is logged as a warning.

        Args:
            usage: a client's reply to a context of this memory, or its `usage`.
            context: which one; the last that was made here by default.

        Raises:
            InputError: it says nothing of input tokens, or no context was made yet.
        """
        billed = read_usage(usage)
        with self._lock:
            sent = self._last if context is None else context
            if sent is None:
                raise InputError("no context was made here yet: pass the one that was sent")
            found = (sent.reader, sent.segments, sent.tokens)
            return observe(self.store, self.scope, *found, billed)

    # Changing the past

    @traced("delete_memory", lambda receipt: {"gen_ai.memory.record.count": receipt.turns})
    def forget(
        self,
        turns: Sequence[str] = (),
        *,
        before: str | None = None,
        session: bool = False,
    ) -> Receipt:
        """Remove turns for good: words, search entries, pages, images and plans.

        A call and its results go together. Pages that held a forgotten turn are laid out
        again, and so are those behind them.

        Args:
            turns: ids of turns.
            before: forget everything in front of this turn.
            session: forget the whole session.

        Raises:
            NotFoundError: there is no such turn; nothing was removed.
        """
        with self._lock:
            self._contexts.clear()
            self._ledger.sync()
            return self._past.drop() if session else self._past.forget(turns, before)

    @traced("delete_memory")
    def rewind(self, to: str) -> None:
        """Drop every turn behind this one; raises NotFoundError."""
        with self._lock:
            self._contexts.clear()
            self._ledger.sync()
            self._past.rewind(to)

    @traced("create_memory_store")
    def fork(self, session: str) -> Memory:
        """A copy of this session under another name; raises ConflictError if it has turns."""
        with self._lock:
            self._ledger.sync()
            target = Scope(self.scope.namespace, session)
            self.store.fork(self.scope, target)
        return Memory(self.store, target, policy=self._policy, embed=self._embed)

    # Asynchronous twins: the work is the processor's or SQLite's, so a thread does it.

    async def aappend(self, message: object, *, id: str = "", time: float | None = None) -> str:
        """Asynchronous `append`."""
        return await asyncio.to_thread(self.append, message, id=id, time=time)

    async def aextend(self, messages: Iterable[object]) -> list[str]:
        """Asynchronous `extend`."""
        return await asyncio.to_thread(self.extend, messages)

    async def acontext(
        self, reader: str | Profile | VisionReader, budget: int | None = None, **options: Any
    ) -> Context:
        """Asynchronous `context`."""
        return await asyncio.to_thread(self.context, reader, budget, **options)

    async def arecall(self, query: str, limit: int = 5, **options: Any) -> list[Recalled]:
        """Asynchronous `recall`."""
        return await asyncio.to_thread(self.recall, query, limit, **options)

    async def arecall_turn(self, turn_id: str) -> Recalled:
        """Asynchronous `recall_turn`."""
        return await asyncio.to_thread(self.recall_turn, turn_id)

    async def arecall_page(self, number: int) -> list[Recalled]:
        """Asynchronous `recall_page`."""
        return await asyncio.to_thread(self.recall_page, number)

    async def arecall_place(self, place: Place | str, role: Role | None = None) -> list[Recalled]:
        """Asynchronous `recall_place`."""
        return await asyncio.to_thread(self.recall_place, place, role)

    async def aforget(self, turns: Sequence[str] = (), **options: Any) -> Receipt:
        """Asynchronous `forget`."""
        return await asyncio.to_thread(self.forget, turns, **options)

    async def arewind(self, to: str) -> None:
        """Asynchronous `rewind`."""
        await asyncio.to_thread(self.rewind, to)

    async def afork(self, session: str) -> Memory:
        """Asynchronous `fork`."""
        return await asyncio.to_thread(self.fork, session)

    async def astats(self) -> Stats:
        """Asynchronous `stats`."""
        return await asyncio.to_thread(self.stats)
