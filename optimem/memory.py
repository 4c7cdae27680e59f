"""Memory: one session that fades, behind a few verbs.

    memory = Memory.open("sqlite:///agent.db", session="42")
    memory.append({"role": "user", "content": "…"})
    context = memory.context(reader="openai:gpt-6-astra", budget=20_000)
    client.chat.completions.create(model=…, **context.request())
    memory.recall("which port did we choose?")

Each verb has an asynchronous twin with an `a` in front.
"""

from __future__ import annotations

import asyncio
import threading
import time as clock
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, get_args

from optimem.assembly import ContextBuilder
from optimem.bills import Observation, corrected, observe, read_usage
from optimem.context import Context
from optimem.errors import InputError, NotFoundError
from optimem.facts import turn_facts
from optimem.fidelity import Fidelity, ReadsPages, keep, measure, sampled
from optimem.images import Images
from optimem.ledger import Ledger
from optimem.messages import parse
from optimem.modes import Tier
from optimem.page_search import PageSearch
from optimem.past import Past, Receipt
from optimem.policies import Epochs, Policy
from optimem.readers import Profile, find_reader
from optimem.recall import Recalled, SearchIndex, fuse, recalled
from optimem.renderers.address import Place, crop, turn_places
from optimem.renderers.layout import PageStyle
from optimem.renderers.parse import parse_page
from optimem.settings import settle
from optimem.similarity import Embed, similar_turns
from optimem.stores import Draft, Store, default_url, open_store
from optimem.telemetry import ids, traced
from optimem.tokens import find_counter
from optimem.transcripts import check_pairs, to_transcript
from optimem.values import Entry, Json, Page, Plan, Role, Scope, Turn
from optimem.vision_reader import VisionReader


@dataclass(frozen=True, slots=True)
class Stats:
    """What a session holds.

    Attributes:
        turns: turns in the log.
        pages: sealed pages.
        tiers: pages in each tier, for each plan by its reader's name and budget.
        epochs: which epoch each plan is in: what a prompt cache had to read anew so far.
        text_tokens: the whole session as plain text, in the session's counter.
        anchor_tokens: all captions together (place and anchors).
        bytes: stored bytes by kind.
        counter: name of the session's text-token counter.
    """

    turns: int
    pages: int
    tiers: dict[str, dict[str, int]]
    epochs: dict[str, int]
    text_tokens: int
    anchor_tokens: int
    bytes: dict[str, int]
    counter: str


