"""What every home of a memory offers: the log, pages, plans, blobs and a search index.

The log and its meta are durable. Pages, plans and blobs can be rebuilt from them, and a
missing one is rebuilt; a missing turn is an error. Every call takes the scope.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from optimem.stores.jobs import Jobs
from optimem.stores.postings import Postings
from optimem.values import Entry, Json, Page, PageFacts, Plan, Scope, Turn, TurnFacts


@dataclass(frozen=True, slots=True)
class Draft:
    """A turn about to be appended, with what planning needs to know of it."""

    turn: Turn
    facts: TurnFacts


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session's counters, read in one step.

    Attributes:
        turns: positions given out so far, forgotten turns included.
        pages: sealed pages.
        generation: rises when something already stored is taken away (rewind, forget).
        indexed: how many of the turns the search index has seen.
        documents: stretches of text in the search index.
        terms: how many terms they have together.
        settings: what the session was begun with.
    """

    turns: int = 0
    pages: int = 0
    generation: int = 0
    indexed: int = 0
    documents: int = 0
    terms: int = 0
    settings: dict[str, Json] = field(default_factory=dict)


def counted(counters: Sequence[int | bytes | None], settings: dict[str, Json]) -> SessionState:
    """A state from its counters in order, as a database gives them."""
    turns, pages, generation, indexed, documents, terms = (
        int(counter or 0) for counter in counters
    )
    return SessionState(turns, pages, generation, indexed, documents, terms, settings)


