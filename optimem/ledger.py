"""The ledger: what a process knows of a session's turns and pages, kept in step with the store.

It holds facts, not words: enough to plan a context. Laying out happens here, when a
context is asked for, so that an append only writes the log.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimem.anchors import NEARBY
from optimem.attachments import faded_size
from optimem.columns import Column
from optimem.errors import StoreError
from optimem.exchanges import Exchanges
from optimem.facts import FRAME_TOKENS, page_facts
from optimem.modes import Tier
from optimem.page_search import PageSearch
from optimem.policies.candidates import Frontier, Frontiers, Whole, cost_row
from optimem.readers import Profile
from optimem.renderers.atlas import load_atlas
from optimem.renderers.flow import flow_turn
from optimem.renderers.layout import PageBuilder, PageStyle
from optimem.renderers.page import stamp
from optimem.stores import SessionState, Store
from optimem.tail import Tail
from optimem.tokens import Counter
from optimem.values import Json, Mark, Page, PageFacts, Plan, Scope, Turn, TurnFacts, dump_json

_PAGES_AT_ONCE = 64
_RETRIES = 8
_SHORT = 4_000  # characters of a note; of longer ones few are kept
_REST = "These turns are too large for the budget; what pages have no room for, as text: "


class Ledger:
    """Facts of one session.

    Args:
        store: where the session lives.
        scope: whose it is.
        counter: counts text tokens; the same for all who share the session.
        style: how its pages are drawn.
        caption_tokens: the most tokens beside each page for its place and anchors.
    """

    def __init__(
        self, store: Store, scope: Scope, counter: Counter, style: PageStyle, caption_tokens: int
    ) -> None:
        self._store = store
        self._scope = scope
        self._counter = counter
        self._style = style
        self._caption_tokens = caption_tokens
        # The same anchors come again from page to page, and counting is most of choosing.
        self._count = lru_cache(maxsize=1 << 14)(counter.count)
        self._count_long = lru_cache(maxsize=8)(counter.count)
        self.tail = Tail(store, scope)
        self._forget()

    def _forget(self) -> None:
        self.turns: list[TurnFacts | None] = []
        self.pages: list[PageFacts] = []
        self.head = 0
        """How many system turns the log begins with; they stay text and are on no page."""
        self.generation = -1
        """Of the session in the store when it was read; -1 before that."""
        self.exchanges = Exchanges()
        self.tail.clear()
        self._builder: PageBuilder | None = None
        self._spent: dict[Profile, list[int]] = {}  # by reader: tokens in front of each position
        self._rests: dict[tuple[int, int], str] = {}  # by pages and frontier
        self._flows: dict[int, str] = {}  # by position: turns behind the sealed pages, flowed
        self._costs: dict[Profile, list[Mapping[Tier, int]]] = {}  # by reader: of each page
        self._times = Column(np.float64)
        self._columns: dict[tuple[str, Profile | None], Column] = {}

    def read(self) -> SessionState:
        """Catch up with the log alone."""
        state = self._store.state(self._scope)
        fewer = state.turns < len(self.turns) or state.pages < len(self.pages)
        if state.generation != self.generation or fewer:
            self._forget()  # turns were taken away, or a server has dropped the pages
            self.generation = state.generation
        self._read_turns(state.turns)
        return state

    def lags(self, plan: Plan) -> bool:
        """Whether a plan is for turns or pages that are not known here yet."""
        return plan.frontier > len(self.turns) or plan.pages > len(self.pages)

    def sync(self) -> None:
        """Catch up with the store and lay out what is new; seals the pages that are full."""
        for _ in range(_RETRIES):
            state = self.read()
            sealed = self._store.page_facts(self._scope, len(self.pages))
            # Others may have sealed pages of turns that came since.
            self.pages += (page for page in sealed if page.last < state.turns)
            if self._lay_out(state.turns):
                return
            self._builder = None
        raise StoreError("the session is being changed too fast to read: try again")

    def page_search(self) -> PageSearch:
        """What finds the pages of turns, also where this process has not caught up."""
        state = self._store.state(self._scope)
        known = self.pages if state.generation == self.generation else ()
        return PageSearch(self._store, self._scope, state.turns, state.pages, known)

    def flush(self) -> Page | None:
        """Seal the open page as it stands; call after `sync`."""
        page = self._open_builder().flush()
        page = None if page is None else stamp(page)
        if page is None or not self._save([page]):
            self._builder = None
            return None
        return page

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

    def image(self, mark: Mark) -> tuple[int, int] | None:
        """Size of the image attachment that a mark names; None for anything else."""
        facts = self.turns[mark.position] if mark.position < len(self.turns) else None
        return facts.images[mark.index] if facts is not None else None

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

    def boundary(self, position: int) -> int:
        """The last place at or before `position` that splits no call from its results."""
        return max(int(self.exchanges.floors(np.array([position]), self.turns)[0]), self.head)

    def rest(self, pages: int, frontier: int) -> str:
        """A note, and the flowed text in front of `frontier` that the first `pages` pages lack."""
        if (pages, frontier) == (len(self.pages), len(self.turns)):
            return _REST + self._open_builder().rest.strip()
        if (pages, frontier) not in self._rests:
            self._rests[pages, frontier] = _REST + self._flowed(pages, frontier).strip()
        return self._rests[pages, frontier]

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

    def _flowed(self, pages: int, frontier: int) -> str:
        position, offset = self._resume(pages)
        wanted = range(position, frontier)
        missing = next((place for place in wanted if place not in self._flows), frontier)
        for entry in self.tail.entries(missing, frontier):
            self._flows[entry.position] = flow_turn(entry, self._style.flow).text
        for place in [place for place in self._flows if place < position]:
            del self._flows[place]  # they stand on pages now
        pieces = [self._flows.get(place, "") for place in wanted]  # forgotten ones are gone
        return "".join([pieces[0][offset:], *pieces[1:]]) if pieces else ""

    def _faded(self, profile: Profile, page: PageFacts, tier: Tier) -> int:
        sizes = (faded_size(self.image(mark), tier) for mark in page.marks)
        return sum(profile.image_cost(*size) for size in sizes if size)

    def _read_turns(self, length: int) -> None:
        start = len(self.turns)
        self.turns += [None] * (length - start)
        for position, facts in self._store.turn_facts(self._scope, start):
            if position >= length:
                break
            self.turns[position] = facts
            if position == self.head and facts.role == "system":
                self.head += 1
            self.exchanges.read(position, facts)
        if length > start:
            self.exchanges.read(length - 1, None)

    def _lay_out(self, length: int) -> bool:
        """Lay out the turns behind the sealed pages; False when others were faster."""
        builder = self._open_builder()
        sealed: list[Page] = []
        start = max(builder.next_position, self.head)
        for entry in self.tail.entries(start, length):
            for page in builder.add(entry):
                sealed.append(stamp(page))
                if len(sealed) == _PAGES_AT_ONCE:
                    if not self._save(sealed):
                        return False
                    sealed = []
        return not sealed or self._save(sealed)

    def _open_builder(self) -> PageBuilder:
        if self._builder is None or self._builder.number != len(self.pages):
            atlas = load_atlas()
            resume = self._resume(len(self.pages))
            key = self._style.key(atlas.key)
            self._builder = PageBuilder(atlas.cells, key, len(self.pages), resume, self._style.flow)
        return self._builder

    def _resume(self, pages: int) -> tuple[int, int]:
        """(position, offset) in the flowed log at which the text behind the first pages starts.

        A turn that an earlier version of the layout cut is said again from its beginning:
        its offset means nothing in today's flow.
        """
        if not pages:
            return self.head, 0
        last = self._page(pages - 1)
        key, _, _ = last.style.partition("+")
        same = key == self._style.key(load_atlas().key)
        return last.stop if same else (last.stop[0], 0)

    def _save(self, pages: list[Page]) -> bool:
        """Store sealed pages; False when the log was changed or others sealed other pages."""
        found = page_facts(
            pages,
            self.pages[-NEARBY:],
            self._page,
            self._counter,
            self._count,
            self._caption_tokens,
        )
        both = list(zip(pages, found, strict=True))
        if not self._store.add_pages(self._scope, both, self.generation):
            return False
        stored = self._store.page_facts(self._scope, pages[0].number)[: len(pages)]
        self.pages += stored
        return [facts.hash for facts in stored] == [facts.hash for _, facts in both]

    def _page(self, number: int) -> Page:
        page = self._store.page(self._scope, number)
        if page is None:
            raise StoreError(f"page {number} is missing in the store: reopen the memory")
        return page
