"""Dictionaries: a session's turns are compressed with what its first turns have in common.

A dictionary is made once it pays, and holds words of the turns that it was made of. So when
one of these is forgotten it is made anew without it, before the turn itself goes.
"""

from __future__ import annotations

from collections.abc import Container

from optimem.stores import Dictionary, SessionState, Store
from optimem.stores.codec import turn_line
from optimem.values import Scope

_FEWEST_TURNS = 64
_FEWEST_BYTES = 1 << 16  # eight times the dictionary
_MOST_BYTES = 1 << 20  # of samples: more make no better dictionary


class Dictionaries:
    """The dictionaries of one session.

    Args:
        store: where the session lives.
        scope: whose it is.
    """

    def __init__(self, store: Store, scope: Scope) -> None:
        self._store = store
        self._scope = scope
        self._look_at = _FEWEST_TURNS

    def follow(self, turns: int) -> None:
        """Make a dictionary if a log of so many turns has none and is worth one."""
        if turns < self._look_at:
            return
        state = self._store.state(self._scope)
        if not state.dictionary:
            samples, stop = self._samples(state.turns, ())
            if sum(map(len, samples)) >= _FEWEST_BYTES:
                self._learn(Dictionary.train(samples), stop, state)
        while self._look_at <= turns:
            self._look_at *= 2

    def leave_out(self, positions: Container[int], first: int) -> int:
        """Make dictionaries anew without some turns, of which `first` is the earliest.

        Returns the id of the one in use. If another is when the turns are gone, a worker has
        made it of them meanwhile: then call this again.
        """
        while True:
            state = self._store.state(self._scope)
            if first >= state.sampled:
                return state.dictionary
            samples, stop = self._samples(state.sampled, positions)
            made = Dictionary.train(samples)
            if self._learn(made, stop, state):
                self._store.recompress(self._scope)
                return made.id if made else 0

    def _learn(self, made: Dictionary | None, stop: int, seen: SessionState) -> bool:
        data = made.data if made else b""
        return self._store.learn(self._scope, data, stop if made else 0, seen)

    def _samples(self, stop: int, without: Container[int]) -> tuple[list[bytes], int]:
        """Messages from the log's beginning, and the position behind the last of them."""
        found: list[bytes] = []
        size = 0
        for entry in self._store.entries(self._scope, 0, stop):
            if entry.position not in without:
                found.append(turn_line(entry.turn))
                size += len(found[-1])
                if size >= _MOST_BYTES:
                    return found, entry.position + 1
        return found, stop
