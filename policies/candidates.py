"""What stands to be faded: pages, the ends that they may have, and turns worth keeping.

A policy may look at them one by one. They are kept as columns, so that those of ours plan
ten thousand pages in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from optimem.modes import Tier
from optimem.values import Kept, Plan

ABSENT = -1
"""The cost of a tier that a page cannot take."""

Whole = NDArray[np.int64]
Codes = NDArray[np.uint8]

_WIDTH = len(Tier)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sealed page as a policy sees it.

    Attributes:
        number: its place in the session.
        stop: position behind the last turn that ends on it or before it.
        costs: the tokens of each tier it can take; always TEXT and FORGOTTEN, and those
            modes that the reader reads and that cost it less than the page's text.
        turns: its age in turns.
        tokens: its age in tokens of the session's counter.
        seconds: its age in seconds, 0 where no times are known.
    """

    number: int
    stop: int
    costs: Mapping[Tier, int]
    turns: int = 0
    tokens: int = 0
    seconds: float = 0.0


def cost_row(costs: Mapping[Tier, int]) -> list[int]:
    """The costs of a page as a row: a column for each tier."""
    return [costs.get(tier, ABSENT) for tier in Tier]


@dataclass(frozen=True, eq=False)
class Candidates(Sequence[Candidate]):
    """Consecutive sealed pages, oldest first.

    Attributes:
        costs: (pages, tiers): tokens in each tier, `ABSENT` for those that a page cannot take.
        stops: (pages,): position behind the last turn that ends on each page or before it.
        turns: (pages,): ages in turns.
        tokens: (pages,): ages in tokens.
        seconds: (pages,): ages in seconds.
        first: the number of the first page.
    """

    costs: Whole
    stops: Whole
    turns: Whole
    tokens: Whole
    seconds: NDArray[np.float64]
    first: int = 0

    @classmethod
    def of(cls, pages: Iterable[Candidate]) -> Candidates:
        """The columns of some pages with consecutive numbers."""
        rows = list(pages)
        return cls(
            np.array([cost_row(page.costs) for page in rows], np.int64).reshape(-1, _WIDTH),
            np.array([page.stop for page in rows], np.int64),
            np.array([page.turns for page in rows], np.int64),
            np.array([page.tokens for page in rows], np.int64),
            np.array([page.seconds for page in rows], np.float64),
            rows[0].number if rows else 0,
        )

    @cached_property
    def coarsest(self) -> Codes:
        """(pages,): the most faded tier that still shows each page."""
        return self.coarsest_of(0, len(self))

    def coarsest_of(self, start: int, stop: int) -> Codes:
        """The same of some pages only."""
        shown = self.costs[start:stop, : Tier.FORGOTTEN] != ABSENT
        last = shown[:, ::-1].argmax(axis=1)
        return np.asarray(Tier.TINY - last, np.uint8)

    def at_most_as_sharp_as(self, tiers: Codes) -> Codes:
        """(pages,): the sharpest tier that each can take and that is no sharper than these.

        The coarsest that shows a page does for what is coarser than it can take.
        """
        found = tiers.copy()
        wrong = places = np.flatnonzero(self.spent(found) == ABSENT)
        while len(wrong):
            found[wrong] += 1
            wrong = wrong[self.costs[wrong, found[wrong]] == ABSENT]
        gone = places[found[places] == Tier.FORGOTTEN]
        if len(gone):
            found[gone] = self.coarsest[gone]
        return found

    def spent(self, tiers: Codes) -> Whole:
        """(pages,): the tokens of the first pages in these tiers."""
        return self._flat.take(self._rows[: len(tiers)] + tiers)

    def total(self, tiers: bytes) -> int:
        """The tokens of the first pages in these tiers, all together."""
        if tiers not in self._totals:  # policies ask again of the same plans
            self._totals[tiers] = int(self.spent(np.frombuffer(tiers, np.uint8)).sum())
        return self._totals[tiers]

    @cached_property
    def _totals(self) -> dict[bytes, int]:
        return {}

    @cached_property
    def _flat(self) -> Whole:
        return self.costs.ravel()

    @cached_property
    def _rows(self) -> Whole:
        return np.arange(len(self.costs)) * _WIDTH

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> list[Candidate]: ...
    def __getitem__(self, index: int | slice) -> Candidate | list[Candidate]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        row = self.costs[place].tolist()
        return Candidate(
            self.first + place,
            int(self.stops[place]),
            {tier: row[tier] for tier in Tier if row[tier] != ABSENT},
            int(self.turns[place]),
            int(self.tokens[place]),
            float(self.seconds[place]),
        )

    def __len__(self) -> int:
        return len(self.stops)


