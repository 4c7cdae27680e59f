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

from optimem.context import Context
from optimem.errors import MissingExtraError
from optimem.integrations.langchain_messages import message_id, without_reasoning
from optimem.memory import Memory
from optimem.messages import parse
from optimem.values import Turn, dump_json

try:
    from langchain_core.messages import AIMessage, BaseMessage
except ImportError:
    raise MissingExtraError("Sessions of LangGraph's threads", "langchain") from None

_MOST_OPEN = 256  # threads that a process keeps at hand


@dataclass
class _Known:
    """A position of the log: which message stands there, if any still does."""

    id: str
    digest: str
    message: BaseMessage | None = None
    forgotten: bool = False

    def is_(self, message: BaseMessage, index: int) -> bool:
        """Whether the log has this message, the graph's at an index, here."""
        known = self.message
        if known is message:
            return True
        # As pydantic compares them, in a tenth of its time; else as they are stored, for lists
        # where there were tuples, and the like.
        same = known is not None and (
            type(known) is type(message)
            and known.__dict__ == message.__dict__
            and known.__pydantic_extra__ == message.__pydantic_extra__
        )
        if not same:
            id = message_id(message, index)
            same = self.id == id and self.digest == _digest(parse(message, id=id))
        if same:
            self.message = message  # the next comparison is one of identity
        return same


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
        self._log: list[_Known] = []
        self._prefix: object = None
        self._bound_until = 0

    def follow(self, messages: Sequence[BaseMessage]) -> set[str]:
        """Bring the log in step with the graph; call it with the lock held.

        Returns the ids of messages that the graph has and the session was told to forget.
        """
        self._read()
        kept, start, forgotten = self._common(messages)
        if kept < len(self._log):
            self._take_back(kept)
            if any(isinstance(message, AIMessage) for message in messages[start:]):
                self._bound_until = len(messages)
        if start < len(messages):
            new = enumerate(messages[start:], start)
            turns = [parse(message, id=message_id(message, index)) for index, message in new]
            self.memory.extend(turns)
            for turn, message in zip(turns, messages[start:], strict=True):
                self._log.append(_Known(turn.id, _digest(turn), message))
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
        state = self.memory.store.state(self.memory.scope)
        if state.generation != self._generation or state.turns < len(self._log):
            before = [(known.id, known.message) for known in self._log]
            self._log = []
            self._generation = state.generation
            self._read_turns(state.turns)
            for known, (id, message) in zip(self._log, before, strict=False):
                if known.forgotten:
                    known.id = id
                elif known.id == id:
                    known.message = message
        elif state.turns > len(self._log):
            self._read_turns(state.turns)

    def _read_turns(self, length: int) -> None:
        start = len(self._log)
        self._log += [_Known("", "", forgotten=True) for _ in range(start, length)]
        for entry in self.memory.store.entries(self.memory.scope, start, length):
            turn = entry.turn
            self._log[entry.position] = _Known(turn.id, _digest(turn))

    def _common(self, messages: Sequence[BaseMessage]) -> tuple[int, int, set[str]]:
        """How much of the log, and of the graph, is common; and what of it is forgotten.

        The graph may or may not still have what the log has forgotten.
        """
        kept = at = 0
        forgotten: set[str] = set()
        gap: list[_Known] = []
        for position, known in enumerate(self._log):
            if known.forgotten:
                gap.append(known)
                continue
            found = at
            while found < len(messages) and not known.is_(messages[found], found):
                found += 1
                if found > at + len(gap):
                    return kept, at, forgotten
            if found >= len(messages):
                return kept, at, forgotten
            if gap:
                forgotten.update(message_id(messages[n], n) for n in range(at, found))
                gap = []
            kept, at = position + 1, found + 1
        for known in gap:  # nothing behind them tells whether the graph has them still
            if at < len(messages) and known.id == message_id(messages[at], at):
                forgotten.add(known.id)
                at += 1
        return len(self._log), at, forgotten

    def _take_back(self, kept: int) -> None:
        """Drop what the graph no longer has."""
        last = next((k.id for k in reversed(self._log[:kept]) if not k.forgotten), None)
        if last is None:
            self.memory.forget(session=True)
            self._log = []
        else:
            self.memory.rewind(to=last)
            self._log = self._log[:kept]
        self._generation = self.memory.store.state(self.memory.scope).generation


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


def _digest(turn: Turn) -> str:
    """What a message says, as it is stored."""
    return sha256(dump_json(dict(turn.message)).encode()).hexdigest()
