"""What a policy sees, and what it gives back.

A policy is a pure function: `apply(situation, plan)` refines a draft plan. Policies chain:
`AgeDecay` proposes tiers, `TokenBudget` makes them fit, `Epochs` decides whether the new
plan is worth breaking the reader's prompt cache for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from optimem.modes import Tier
from optimem.values import Plan


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

    @property
    def coarsest(self) -> Tier:
        """The most faded tier that still shows the page."""
        return max(tier for tier in self.costs if tier != Tier.FORGOTTEN)

    def at_most_as_sharp_as(self, tier: Tier) -> Tier:
        """The sharpest tier it can take that is no sharper than `tier`; else the coarsest."""
        if tier in self.costs:
            return tier
        return min(
            (own for own in self.costs if tier < own < Tier.FORGOTTEN), default=self.coarsest
        )


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


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that a plan may depend on.

    Attributes:
        pages: the sealed pages from number `gone` on, oldest first.
        frontiers: the possible ends of the pages, by rising `start`; the first shows none.
        overflow: the frontier behind an exchange that pages hold but for its end.
        past: what the text costs behind the past plan's frontier, None without a past plan.
        turns: how many positions the log has.
        fixed: tokens of system, tools and everything else that is always there.
        legend: tokens of the note that stands before pages.
        marker: tokens of the note that says how much is forgotten.
        budget: the most tokens that the context may have; None for no limit.
        gone: how many pages were forgotten by the past plan, and stay so.
        fidelity: the share of characters that the reader still reads in each mode, from 0 to
            1, as `Memory.fidelity` has measured it; empty before that.
    """

    pages: Sequence[Candidate]
    frontiers: Sequence[Frontier]
    overflow: Frontier | None = None
    past: int | None = None
    turns: int = 0
    fixed: int = 0
    legend: int = 0
    marker: int = 0
    budget: int | None = None
    gone: int = 0
    fidelity: Mapping[Tier, float] = field(default_factory=dict)

    def frontier(self, plan: Plan) -> Frontier:
        """The frontier that a plan of this situation stands at."""
        if plan.overflow and self.overflow is not None:
            return self.overflow
        index = bisect_right([frontier.start for frontier in self.frontiers], plan.frontier)
        return self.frontiers[max(index - 1, 0)]

    def tokens(self, plan: Plan, text: int | None = None) -> int:
        """What a context by this plan costs; `text` overrides the cost behind its frontier."""
        pages = sum(page.costs[tier] for page, tier in zip(self.pages, plan.tiers, strict=False))
        notes = self.legend if any(tier.is_mode for tier in plan.tiers) else 0
        notes += self.marker if self.gone or Tier.FORGOTTEN in plan.tiers else 0
        return self.fixed + notes + pages + (self.frontier(plan).tokens if text is None else text)

    def move(self, plan: Plan, frontier: Frontier) -> Plan:
        """The plan with its frontier moved; pages that come into sight start at their coarsest."""
        shown = frontier.pages - self.gone
        tiers = plan.tiers[:shown]
        tiers += tuple(page.coarsest for page in self.pages[len(tiers) : shown])
        return replace(plan, tiers=tiers, frontier=frontier.start, overflow=frontier.overflow)


class Policy(Protocol):
    """A pure function from a situation and a draft plan to a plan."""

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        """Refine the draft; the same arguments always give the same plan."""
        ...