class Store(Protocol):
    """Where sessions live. Implementations are safe to use from several threads."""

    url: str

    @property
    def jobs(self) -> Jobs:
        """Who makes which blob now, and what is left to workers."""
        ...

    def state(self, scope: Scope) -> SessionState:
        """Counters and settings; all zero for a session that does not exist."""
        ...

    def sessions(self, namespace: str) -> list[str]:
        """Names of the sessions in a namespace, in alphabetical order."""
        ...

    def append(
        self, scope: Scope, drafts: Sequence[Draft], settings: Mapping[str, Json]
    ) -> list[int]:
        """Add turns at the end, all or none; returns their positions.

        A turn whose id is already there with the same content keeps its place. The
        settings are kept with a session's first turn.

        Raises:
            ConflictError: the id is there with other content, or the session was begun
                with other settings.
        """
        ...

    def entries(self, scope: Scope, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """Turns by position, oldest first, read as they are asked for."""
        ...

    def entries_at(self, scope: Scope, positions: Iterable[int]) -> list[Entry]:
        """Turns at some positions, in their order; those that are forgotten are left out."""
        ...

    def turn_facts(self, scope: Scope, start: int = 0) -> list[tuple[int, TurnFacts]]:
        """Facts of the turns from `start` on."""
        ...

    def position(self, scope: Scope, turn_id: str) -> int | None:
        """Where a turn stands, or None."""
        ...

    def recompress(self, scope: Scope) -> None:
        """Free a session of dictionaries that earlier versions made of its words."""
        ...

    def rewind(
        self, scope: Scope, length: int, pages: int, postings: Postings, seen: SessionState
    ) -> bool:
        """Keep the first `length` positions and the first `pages` pages, and no plans.

        Args:
            scope: whose session it is.
            length: positions to keep.
            pages: pages to keep.
            postings: what the search index has of the turns behind them.
            seen: the state that the others were computed from.

        Returns False, and does nothing, when the index or the generation has moved on
        from `seen`.
        """
        ...

    def erase(
        self,
        scope: Scope,
        positions: Sequence[int],
        pages: int,
        postings: Postings,
        seen: SessionState,
    ) -> int | None:
        """Remove turns for good, with every page from `pages` on, all plans and all blobs.

        Their tombstones stay, and their positions are never given out again. Returns how many
        turns were there; None, and does nothing, when the index or the generation has moved on
        from `seen`.
        """
        ...

    def forgotten(self, scope: Scope) -> frozenset[bytes]:
        """The tombstones (`codec.tombstone`) of all turns that were erased, rewound to or not.

        By these, whoever keeps a copy of a conversation knows what must not come back.
        """
        ...

    def bury(self, scope: Scope, tombstones: Iterable[bytes]) -> None:
        """Keep the tombstones of turns that were erased elsewhere, in a session that exists."""
        ...

    def drop(self, scope: Scope, turns: int | None = None) -> int:
        """Remove the whole session; returns how many turns it had.

        With `turns`, nothing is removed unless it has given out just so many positions.
        """
        ...

    def fork(self, scope: Scope, target: Scope) -> None:
        """Copy a session's log and pages under another scope.

        Raises:
            ConflictError: the target already has turns.
        """
        ...

    def add_pages(
        self, scope: Scope, pages: Sequence[tuple[Page, PageFacts]], generation: int
    ) -> bool:
        """Store newly sealed pages, which must follow the last; those already there are kept.

        Returns False, and stores nothing, when the session's generation has moved on.
        """
        ...

    def page(self, scope: Scope, number: int) -> Page | None:
        """One sealed page, or None."""
        ...

    def page_facts(self, scope: Scope, start: int = 0, stop: int | None = None) -> list[PageFacts]:
        """Facts of the sealed pages from number `start` on, up to but without `stop`."""
        ...

    def plans(self, scope: Scope) -> dict[str, Plan]:
        """The last plan of each reader and budget, by name."""
        ...

    def swap_plan(
        self,
        scope: Scope,
        name: str,
        plan: Plan,
        past: Plan | None,
        hidden: Sequence[str] = (),
    ) -> bool:
        """Store a plan if the stored one still is `past`; returns whether it was.

        In the same step the blobs of `hidden` are dropped: what the plan no longer shows.
        A session that does not exist keeps nothing, and nobody else plans for it: true.
        """
        ...

    def blob(self, scope: Scope, key: str) -> bytes | None:
        """Re-creatable bytes, or None."""
        ...

    def put_blob(self, scope: Scope, key: str, value: bytes) -> bytes:
        """Keep bytes unless the key has some; returns those of the first writer.

        A session that does not exist keeps nothing and gets its own bytes back.
        """
        ...

    def blob_hash(self, scope: Scope, key: str) -> bytes | None:
        """What tells the bytes that were last put under a key from others, or None.

        It outlasts bytes that are lost, so that one can see whether others came in their place.
        """
        ...

    def blob_names(self, scope: Scope) -> list[str]:
        """The keys under which bytes are kept, in alphabetical order."""
        ...

    def drop_blobs(self, scope: Scope, keys: Iterable[str]) -> None:
        """Remove bytes that are no longer shown."""
        ...

    def index(self, scope: Scope, postings: Postings, stop: int, seen: SessionState) -> bool:
        """Add the postings of the turns from `seen.indexed` up to `stop` to the search index.

        They are of one block. Returns False, and does nothing, when the index or the
        generation has moved on from `seen`.
        """
        ...

    def frequencies(self, scope: Scope, terms: Iterable[str]) -> dict[str, int]:
        """In how many stretches of text each term occurs; terms that do not are left out."""
        ...

    def completions(self, scope: Scope, prefixes: Iterable[str], limit: int) -> list[str]:
        """For each prefix the first `limit` terms that start with it, in alphabetical order.

        An encrypted store knows none: it has keyed hashes in place of terms.
        """
        ...

    def postings(self, scope: Scope, terms: Iterable[str]) -> dict[str, bytes]:
        """The packed postings of each term, in order; terms without any are left out."""
        ...

    def size(self, scope: Scope) -> dict[str, int]:
        """Bytes by kind: log, pages, blobs."""
        ...

    def warnings(self) -> Sequence[str]:
        """What about the home endangers sessions; raises StoreError when it is out of reach."""
        ...

    def purge(self) -> None:
        """Take what was deleted out of the home's files too, as far as it has a hand in them."""
        ...

    def stored(self, scope: Scope) -> Iterable[tuple[str, bytes]]:
        """All that is kept of a session, decrypted and decompressed, each with its place's name.

        Where the home is a file, that file's bytes are among it, as they are.
        """
        ...

    def close(self) -> None:
        """Release files and connections; safe to call twice."""
        ...
