"""Turns and pages of a session, kept in step with the store; pages are laid out here.

Facts are held, not words: enough to plan a context. Laying out happens when a context is
asked for, so that an append only writes the log.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from optimem.anchors import NEARBY
from optimem.errors import StoreError
from optimem.ledger.exchanges import Exchanges
from optimem.ledger.facts import page_facts
from optimem.ledger.page_search import PageSearch
from optimem.ledger.tail import Tail
from optimem.renderers.atlas import load_atlas
from optimem.renderers.flow import flow_turn
from optimem.renderers.layout import PageBuilder, PageStyle
from optimem.renderers.page import stamp
from optimem.stores import SessionState, Store
from optimem.tokens import Counter
from optimem.values import Mark, Page, PageFacts, Plan, Scope, TurnFacts

_PAGES_AT_ONCE = 64
_RETRIES = 8
_REST = "These turns are too large for the budget; what pages have no room for, as text: "


class LaidOut:
    """Facts of one session's turns and pages.

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
        self._rests: dict[tuple[int, int], str] = {}  # by pages and frontier
        self._flows: dict[int, str] = {}  # by position: turns behind the sealed pages, flowed

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

    def image(self, mark: Mark) -> tuple[int, int] | None:
        """Size of the image attachment that a mark names; None for anything else."""
        facts = self.turns[mark.position] if mark.position < len(self.turns) else None
        return facts.images[mark.index] if facts is not None else None

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
