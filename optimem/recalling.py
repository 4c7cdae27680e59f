"""Recalling: exact words by what they say, by turn, by page and by place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import get_args

from optimem.errors import InputError, NotFoundError
from optimem.ledger.page_search import PageSearch
from optimem.looking import Looking
from optimem.recall import Recalled, fuse, recalled
from optimem.renderers.address import Place, crop, turn_places
from optimem.renderers.parse import parse_page
from optimem.similarity import similar_turns
from optimem.telemetry import ids, traced
from optimem.transcripts import to_transcript
from optimem.values import Entry, Json, Role, Turn

_DEEP = 256  # turns among which those are looked for that are wanted


class Recalling(Looking):
    """The verbs of a memory that find turns and give them back as they came."""

    @traced(
        "search_memory",
        lambda found: ids([recalled.id for recalled in found]),
        lambda found: {"gen_ai.memory.records": [recalled.text for recalled in found]},
    )
    def recall(
        self, query: str, limit: int = 5, leave_out: Callable[[Entry], bool] | None = None
    ) -> list[Recalled]:
        """The turns that answer a question or hold an exact string, best first.

        Queries are plain words. Words are matched by BM25, exact strings (paths, hashes,
        quoted phrases) as they stand; with `embed`, both are fused with its similarity.

        Args:
            query: what is looked for.
            limit: the most turns.
            leave_out: which turns are not wanted, whatever they hold.
        """
        with self._lock:
            depth = limit * 4 if leave_out is None else max(limit * 4, _DEEP)
            ranked = self._index.search(query, depth)
            if self._embed is not None:
                similar = similar_turns(self.store, self.scope, self._embed, query)
                words = [position for position, _ in ranked]
                ranked = fuse([words, similar], limit if leave_out is None else depth)
            scores = dict(ranked)
            found = list(islice(self._wanted(list(scores), limit, leave_out), limit))
            self._contexts.rehearse(entry.position for entry in found)
            pages = self._ledger.page_search()
            return [self._recalled(entry, scores[entry.position], pages) for entry in found]

    def _wanted(
        self, ranked: list[int], limit: int, leave_out: Callable[[Entry], bool] | None
    ) -> Iterator[Entry]:
        """The turns at these positions but those that are left out, read as they are needed."""
        step = max(limit, 1)
        for start in range(0, len(ranked), step):
            for entry in self.store.entries_at(self.scope, ranked[start : start + step]):
                if leave_out is None or not leave_out(entry):
                    yield entry

    def turn(self, turn_id: str) -> Turn:
        """One turn, exactly as it came; raises NotFoundError."""
        position = self._past.position(turn_id)
        return next(entry.turn for entry in self.store.entries(self.scope, position, position + 1))

    def turns(self, start: int = 0, stop: int | None = None) -> list[Turn]:
        """The turns of a range of positions, exactly as they came."""
        return [entry.turn for entry in self.store.entries(self.scope, start, stop)]

    def positions(self) -> list[int]:
        """Where the turns stand that are still there, oldest first."""
        with self._lock:
            self._ledger.read()
            return [at for at, facts in enumerate(self._ledger.turns) if facts is not None]

    def export(self) -> Json:
        """The messages exactly as they came, in the shape that they came in."""
        return to_transcript(self.turns())

    def recall_turn(self, turn_id: str) -> Recalled:
        """One turn's exact words by its id; raises NotFoundError."""
        with self._lock:
            self._ledger.sync()
            position = self._past.position(turn_id)
            entry = next(self.store.entries(self.scope, position, position + 1))
            self._contexts.rehearse([position])
            return self._recalled(entry, 1.0, self._ledger.page_search())

    def recall_page(self, number: int) -> list[Recalled]:
        """The exact turns that stand, whole or in part, on a page; raises NotFoundError."""
        with self._lock:
            self._ledger.sync()
            if not 0 <= number < len(self._ledger.pages):
                raise NotFoundError(
                    f"no page {number}: session {self.scope.session!r}"
                    f" has {len(self._ledger.pages)} pages, counted from 0"
                )
            facts = self._ledger.pages[number]
            entries = list(self.store.entries(self.scope, facts.first, facts.last + 1))
            self._contexts.rehearse(entry.position for entry in entries)
            pages = self._ledger.page_search()
            return [self._recalled(entry, 1.0, pages) for entry in entries]

    def recall_place(self, place: Place | str, role: Role | None = None) -> list[Recalled]:
        """What stands at a place such as "page 12, lines 20-31", by turns.

        Of each turn these are the words in those lines alone, as pages say them: their lines,
        with runs of blanks as one. `recall_turn` gives the whole turn as it came.

        Args:
            place: where to look.
            role: whose words; everybody's by default.

        Raises:
            InputError: the place is no address, or the role is unknown.
            NotFoundError: the session has no such page.
        """
        where = Place.parse(place) if isinstance(place, str) else place
        if role is not None and role not in get_args(Role):
            raise InputError(f"unknown role {role!r}: use one of {', '.join(get_args(Role))}")
        with self._lock:
            page = self.page(where.page)
            turns = parse_page(crop(page, where))
            shown = {turn.position: turn for turn in turns if role in (None, turn.role)}
            found = []
            for entry in self.store.entries_at(self.scope, shown):
                (own,) = turn_places([page], entry.position)
                lines = Place(own.page, max(own.first, where.first), min(own.last, where.last))
                words = "\n".join(shown[entry.position].lines)
                found.append(replace(recalled(entry, 1.0, (lines,)), text=words))
            self._contexts.rehearse(item.position for item in found)
            return found

    def _recalled(self, entry: Entry, score: float, pages: PageSearch) -> Recalled:
        position = entry.position
        numbers = pages.of(position)
        places: list[Place] = []
        for number in numbers:
            if number in (numbers[0], numbers[-1]):
                page = self.store.page(self.scope, number)
                places += turn_places([page] if page else [], position)
            else:  # a turn has the pages between its first and its last for itself
                places.append(Place(number))
        return recalled(entry, score, tuple(places))
