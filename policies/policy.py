"""What a policy sees, and what it gives back.

A policy is a pure function: `apply(situation, plan)` refines a draft plan. Policies chain:
`AgeDecay` proposes tiers, `TokenBudget` makes them fit, `Epochs` decides whether the new
plan is worth breaking the reader's prompt cache for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np

from optimem.modes import Tier
from optimem.policies.candidates import (
    Age,
    Candidate,
    Candidates,
    Codes,
    Frontier,
    Frontiers,
    Remark,
    keep,
)
from optimem.values import Plan, Tiers, Turn


@dataclass(frozen=True, slots=True)
class Cache:
    """What a reader's prompt cache does to its bill.

    Attributes:
        read: the price of a token read from it, as a share of a plain one's.
        write: the price of a token that is sent anew, likewise.
        life: seconds that it keeps what is not asked for again.
        cliff: (tokens, times): a longer input costs so many times more, as a whole.
    """

    read: float = 0.1
    write: float = 1.0
    life: float = 300.0
    cliff: tuple[int, float] | None = None


def nowhere() -> Sequence[Frontier]:
    """No frontier."""
    return ()


@dataclass(frozen=True)
class Situation:
    """Everything that a plan may depend on.

    Attributes:
        pages: the sealed pages from number `gone` on, oldest first.
        frontiers: the possible ends of the pages, by rising `start`: the first shows none,
            the next ones are behind the past plan's, which is put among them.
        beyond: gives `overflows`, whose text is counted only for those who ask.
        past: what the text costs behind the past plan's frontier, None without a past plan.
        turns: how many positions the log has.
        fixed: tokens of system, tools and everything else that is always there.
        legend: tokens of the note that stands before pages.
        marker: tokens of the note that says how much is forgotten.
        budget: the most tokens that the context may have; None for no limit.
        gone: how many pages were forgotten by the past plan, and stay so.
        before: the past plan, an empty one where there is none.
        fidelity: the share of characters that the reader still reads in each mode, from 0 to
            1, as `Memory.fidelity` has measured it; empty before that.
        remarks: turns that may stay as text beside their pages, oldest first.
        beside: tokens of the turns that the past plan keeps so, None where nobody counted them.
        recalled: of pages that were recalled, by number: how long ago.
        cache: the reader's prompt cache, None where nothing is known of it.
        idle: seconds since the reader was last asked, as far as can be told.
        explained: whether the plan's reasons are wanted, and not its tiers alone.
    """

    pages: Sequence[Candidate]
    frontiers: Sequence[Frontier]
    beyond: Callable[[], Sequence[Frontier]] = nowhere
    past: int | None = None
    turns: int = 0
    fixed: int = 0
    legend: int = 0
    marker: int = 0
    budget: int | None = None
    gone: int = 0
    before: Plan = field(default_factory=Plan)
    fidelity: Mapping[Tier, float] = field(default_factory=dict)
    remarks: Sequence[Remark] = ()
    beside: int | None = None
    recalled: Mapping[int, Age] = field(default_factory=dict)
    cache: Cache | None = None
    idle: float = 0.0
    explained: bool = True

    def __post_init__(self) -> None:
        pages, ends = self.pages, self.frontiers
        table = pages if isinstance(pages, Candidates) else Candidates.of(pages)
        object.__setattr__(self, "pages", table)
        columns = ends if isinstance(ends, Frontiers) else Frontiers.of(ends)
        if self.past is not None and self.before.pages and not self.before.overflow:
            # Where the newest turn began is no page's end any more once another has come.
            columns = columns.with_end(Frontier(self.before.pages, self.before.frontier, self.past))
        object.__setattr__(self, "frontiers", columns)

    @property
    def table(self) -> Candidates:
        """The pages as columns."""
        assert isinstance(self.pages, Candidates)
        return self.pages

    @property
    def ends(self) -> Frontiers:
        """The frontiers as columns."""
        assert isinstance(self.frontiers, Frontiers)
        return self.frontiers

    @property
    def overflows(self) -> Sequence[Frontier]:
        """Frontiers behind turns that pages hold but for their end; the last leaves no text."""
        return self.beyond()

    def frontier(self, plan: Plan) -> Frontier:
        """The frontier that a plan of this situation stands at."""
        if plan.overflow and self.overflows:
            same = (end for end in self.overflows if end.start == plan.frontier)
            return next(same, self.overflows[-1])
        index = int(np.searchsorted(self.ends.starts, plan.frontier, side="right"))
        return self.ends[max(index - 1, 0)]

    def regular(self, plan: Plan) -> Plan:
        """The plan where text begins at a page's end again, if it was made for an overflow.

        What overflowed then comes back as text, as far as it is on no sealed page.
        """
        if not plan.overflow:
            return plan
        place = int(np.searchsorted(self.ends.starts, plan.frontier, side="right")) - 1
        return self.move(plan, self.ends[max(place, 0)])

    def tokens(self, plan: Plan, text: int | None = None) -> int:
        """What a context by this plan costs; `text` overrides the cost behind its frontier."""
        lost = bytes((Tier.FORGOTTEN,)) * (plan.gone - self.gone)  # by a plan that has settled
        tiers = (lost + plan.codes)[: len(self.table)]
        gone = tiers.count(Tier.FORGOTTEN)
        notes = self.legend if tiers.count(Tier.TEXT) + gone < len(tiers) else 0
        notes += self.marker if self.gone or gone else 0
        text = self.frontier(plan).tokens if text is None else text
        return self.fixed + notes + self.table.total(tiers) + self.kept_tokens(plan) + text

    def kept_tokens(self, plan: Plan) -> int:
        """What the turns cost that a plan keeps as text beside pages."""
        if not plan.kept:
            return 0
        if self.beside is not None and plan == self.before:
            return self.beside
        costs = {remark.start: remark.tokens for remark in self.remarks}
        return sum(costs[kept.start] for kept in plan.kept if plan.shows(kept))

    def unchanged(self, past: Plan, plan: Plan) -> int:
        """The tokens in front of the first change, which the reader's cache still holds."""
        past_tiers, tiers = codes(past), codes(plan)
        if plan.gone != past.gone:
            return self.fixed
        both = min(len(past_tiers), len(tiers))
        same = past_tiers[:both] == tiers[:both]
        count = both if same.all() else int(same.argmin())
        tokens = int(self.table.spent(tiers[:count]).sum())
        notes = self.legend if count else 0
        notes += self.marker if self.gone else 0
        return self.fixed + notes + tokens

    def move(self, plan: Plan, frontier: Frontier) -> Plan:
        """The plan with its frontier moved.

        Pages that come into sight start at their coarsest, with what is pinned beside them.
        """
        shown = frontier.pages - self.gone
        tiers = plan.codes[:shown]
        tiers += self.table.coarsest_of(len(tiers), shown).tobytes()
        moved = replace(
            plan, tiers=Tiers(tiers), frontier=frontier.start, overflow=frontier.overflow
        )
        if not self.remarks and not plan.kept:
            return moved
        kept = [kept for kept in plan.kept if kept.stop <= frontier.start]
        pins = (remark for remark in self.remarks if remark.pinned)
        return keep(replace(moved, kept=tuple(kept)), pins)


