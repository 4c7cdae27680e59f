"""One session for each thread of a graph, which follows what the graph's messages are.

The graph's state is the truth of what was said; the session's log is its copy. Where the two
part (an edit, a removal, time travel, a fork, an answer made anew), the log is taken back to
the last message that both have, and goes on from there: pages in front of it stay as they are.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter
from typing import Any

from optimem.context import Context
from optimem.errors import InputError, MissingExtraError
from optimem.integrations.langchain_messages import message_id, without_reasoning
from optimem.memory import Memory
from optimem.messages import parse
from optimem.stores.codec import tombstone
from optimem.values import Turn, dump_json

try:
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import RunnableConfig
    from langgraph.runtime import Runtime
except ImportError:
    raise MissingExtraError("Sessions of LangGraph's threads", "langchain") from None

_PARTS = (type, attrgetter("__dict__"), attrgetter("__pydantic_extra__"))
_MOST_OPEN = 256  # threads that a process keeps at hand


@dataclass
class _Known:
    """A turn of the log: its id, and what it says as it is stored."""

    id: str
    digest: str

    def is_(self, message: BaseMessage, index: int) -> bool:
        """Whether it is this message, the graph's at an index."""
        id = message_id(message, index)
        return self.id == id and self.digest == _digest(parse(message, id=id))


class Thread:
    """A thread's session; one call at a time.

    Args:
        memory: the session.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.lock = threading.Lock()
        self.pages: tuple[object, BaseMessage] | None = None
        """The message of pages that was last made, and what it was made of."""
        self._generation = -1
        self._length = 0
        self._log: list[_Known] = []
        self._said: Sequence[BaseMessage] = []  # the log as the graph last had it
        self._forgotten: frozenset[bytes] = frozenset()
        self._prefix: object = None
        self._bound_until = 0

    def follow(self, messages: Sequence[BaseMessage]) -> set[str]:
        """Bring the log in step with the graph; call it with the lock held.

        Returns the ids of messages that the graph has and the session was told to forget: they
        do not come back, in this process or another.
        """
        self._read()
        forgotten = self._forgotten_of(messages)
        places: Sequence[int] = range(len(messages))
        if forgotten:
            places = [n for n in places if message_id(messages[n], n) not in forgotten]
        said = [messages[n] for n in places]
        kept = self._common(said, places)
        anew = kept == 0 and bool(self._log)
        if kept < len(self._log):
            self._take_back(kept)
            if any(isinstance(message, AIMessage) for message in said[kept:]):
                self._bound_until = len(said)
        if kept < len(said):
            turns = [parse(messages[n], id=message_id(messages[n], n)) for n in places[kept:]]
            self.memory.extend(turns)
            self._length += len(turns)
            self._log += [_Known(turn.id, _digest(turn)) for turn in turns]
        if anew:  # what was forgotten is remembered of it
            self.memory.store.bury(self.memory.scope, self._forgotten)
        self._said = said
        return forgotten

    def live(self, messages: Sequence[BaseMessage], context: Context) -> list[BaseMessage]:
        """Messages that stand behind pages, without the reasoning of another prefix."""
        segments = [segment for segment in context.segments if segment.turn is None]
        prefix = (context.reader.name, segments)
        if prefix != self._prefix:
            self._prefix = prefix
            self._bound_until = len(self._log)
        free = {known.id for known in self._log[self._bound_until :]}
        return [m if m.id in free else without_reasoning(m) for m in messages]

    def _read(self) -> None:
        """Know the log, also what others have changed."""
        store, scope = self.memory.store, self.memory.scope
        state = store.state(scope)
        if state.generation != self._generation or state.turns < self._length:
            self._forgotten = store.forgotten(scope)
            self._generation, self._length = state.generation, 0
            self._log, self._said = [], []
        if state.turns > self._length:
            for entry in store.entries(scope, self._length, state.turns):
                self._log.append(_Known(entry.turn.id, _digest(entry.turn)))
            self._length = state.turns

    def _common(self, said: Sequence[BaseMessage], places: Sequence[int]) -> int:
        """How many messages the log and the graph begin with in common."""
        count = min(len(self._log), len(said))
        kept = min(len(self._said), count)
        if not _equal(self._said[:kept], said[:kept]):
            kept = 0
        while kept < count and (
            (kept < len(self._said) and _equal(self._said[kept : kept + 1], said[kept : kept + 1]))
            or self._log[kept].is_(said[kept], places[kept])
        ):
            kept += 1
        return kept

    def _forgotten_of(self, messages: Sequence[BaseMessage]) -> set[str]:
        """Which messages were forgotten."""
        if not self._forgotten:
            return set()
        ids = (message_id(message, index) for index, message in enumerate(messages))
        return {id for id in ids if tombstone(id) in self._forgotten}

    def _take_back(self, kept: int) -> None:
        """Drop what the graph no longer has."""
        if kept:
            self.memory.rewind(to=self._log[kept - 1].id)
        else:
            self.memory.forget(session=True)
        self._log, self._said = self._log[:kept], self._said[:kept]
        state = self.memory.store.state(self.memory.scope)
        self._generation, self._length = state.generation, state.turns


class Threads:
    """The threads that are at hand in this process.

    Args:
        open: opens the session of a name.
    """

    def __init__(self, open: Callable[[str], Memory]) -> None:
        self._open = open
        self._lock = threading.Lock()
        self._threads: OrderedDict[str, Thread] = OrderedDict()

    def __getitem__(self, session: str) -> Thread:
        with self._lock:
            thread = self._threads.get(session)
            if thread is None:
                thread = self._threads[session] = Thread(self._open(session))
                while len(self._threads) > _MOST_OPEN:
                    self._threads.popitem(last=False)
            self._threads.move_to_end(session)
            return thread


def run_config(runtime: Runtime[Any]) -> RunnableConfig:
    """The part of a run's configuration that says whose it is."""
    info = runtime.execution_info
    known = {"thread_id": info.thread_id, "checkpoint_ns": info.checkpoint_ns} if info else {}
    return {"configurable": known}


def thread_session(config: RunnableConfig) -> str:
    """The thread's id, and for an agent within a graph where in it."""
    known = config.get("configurable", {})
    if not known.get("thread_id"):
        raise InputError(
            "OptiMemMiddleware needs to know the thread: invoke the agent with"
            ' {"configurable": {"thread_id": "…"}}'
        )
    outer, _, _ = str(known.get("checkpoint_ns") or "").rpartition("|")
    return f"{known['thread_id']}|{outer}" if outer else str(known["thread_id"])


def _equal(some: Sequence[BaseMessage], others: Sequence[BaseMessage]) -> bool:
    """As pydantic compares them, in a hundredth of its time."""
    return all(list(map(of, some)) == list(map(of, others)) for of in _PARTS)


def _digest(turn: Turn) -> str:
    """What a message says, as it is stored."""
    return sha256(dump_json(dict(turn.message)).encode()).hexdigest()
