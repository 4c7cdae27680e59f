"""The ledger: what a process knows of a session's turns and pages, kept in step with the store.

It holds facts, not words: enough to plan a context. Laying out happens here, when a
context is asked for, so that an append only writes the log.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache

from optimem.anchors import NEARBY
from optimem.attachments import faded_size
from optimem.errors import StoreError
from optimem.facts import FRAME_TOKENS, page_facts
from optimem.modes import Tier
from optimem.page_search import PageSearch
from optimem.policies import Frontier
from optimem.readers import Profile
from optimem.renderers.atlas import load_atlas
from optimem.renderers.flow import flow_turn
from optimem.renderers.layout import PageBuilder, PageStyle
from optimem.renderers.page import stamp
from optimem.stores import SessionState, Store
from optimem.tokens import Counter
from optimem.values import Json, Mark, Page, PageFacts, Plan, Scope, Turn, TurnFacts, dump_json

_PAGES_AT_ONCE = 64
_RETRIES = 8
_REST = "The last turn on these pages is too large for the budget; its end, as text: "


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
        self._forget()

    def _forget(self) -> None:
        self.turns: list[TurnFacts | None] = []
        self.pages: list[PageFacts] = []
        self.head = 0
        """How many system turns the log begins with; they stay text and are on no page."""
        self._generation = -1
        self._builder: PageBuilder | None = None
        self._calls: dict[str, int] = {}
        self._joined: set[int] = set()  # positions between a call and its result
        self._spent: dict[Profile, list[int]] = {}  # by reader: tokens in front of each position
        self._rests: dict[tuple[int, int], str] = {}  # by pages and frontier
        self._costs: dict[Profile, list[Mapping[Tier, int]]] = {}  # by reader: of each page

    def read(self) -> SessionState:
        """Catch up with the log alone."""
        state = self._store.state(self._scope)
        if state.generation != self._generation or state.pages < len(self.pages):
            self._forget()  # turns were taken away, or a server has dropped the pages
            self._generation = state.generation
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
        known = self.pages if state.generation == self._generation else ()
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
        entries = self._store.entries(self._scope, start, len(self.turns))
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

    def frontiers(self, profile: Profile, gone: int = 0) -> list[Frontier]:
        """Where pages may end and text begin behind the first `gone` pages.

        The newest turn always is text.
        """
        spent = self.spent(profile)
        start = self.boundary(self.pages[gone - 1].stop) if gone else self.head
        found = [Frontier(gone, start, spent[-1] - spent[start])]
        stops = [page.stop for page in self.pages[gone:]]
        for stop in stops:
            start = self.boundary(min(stop, len(self.turns) - 1))
            if start > found[-1].start:
                pages = gone + bisect_left(stops, start) + 1
                found.append(Frontier(pages, start, spent[-1] - spent[start]))
        return found

    def overflow(self, profile: Profile) -> Frontier | None:
        """The frontier behind an exchange that pages hold but for its end."""
        start = self.boundary(len(self.turns))
        if not self.pages or start <= self.pages[-1].stop:
            return None
        spent = self.spent(profile)
        rest = self.note_cost(profile, self.rest(len(self.pages), start))
        tokens = rest + spent[-1] - spent[start]
        return Frontier(len(self.pages), start, tokens, overflow=True)

    def boundary(self, position: int) -> int:
        """The last place at or before `position` that splits no call from its results."""
        while position > self.head and (position in self._joined or self._pending(position)):
            position -= 1
        return max(position, self.head)

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
        return profile.text_cost(self._counter.count(text) + FRAME_TOKENS)

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

    def has_call(self, call_id: str) -> bool:
        """Whether a turn of the log makes this call."""
        return call_id in self._calls

    def with_exchanges(self, positions: set[int]) -> set[int]:
        """The positions, and those of the calls and results that belong to them."""
        found = set(positions)
        pairs = [
            (self._calls[call_id], position)
            for position, facts in enumerate(self.turns)
            for call_id in (facts.answers if facts is not None else ())
            if call_id in self._calls
        ]
        while joined := [pair for pair in pairs if len(found & set(pair)) == 1]:
            found.update(position for pair in joined for position in pair)
        return found

    def _flowed(self, pages: int, frontier: int) -> str:
        position, offset = self._resume(pages)
        pieces = []
        for entry in self._store.entries(self._scope, position, frontier):
            text = flow_turn(entry, self._style.flow).text
            pieces.append(text[offset:] if entry.position == position else text)
        return "".join(pieces)

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
            for call_id in facts.answers:
                call = self._calls.get(call_id)
                if call is not None:
                    self._joined.update(range(call + 1, position + 1))
            self._calls.update((call_id, position) for call_id in facts.calls)

    def _pending(self, position: int) -> bool:
        """Whether a cut here would leave a call in front of it whose result is still to come."""
        answered: set[str] = set()
        for facts in reversed(self.turns):
            if facts is None:
                continue
            if facts.calls and not set(facts.calls) <= answered:
                call = self._calls[facts.calls[0]]
                return position > call
            if not facts.answers:
                return False
            answered.update(facts.answers)
        return False

    def _lay_out(self, length: int) -> bool:
        """Lay out the turns behind the sealed pages; False when others were faster."""
        builder = self._open_builder()
        sealed: list[Page] = []
        start = max(builder.next_position, self.head)
        for entry in self._store.entries(self._scope, start, length):
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
        if not self._store.add_pages(self._scope, both, self._generation):
            return False
        stored = self._store.page_facts(self._scope, pages[0].number)[: len(pages)]
        self.pages += stored
        return [facts.hash for facts in stored] == [facts.hash for _, facts in both]

    def _page(self, number: int) -> Page:
        page = self._store.page(self._scope, number)
        if page is None:
            raise StoreError(f"page {number} is missing in the store: reopen the memory")
        return page