class Policy(Protocol):
    """A pure function from a situation and a draft plan to a plan.

    One with a true `waits` never makes a smaller plan of one that fits: while all steps of
    `Epochs` wait and the past plan fits, none of them is asked. One with a true `fades` goes
    by pages alone, whatever is kept beside them: while what such steps make would not save
    enough, those that wait are not asked.
    """

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        """Refine the draft; the same arguments always give the same plan."""
        ...


class Listener(Protocol):
    """What those who listen to a session have made of it so far, by position."""

    def hear(self, position: int, turn: Turn) -> None:
        """Take in the next turn."""
        ...

    def worth(self, position: int) -> float:
        """What a turn is worth, from 0 to 1; infinite for what must not fade."""
        ...

    def reason(self, position: int) -> str:
        """Why it is worth that, in a word or two."""
        ...

    def spoken_of(self, position: int) -> int:
        """Position of the last turn that spoke of it; its own when none did."""
        ...

    @property
    def notable(self) -> Sequence[int]:
        """Positions of the turns that are worth more than nothing, in order."""
        ...


@runtime_checkable
class Listening(Protocol):
    """A policy that goes by the words of turns, too: they are told to those it sends."""

    def listeners(self) -> Sequence[Listener]:
        """New listeners, who have heard nothing yet."""
        ...


@runtime_checkable
class Rehearsing(Protocol):
    """A policy that goes by what was recalled, so that it has to be told."""

    @property
    def rehearses(self) -> bool:
        """Whether it does."""
        ...


def codes(plan: Plan) -> Codes:
    """(pages,): a plan's tiers as numbers."""
    return np.frombuffer(plan.codes, np.uint8)


def rehearses(policy: object) -> bool:
    """Whether a policy wants to be told of what is recalled."""
    return isinstance(policy, Rehearsing) and policy.rehearses


def listeners(policy: object) -> list[Listener]:
    """Those whom a policy sends to listen."""
    return list(policy.listeners()) if isinstance(policy, Listening) else []
