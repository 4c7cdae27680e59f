"""What turns and pages of a session cost each reader, and where its text may begin."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimem.attachments import faded_size
from optimem.ledger.columns import Column
from optimem.ledger.facts import FRAME_TOKENS
from optimem.ledger.laid_out import LaidOut
from optimem.modes import Tier
from optimem.policies.candidates import Frontier, Frontiers, Whole, cost_row
from optimem.readers import Profile
from optimem.values import Json, PageFacts, Turn, dump_json

_SHORT = 4_000  # characters of a note; of longer ones few are kept


class Ledger(LaidOut):
    """Facts of one session, and what they cost each reader; see `LaidOut`."""

    def _forget(self) -> None:
        super()._forget()
        self._count_long = lru_cache(maxsize=8)(self._counter.count)
        self._spent: dict[Profile, list[int]] = {}  # by reader: tokens in front of each position
        self._costs: dict[Profile, list[Mapping[Tier, int]]] = {}  # by reader: of each page
        self._times = Column(np.float64)
        self._columns: dict[tuple[str, Profile | None], Column] = {}

    def spent(self, profile: Profile) -> list[int]:
        """Tokens of the turns in front of each position, for one reader; one longer than turns."""
        sums = self._spent.setdefault(profile, [0])
        new = self.turns[len(sums) - 1 :]
        exact = self._exact_turns(profile, len(sums) - 1) if new else {}
        for position, facts in enumerate(new, len(sums) - 1):
            cost = exact.get(position, 0)
            if facts is not None and profile.counter is None:
                cost = profile.text_cost(facts.tokens)
                cost += sum(profile.image_cost(*size) for size in facts.images if size)
            sums.append(sums[-1] + cost)
        return sums

    def _exact_turns(self, profile: Profile, start: int) -> dict[int, int]:
        """Positions of the turns from `start` on, for readers that count them exactly."""
        if profile.counter is None:
            return {}
        entries = self.tail.entries(start, len(self.turns))
        return {entry.position: profile.counter.turn(entry.turn) for entry in entries}

    def costs(self, profile: Profile) -> list[Mapping[Tier, int]]:
        """What each page costs one reader in each tier that it can take, captions included.

        A mode that would cost more than the page's text is left out: never larger than text.
        """
        known = self._costs.setdefault(profile, [])
        for page in self.pages[len(known) :]:
            text = self.page_text_cost(profile, page) + self._faded(profile, page, Tier.LARGE)
            costs = {Tier.TEXT: text, Tier.FORGOTTEN: 0}
            caption = self.caption_cost(profile, page)
            for tier in profile.modes:
                cost = profile.page_cost(tier) + caption + self._faded(profile, page, tier)
                if cost <= text:
                    costs[tier] = cost
            known.append(costs)
        return known

    def sums(self, profile: Profile) -> Whole:
        """What `spent` gives, as a column."""
        spent = self.spent(profile)
        return self._column("sums", profile, lambda start: spent[start:])

    def cost_rows(self, profile: Profile) -> Whole:
        """What `costs` gives, as rows of a table."""
        costs = self.costs(profile)
        return self._column(
            "costs", profile, lambda start: [*map(cost_row, costs[start:])], len(Tier)
        )

    def stops(self) -> Whole:
        """Of each page the position behind the last turn that ends on it or before it."""
        return self._column("stops", None, lambda start: [p.stop for p in self.pages[start:]])

    def lasts(self) -> Whole:
        """Of each page the position of the last turn on it."""
        return self._column("lasts", None, lambda start: [p.last for p in self.pages[start:]])

    def times(self) -> NDArray[np.float64]:
        """Of each page when its newest turn came, in seconds since the epoch; NaN if unknown."""
        new = (self.turns[p.stop - 1] if p.stop else None for p in self.pages[len(self._times) :])
        times = (facts.time if facts is not None else None for facts in new)
        self._times.extend([math.nan if time is None else time for time in times])
        return self._times.view

    def frontiers(self, profile: Profile, gone: int = 0, since: int | None = None) -> Frontiers:
        """Where pages may end and text begin behind the first `gone` pages.

        The newest turn always is text.

        Args:
            profile: who reads the text.
            gone: how many pages are forgotten; the first frontier is behind these.
            since: how many pages all others have more than; `gone` by default.
        """
        sums, stops = self.sums(profile), self.stops()
        since = gone if since is None else since
        first = self.boundary(self.pages[gone - 1].stop) if gone else self.head
        known = self.boundary(self.pages[since - 1].stop) if since else self.head
        ends = stops[since:].clip(max=len(self.turns) - 1)
        starts = self.exchanges.floors(ends, self.turns).clip(min=self.head)
        before = np.maximum.accumulate(np.concatenate(([max(first, known)], starts)))[:-1]
        starts = starts[starts > before]
        pages = np.searchsorted(stops, starts) + 1
        starts = np.concatenate(([first], starts))
        return Frontiers(np.concatenate(([gone], pages)), starts, sums[-1] - sums[starts])

    def overflows(self, profile: Profile, budget: int) -> Sequence[Frontier]:
        """The frontiers behind turns that pages hold but for their end.

        The first ones leave as text what the user said last, or the newest turn, where that
        leaves half of the budget to the rest; the last one leaves nothing.
        """
        if not self.pages:
            return ()
        spent, length = self.spent(profile), len(self.turns)
        roles = (facts.role if facts else None for facts in reversed(self.turns))
        asked = next((n for n, role in enumerate(roles, 1) if role == "user"), length)
        found: dict[int, Frontier] = {}
        for start in map(self.boundary, (length - asked, length - 1, length)):
            text = spent[-1] - spent[start]
            if start > self.pages[-1].stop and text <= budget // 2:
                tokens = text + self.note_cost(profile, self.rest(len(self.pages), start))
                found[start] = Frontier(len(self.pages), start, tokens, overflow=True)
        return tuple(found.values())

    def note_cost(self, profile: Profile, text: str) -> int:
        """What a note costs a reader, its frame included."""
        if profile.counter is not None:
            return profile.counter.text(text)
        count = self._count if len(text) < _SHORT else self._count_long  # notes come again
        return profile.text_cost(count(text) + FRAME_TOKENS)

    def caption_cost(self, profile: Profile, page: PageFacts) -> int:
        """What the line beside a page costs a reader."""
        if profile.counter is not None:
            return profile.counter.text(page.caption)
        return profile.text_cost(page.caption_tokens)

    def page_text_cost(self, profile: Profile, page: PageFacts) -> int:
        """What a page costs a reader as text."""
        if profile.counter is not None:
            stored = self._store.page(self._scope, page.number)
            return profile.counter.text("" if stored is None else stored.words)
        return profile.text_cost(page.tokens)

    def extra_cost(
        self, profile: Profile, tools: Sequence[Mapping[str, Json]], system: Turn | None
    ) -> int:
        """What tool schemas and a system prompt in front of the log cost a reader."""
        counter = profile.counter
        if counter is not None:
            cost = counter.tools(tools) if tools else 0
            return cost if system is None else cost + counter.turn(system)
        cost = profile.text_cost(self._counter.count(dump_json(list(tools)))) if tools else 0
        return cost if system is None else cost + self.note_cost(profile, system.text)

    def _column(
        self,
        name: str,
        profile: Profile | None,
        rows: Callable[[int], Sequence[Any]],
        width: int = 0,
    ) -> Whole:
        """A column kept by name; `rows` gives those from a place on."""
        column = self._columns.setdefault((name, profile), Column(np.int64, width))
        column.extend(rows(len(column)))
        return column.view

    def _faded(self, profile: Profile, page: PageFacts, tier: Tier) -> int:
        sizes = (faded_size(self.image(mark), tier) for mark in page.marks)
        return sum(profile.image_cost(*size) for size in sizes if size)
