"""A session as a list of messages: it appends, counts, indexes, slices and pops like one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

from optimem.memory import Memory
from optimem.values import Json

Message = dict[str, Json]
Listed = TypeVar("Listed", bound="MessageList")


class MessageList(Sequence[Message]):
    """Every message of a session exactly as it came; usable from several threads.

    Attributes:
        memory: the session's memory.
    """

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._lock = threading.RLock()

    # What goes in

    def append(self, message: object) -> None:
        """Add a message: a dict of any provider's, a client's reply, a LangChain message.

        Raises:
            InputError: it cannot be read; nothing was stored.
        """
        self.extend([message])

    def extend(self, messages: Iterable[object]) -> None:
        """Add several messages, all or none; see `append`."""
        found = [part for message in messages for part in _messages(message)]
        with self._lock:
            self.memory.extend(found)

    def __iadd__(self: Listed, messages: Iterable[object]) -> Listed:
        self.extend(messages)
        return self

    # What comes out

    def full(self) -> list[Message]:
        """All messages exactly as they came."""
        return [dict(turn.message) for turn in self.memory.turns()]

    def __len__(self) -> int:
        return len(self.memory.positions())

    def __iter__(self) -> Iterator[Message]:
        return iter(self.full())

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...

    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        positions = self.memory.positions()
        if isinstance(index, slice):
            wanted = positions[index]
            if not wanted:
                return []
            start = min(wanted)
            found = self._between(start, max(wanted) + 1)
            return [found[position] for position in wanted]
        try:
            position = positions[index]
        except IndexError:
            raise IndexError(f"no message {index}: the history has {len(positions)}") from None
        return self._between(position, position + 1)[position]

    def __reversed__(self) -> Iterator[Message]:
        return reversed(self.full())

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Where a message stands; raises ValueError."""
        return self.full().index(value, start, len(self) if stop is None else stop)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MessageList):
            return self.full() == other.full()
        return self.full() == other if isinstance(other, list) else NotImplemented

    def __add__(self, other: list[Message]) -> list[Message]:
        return self.full() + list(other)

    def __repr__(self) -> str:
        scope = self.memory.scope
        kind = type(self).__name__
        return f"<{kind} of {len(self)} messages: {scope.namespace}/{scope.session}>"

    def copy(self) -> list[Message]:
        """All messages exactly as they came, as a list."""
        return self.full()

    def pop(self, index: int = -1) -> Message:
        """Take a message back and return it: the last one by default.

        A message that calls tools takes their results along, wherever it stands but at the end.

        Raises:
            IndexError: there is no such message.
        """
        with self._lock:
            message = self[index]
            del self[index]
        return message

    def __delitem__(self, index: int | slice) -> None:
        with self._lock:
            positions = self.memory.positions()
            wanted = sorted(positions[index] if isinstance(index, slice) else [positions[index]])
            kept = len(positions) - len(wanted)
            if not wanted:
                return
            if positions[kept:] != wanted:
                self.memory.forget(turns=[self._id(position) for position in wanted])
            elif kept:
                self.memory.rewind(to=self._id(positions[kept - 1]))
            else:
                self.clear()

    def clear(self) -> None:
        """Remove all messages, with everything that was made of them."""
        with self._lock:
            self.memory.forget(session=True)

    def _between(self, start: int, stop: int) -> dict[int, Message]:
        entries = self.memory.store.entries(self.memory.scope, start, stop)
        return {entry.position: dict(entry.turn.message) for entry in entries}

    def _id(self, position: int) -> str:
        entries = self.memory.store.entries(self.memory.scope, position, position + 1)
        return next(entry.turn.id for entry in entries)


def _messages(message: object) -> Iterable[object]:
    """The messages of a client's reply; anything else is one."""
    if choices := getattr(message, "choices", None):  # OpenAI's chat completion
        return [choices[0].message]
    if candidates := getattr(message, "candidates", None):  # Gemini's
        return [candidates[0].content]
    if getattr(message, "object", None) == "response":  # OpenAI's other API
        return list(getattr(message, "output", ()))
    return [message]