@dataclass(frozen=True, slots=True)
class Frontier:
    """A place where pages may end and text begin, never inside a call and its results.

    Attributes:
        pages: how many pages stand in front of it, forgotten ones included.
        start: position of the first turn that stands as text.
        tokens: what the text from there on costs.
        overflow: part of the text before `start` is on no page yet, and is counted.
    """

    pages: int
    start: int
    tokens: int
    overflow: bool = False


@dataclass(frozen=True, eq=False)
class Frontiers(Sequence[Frontier]):
    """The possible ends of the pages, by rising `start`; columns as in `Frontier`."""

    pages: Whole
    starts: Whole
    tokens: Whole

    @classmethod
    def of(cls, ends: Iterable[Frontier]) -> Frontiers:
        """The columns of some ends."""
        rows = [(end.pages, end.start, end.tokens) for end in ends]
        pages, starts, tokens = np.array(rows, np.int64).reshape(-1, 3).T
        return cls(pages, starts, tokens)

    def with_end(self, end: Frontier) -> Frontiers:
        """The same ends and this one."""
        place = int(np.searchsorted(self.starts, end.start))
        if place < len(self) and self.starts[place] == end.start:
            return self
        columns = (self.pages, self.starts, self.tokens)
        row = (end.pages, end.start, end.tokens)
        return Frontiers(
            *(
                np.concatenate((column[:place], [value], column[place:]))
                for column, value in zip(columns, row, strict=True)
            )
        )

    @overload
    def __getitem__(self, index: int) -> Frontier: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frontier]: ...
    def __getitem__(self, index: int | slice) -> Frontier | list[Frontier]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return Frontier(int(self.pages[index]), int(self.starts[index]), int(self.tokens[index]))

    def __iter__(self) -> Iterator[Frontier]:
        return map(self.__getitem__, range(len(self)))

    def __len__(self) -> int:
        return len(self.starts)


class Remark(NamedTuple):
    """A turn, or a call with its results, that may stay as text beside its fading page.

    Attributes:
        start: position of its first turn.
        stop: position behind its last turn.
        first: number of the page on which it begins.
        last: number of the sealed page on which it ends, of the last one if it runs on.
        tokens: what it costs beside that page.
        worth: from 0 to 1, by those who heard it; infinite for what is pinned.
        reason: why it is worth that.
        turns: how many turns ago it was said, or last spoken of.
        renewed: it was spoken of since the past plan was made.
    """

    start: int
    stop: int
    first: int
    last: int
    tokens: int
    worth: float
    reason: str = ""
    turns: int = 0
    renewed: bool = False

    @property
    def pinned(self) -> bool:
        """Whether it never fades."""
        return self.worth == float("inf")


class Remarks(Sequence[Remark]):
    """Remarks that are made once somebody looks at them.

    Most plans are kept as they are, for which nobody has to know what was said.

    Args:
        make: gives them.
    """

    def __init__(self, make: Callable[[], Iterable[Remark]]) -> None:
        self._make = make

    @cached_property
    def _found(self) -> tuple[Remark, ...]:
        return tuple(self._make())

    @overload
    def __getitem__(self, index: int) -> Remark: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Remark, ...]: ...
    def __getitem__(self, index: int | slice) -> Remark | tuple[Remark, ...]:
        return self._found[index]

    def __iter__(self) -> Iterator[Remark]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class Age(NamedTuple):
    """How long ago a page was recalled.

    Attributes:
        turns: in turns.
        tokens: in tokens of the session's counter.
        seconds: in seconds.
        renewed: it was recalled since the past plan was made.
    """

    turns: int = 0
    tokens: int = 0
    seconds: float = 0.0
    renewed: bool = True


class Recalled(Mapping[int, Age]):
    """Pages that were recalled, by number, found once somebody looks at them.

    Args:
        make: gives (number, age); of a page that comes twice the last age counts.
    """

    def __init__(self, make: Callable[[], Iterable[tuple[int, Age]]]) -> None:
        self._make = make

    @cached_property
    def _found(self) -> dict[int, Age]:
        return dict(self._make())

    def __getitem__(self, number: int) -> Age:
        return self._found[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def keep(plan: Plan, remarks: Iterable[Remark]) -> Plan:
    """The plan with turns kept as text that stand in front of its frontier."""
    known = {kept.start: kept for kept in plan.kept}
    for remark in remarks:
        if remark.stop <= plan.frontier and remark.start not in known:
            known[remark.start] = Kept(*remark[:4], remark.reason)
    return replace(plan, kept=tuple(known[start] for start in sorted(known)))
