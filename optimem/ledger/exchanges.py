"""Exchanges: a tool call and its results belong together, and nothing cuts between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from optimem.ledger.columns import Column
from optimem.policies.candidates import Whole
from optimem.values import TurnFacts


class Exchanges:
    """Where a session may be cut. Turns are read in order."""

    def __init__(self) -> None:
        self._calls: dict[str, int] = {}
        self._floors = Column("int64")  # the last place at or before each that cuts no exchange

    def read(self, position: int, facts: TurnFacts | None) -> None:
        """Take in the turn at a position; None for one that is forgotten."""
        self._floors.extend(range(len(self._floors), position + 1))
        if facts is None:
            return
        for call_id in facts.answers:
            call = self._calls.get(call_id)
            if call is not None:
                floors = self._floors.view
                floors[call + 1 : position + 1] = floors[call]
        self._calls.update((call_id, position) for call_id in facts.calls)

    def has_call(self, call_id: str) -> bool:
        """Whether a turn makes this call."""
        return call_id in self._calls

    def floors(self, positions: Whole, turns: Sequence[TurnFacts | None]) -> Whole:
        """For each position the last place at or before it that splits no exchange.

        A call whose results are still to come holds back all that is behind it.
        """
        known = self._floors.view
        last = min(self._pending(turns), len(known))
        found = positions.clip(max=last)
        inside = found < len(known)
        found[inside] = known[found[inside]]
        return found

    def around(self, position: int) -> tuple[int, int]:
        """Where the exchange of a turn begins, and the place behind its end."""
        known = self._floors.view
        start, stop = int(known[position]), position + 1
        while stop < len(known) and known[stop] != stop:
            stop += 1
        return start, stop

    def all_around(self, positions: Whole) -> tuple[Whole, Whole]:
        """The same for many turns at once."""
        known = self._floors.view
        cuts = np.append(np.flatnonzero(known == np.arange(len(known))), len(known))
        return known[positions], cuts[np.searchsorted(cuts, positions, side="right")]

    def closure(self, positions: set[int], turns: Sequence[TurnFacts | None]) -> set[int]:
        """The positions, and those of the calls and results that belong to them."""
        found = set(positions)
        pairs = [
            (self._calls[call_id], position)
            for position, facts in enumerate(turns)
            for call_id in (facts.answers if facts is not None else ())
            if call_id in self._calls
        ]
        while joined := [pair for pair in pairs if len(found & set(pair)) == 1]:
            found.update(position for pair in joined for position in pair)
        return found

    def _pending(self, turns: Sequence[TurnFacts | None]) -> int:
        """Position of a call whose result is still to come; the end when there is none."""
        answered: set[str] = set()
        for facts in reversed(turns):
            if facts is None:
                continue
            if facts.calls and not set(facts.calls) <= answered:
                return self._calls[facts.calls[0]]
            if not facts.answers:
                break
            answered.update(facts.answers)
        return len(turns)