class Memory:
    """One session's memory. Open it with `Memory.open`; usable from several threads."""

    def __init__(
        self,
        store: Store,
        scope: Scope,
        *,
        policy: Policy | None = None,
        style: PageStyle | None = None,
        counter: str = "auto",
        caption_tokens: int | None = None,
        embed: Embed | None = None,
    ) -> None:
        self.store = store
        self.scope = scope
        self._policy = policy or Epochs()
        self._embed = embed
        self._owns_store = False
        self._last: Context | None = None
        self._lock = threading.RLock()
        self._settings = settle(store, scope, counter, style, caption_tokens)
        self._counter = find_counter(self._settings.counter)
        style, room = self._settings.style, self._settings.caption_tokens
        self._index = SearchIndex(store, scope)
        self._ledger = Ledger(store, scope, self._counter, style, room)
        self._past = Past(store, scope, self._ledger, self._index)
        self._images = images = Images(store, scope, self._ledger, style)
        self._contexts = ContextBuilder(
            store, scope, self._ledger, self._policy, images.image, images.hide, style
        )

    @classmethod
    def open(
        cls,
        url: str | None = None,
        session: str = "default",
        *,
        namespace: str = "default",
        policy: Policy | None = None,
        style: PageStyle | None = None,
        counter: str = "auto",
        caption_tokens: int | None = None,
        embed: Embed | None = None,
        key: str | bytes | None = None,
        create: bool = True,
    ) -> Memory:
        """Open a session, which comes into being with its first turn.

        Args:
            url: `sqlite:///path`, `redis://host` (see `optimem.stores.redis`) or `memory://`;
                by default `$OPTIMEM_STORE`, else a SQLite file in the user's data folder.
            session: the session's name.
            namespace: whose session it is; names in different namespaces never meet.
            policy: how pages fade; `Epochs()` by default.
            style: how pages are laid out and drawn; settled when the session begins.
            counter: what counts text tokens ("o200k", "chars", or "auto" for the best
                that is installed); settled when the session begins.
            caption_tokens: the most tokens beside each page for its place and anchors
                (56); settled when the session begins.
            embed: turns texts into vectors, to be fused with word search in `recall`.
            key: encrypts all that reaches the store (see `optimem.stores.open_store`);
                `$OPTIMEM_KEY` by default.
            create: make a file that is not there; else that is an error.

        Raises:
            NotFoundError: there is no such file, and it shall not be made.
            StoreError: the store cannot be opened.
            InputError: the session was begun with other settings.
        """
        store = open_store(url or default_url(), key, create=create)
        try:
            memory = cls(
                store,
                Scope(namespace, session),
                policy=policy,
                style=style,
                counter=counter,
                caption_tokens=caption_tokens,
                embed=embed,
            )
        except BaseException:
            store.close()
            raise
        memory._owns_store = True
        return memory

    # Turns in

    def append(self, message: object, *, id: str = "", time: float | None = None) -> str:
        """Add one turn; returns its id.

        Args:
            message: an OpenAI- or Anthropic-style dict, a LangChain message, or a Turn.
            id: the turn's id, for retries: a turn that is already there is not added again.
            time: seconds since the epoch; now by default.

        Raises:
            InputError: the message cannot be read; nothing was stored.
            ConflictError: the id is taken by other content.
        """
        turn = parse(message, id=id, time=time, default_id=uuid.uuid4().hex)
        return self.extend([turn])[0]

    @traced("create_memory", ids)
    def extend(self, messages: Iterable[object]) -> list[str]:
        """Add several turns, all or none; returns their ids. See `append`."""
        turns = [parse(message, default_id=uuid.uuid4().hex) for message in messages]
        with self._lock:
            if any(turn.answers for turn in turns):
                self._ledger.read()
                check_pairs(turns, self._ledger.exchanges.has_call)
            now = clock.time()
            turns = [turn if turn.time is not None else replace(turn, time=now) for turn in turns]
            drafts = [Draft(turn, turn_facts(turn, self._counter)) for turn in turns]
            positions = self.store.append(self.scope, drafts, self._settings.to_json())
            self._index.follow(max(positions, default=-1) + 1)
        return [turn.id for turn in turns]

    def flush(self) -> Page | None:
        """Seal the open page as it stands, so that its turns can leave the text."""
        with self._lock:
            self._ledger.sync()
            return self._ledger.flush()

    # Contexts out

    @traced("context", lambda context: {"gen_ai.usage.input_tokens": context.tokens})
    def context(
        self,
        reader: str | Profile | VisionReader,
        budget: int | None = None,
        *,
        tools: Sequence[Mapping[str, Json]] = (),
        system: str | None = None,
        now: float | None = None,
    ) -> Context:
        """What to send the reader now, within a budget for the whole input.

        Args:
            reader: its name (`optimem readers` lists them), your own Profile, or a model that
                runs here (`optimem.vision.LocalReader`).
            budget: the most tokens, by the reader's own rule; its window by default.
            tools: tool schemas that will be sent along; they are counted.
            system: a system prompt in front of the log's own.
            now: seconds since the epoch, for policies that fade by time.

        Raises:
            NotFoundError: no such reader.
            BudgetError: the budget is too small or larger than the reader's window.
        """
        local = None if isinstance(reader, (str, Profile)) else reader
        profile = find_reader(reader) if isinstance(reader, (str, Profile)) else reader.profile
        prompt = parse({"role": "system", "content": system}, id="system") if system else None

        def again(profile: Profile, budget: int | None) -> Context:
            return self.context(profile, budget, tools=tools, system=system, now=now)

        with self._lock:
            self._ledger.sync()
            if local is None:
                profile = corrected(self.store, self.scope, profile)
            self._images.begin()
            built = self._contexts.build(profile, budget, tools, prompt, now, local)
            self._images.follow(f"{profile.name} at {budget}", built.plan)
            self._last = replace(built, again=None if local else again)
            return self._last

    def observe(self, usage: object, context: Context | None = None) -> Observation:
        """Learn from a bill what a reader takes for images; later contexts are counted so.

        A bill that differs for reasons that more requests would show is not believed at once;
        one that changes the price is logged as a warning.

        Args:
            usage: a client's reply to a context of this memory, or its `usage`.
            context: which one; the last that was made here by default.

        Raises:
            InputError: it says nothing of input tokens, or no context was made yet.
        """
        billed = read_usage(usage)
        with self._lock:
            sent = self._last if context is None else context
            if sent is None:
                raise InputError("no context was made here yet: pass the one that was sent")
            found = (sent.reader, sent.segments, sent.tokens)
            return observe(self.store, self.scope, *found, billed)

    # Recall

    @traced(
        "search_memory",
        lambda found: ids([recalled.id for recalled in found]),
        lambda found: {"gen_ai.memory.records": [recalled.text for recalled in found]},
    )
    def recall(self, query: str, limit: int = 5) -> list[Recalled]:
        """The turns that answer a question or hold an exact string, best first.

        Queries are plain words. Words are matched by BM25, exact strings (paths, hashes,
        quoted phrases) as they stand; with `embed`, both are fused with its similarity.
        """
        with self._lock:
            ranked = self._index.search(query, limit * 4)
            if self._embed is not None:
                similar = similar_turns(self.store, self.scope, self._embed, query)
                words = [position for position, _ in ranked]
                ranked = fuse([words, similar], limit)
            scores = dict(ranked[:limit])
            found = self.store.entries_at(self.scope, scores)
            self._contexts.rehearse(entry.position for entry in found)
            pages = self._ledger.page_search()
            return [self._recalled(entry, scores[entry.position], pages) for entry in found]

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

    # Changing the past

    @traced("delete_memory", lambda receipt: {"gen_ai.memory.record.count": receipt.turns})
    def forget(
        self,
        turns: Sequence[str] = (),
        *,
        before: str | None = None,
        session: bool = False,
    ) -> Receipt:
        """Remove turns for good: words, search entries, pages, images and plans.

        A call and its results go together. Pages that held a forgotten turn are laid out
        again, and so are those behind them.

        Args:
            turns: ids of turns.
            before: forget everything in front of this turn.
            session: forget the whole session.

        Raises:
            NotFoundError: there is no such turn; nothing was removed.
        """
        with self._lock:
            self._contexts.clear()
            self._ledger.sync()
            return self._past.drop() if session else self._past.forget(turns, before)

    def traces(self, text: str) -> list[str]:
        """Where a text still stands in what is stored of the session; empty once forgotten.

        Looks at every row and key, decompressed, and at the bytes of SQLite's files.
        """
        return self._past.traces(text)

    @traced("delete_memory")
    def rewind(self, to: str) -> None:
        """Drop every turn behind this one; raises NotFoundError."""
        with self._lock:
            self._contexts.clear()
            self._ledger.sync()
            self._past.rewind(to)

    @traced("create_memory_store")
    def fork(self, session: str) -> Memory:
        """A copy of this session under another name; raises ConflictError if it has turns."""
        with self._lock:
            self._ledger.sync()
            target = Scope(self.scope.namespace, session)
            self.store.fork(self.scope, target)
        return Memory(self.store, target, policy=self._policy, embed=self._embed)

    # Looking

    def stats(self) -> Stats:
        """What the session holds; see `Stats`."""
        with self._lock:
            self._ledger.sync()
            plans = self.store.plans(self.scope)
            tiers = {
                name: {tier.label: count for tier, count in plan.counts().items()}
                for name, plan in plans.items()
            }
            return Stats(
                turns=sum(facts is not None for facts in self._ledger.turns),
                pages=len(self._ledger.pages),
                tiers=tiers,
                epochs={name: plan.epoch for name, plan in plans.items()},
                text_tokens=sum(facts.tokens for facts in self._ledger.turns if facts),
                anchor_tokens=sum(page.caption_tokens for page in self._ledger.pages),
                bytes=self.store.size(self.scope),
                counter=self._counter.name,
            )

    def plans(self) -> dict[str, Plan]:
        """The last plan of each reader, budget and policy; `plan.explain(page)` says why."""
        return self.store.plans(self.scope)

    def fidelity(
        self, reader: ReadsPages, tiers: Iterable[Tier] | None = None, *, pages: int = 4
    ) -> dict[Tier, Fidelity]:
        """What a reader still reads in each mode, measured on pages of this session.

        Policies are then given it (`Situation.fidelity`), in every process that shares the
        session, until turns are forgotten or it is measured again.

        Args:
            reader: a model that runs here (`optimem.vision.LocalReader`).
            tiers: the modes to measure; all that it reads by default.
            pages: how many pages it is to read in each, spread over the session.

        Raises:
            InputError: there is nothing to read, or the reader does not read a mode.
        """
        with self._lock:
            self._ledger.sync()
            numbers = sampled(len(self._ledger.pages), pages)
            shown = [self.page(number) for number in numbers]
        if not shown:
            raise InputError("fidelity is measured on sealed pages: there are none, so flush()")
        wanted = list(reader.profile.modes if tiers is None else tiers)
        found = measure(reader, shown, wanted, self._settings.style)
        keep(self.store, self.scope, reader.profile.name, found)
        return found

    def page(self, number: int) -> Page:
        """A sealed page; raises NotFoundError."""
        with self._lock:
            self._ledger.sync()
        return self._page(number)

    def pages(self) -> list[Page]:
        """All sealed pages, oldest first."""
        with self._lock:
            self._ledger.sync()
            return [self._page(facts.number) for facts in self._ledger.pages]

    def _page(self, number: int) -> Page:
        page = self.store.page(self.scope, number)
        if page is None:
            raise NotFoundError(f"no page {number} in session {self.scope.session!r}")
        return page

    def anchors(self, number: int) -> tuple[str, ...]:
        """The exact strings that stand as text beside a page; raises NotFoundError."""
        self.page(number)
        return self._ledger.pages[number].anchors

    def export(self) -> Json:
        """The messages exactly as they came, in the shape that they came in."""
        return to_transcript(self.turns())

    def close(self) -> None:
        """Close the store if this memory opened it."""
        if self._owns_store:
            self.store.close()

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Asynchronous twins: the work is the processor's or SQLite's, so a thread does it.

    async def aappend(self, message: object, *, id: str = "", time: float | None = None) -> str:
        """Asynchronous `append`."""
        return await asyncio.to_thread(self.append, message, id=id, time=time)

    async def aextend(self, messages: Iterable[object]) -> list[str]:
        """Asynchronous `extend`."""
        return await asyncio.to_thread(self.extend, messages)

    async def acontext(
        self, reader: str | Profile | VisionReader, budget: int | None = None, **options: Any
    ) -> Context:
        """Asynchronous `context`."""
        return await asyncio.to_thread(self.context, reader, budget, **options)

    async def arecall(self, query: str, limit: int = 5) -> list[Recalled]:
        """Asynchronous `recall`."""
        return await asyncio.to_thread(self.recall, query, limit)

    async def aforget(self, turns: Sequence[str] = (), **options: Any) -> Receipt:
        """Asynchronous `forget`."""
        return await asyncio.to_thread(self.forget, turns, **options)

    async def arewind(self, to: str) -> None:
        """Asynchronous `rewind`."""
        await asyncio.to_thread(self.rewind, to)

    async def afork(self, session: str) -> Memory:
        """Asynchronous `fork`."""
        return await asyncio.to_thread(self.fork, session)

    async def astats(self) -> Stats:
        """Asynchronous `stats`."""
        return await asyncio.to_thread(self.stats)

    # Parts

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
