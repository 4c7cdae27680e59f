"""The tail: the turns that contexts of one session show as text, read and decoded once.

A context after an append shows what the one before showed, and a turn more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

from optimem.stores import Store
from optimem.values import Entry, Json, Scope, Turn

_AT_HAND = 16 << 20  # characters and bytes that a process keeps of a session


class Tail:
    """Turns by position, from memory where they were asked for lately.

    Whoever owns it clears it once turns were taken away.

    Args:
        store: where the log is.
        scope: whose session it is.
    """

    def __init__(self, store: Store, scope: Scope) -> None:
        self._store = store
        self._scope = scope
        self.clear()

    def clear(self) -> None:
        """Read everything anew from now on."""
        self._found: OrderedDict[int, Entry | None] = OrderedDict()  # None: it is forgotten
        self._size = 0

    def entries(self, start: int, stop: int) -> Iterator[Entry]:
        """Turns by position, oldest first, shared by all who ask: see `apart`."""
        position = start
        while position < stop:
            if position in self._found:
                entry = self._found[position]
                self._found.move_to_end(position)
                position += 1
                if entry is not None:
                    yield entry
                continue
            known = (place for place in range(position, stop) if place in self._found)
            end = next(known, stop)
            yield from self._read(position, end)
            position = end

    def _read(self, start: int, stop: int) -> Iterator[Entry]:
        for entry in self._store.entries(self._scope, start, stop):
            for place in range(start, entry.position):
                self._found[place] = None
            start = entry.position + 1
            self._hold(entry)
            yield entry
        for place in range(start, stop):
            self._found[place] = None

    def _hold(self, entry: Entry) -> None:
        self._found[entry.position] = entry
        self._size += _size(entry.turn)
        while self._size > _AT_HAND and len(self._found) > 1:
            _, oldest = self._found.popitem(last=False)
            self._size -= 0 if oldest is None else _size(oldest.turn)


def apart(turn: Turn) -> Turn:
    """The turn with a message of its own, which whoever gets it may change."""
    return replace(turn, message=_copied(turn.message))


def _copied(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def _size(turn: Turn) -> int:
    return len(turn.text) + sum(2 * len(each.data or b"") for each in turn.attachments)
