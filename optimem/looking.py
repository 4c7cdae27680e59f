"""Looking into a session: what it holds, how it fades, and what is still read of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from optimem.errors import InputError, NotFoundError
from optimem.fidelity import Fidelity, ReadsPages, keep, measure, sampled
from optimem.modes import Tier
from optimem.session import Session
from optimem.values import Page, Plan


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


class Looking(Session):
    """The verbs of a memory that look at what it holds."""

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

    def traces(self, text: str) -> list[str]:
        """Where a text still stands in what is stored of the session; empty once forgotten.

        Looks at every row and key, decompressed, and at the bytes of SQLite's files.
        """
        return self._past.traces(text)
