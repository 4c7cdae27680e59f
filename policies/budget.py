"""Making a plan fit: the oldest pages pay first, and nothing is forgotten while it need not be."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from optimem.errors import BudgetError
from optimem.modes import Tier
from optimem.policies.candidates import ABSENT, Frontier
from optimem.policies.draft import Draft
from optimem.policies.policy import Situation
from optimem.values import Kept, Plan, Tiers


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """Coarsens the oldest pages until the context fits its budget.

    In this order: pages coarser from the oldest on; fewer turns as text, on pages that are not
    full yet; pages forgotten from the oldest on; and last the newest turns shown as pages
    themselves, before anything is forgotten where they take half of the budget. The first two
    already aim at `low` times the budget and forgetting at `spare` times, so that the next turns
    find room without another epoch: a page forgotten each turn would cost the whole cache each
    turn. A turn that is kept beside a page goes with it, unless it is pinned.

    Attributes:
        low: share of the budget to come down to.
        spare: share of the budget to come down to once pages have to be forgotten.
        keep: turns that stay text as long as the budget itself allows it.
    """

    waits: ClassVar[bool] = True

    low: float = 0.75
    keep: int = 4
    spare: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.low <= 1 or not 0 < self.spare <= 1 or self.keep < 1:
            raise ValueError("low and spare must be above 0 and at most 1, and keep at least 1")

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        """The plan made to fit.

        Raises:
            BudgetError: no plan fits; names the smallest budget that would do.
        """
        budget, plan = situation.budget, situation.regular(plan)
        if budget is None:
            return plan
        if situation.tokens(plan) > budget:
            target = int(budget * self.low)
            plan = _coarsen(situation, plan, target)
            plan = self._advance(situation, plan, target, self.keep)
            plan = self._advance(situation, plan, budget, 1)
        for candidate in _candidates(situation, plan, budget, int(budget * self.spare)):
            if situation.tokens(candidate) <= budget:
                return candidate
        smallest = smallest_budget(situation)
        raise BudgetError(
            f"a budget of {budget} tokens is too small for this context:"
            f" the smallest that works is {smallest}",
            smallest=smallest,
        )

    def _advance(self, situation: Situation, plan: Plan, target: int, keep: int) -> Plan:
        """Let turns leave the text, from the oldest on, while at least `keep` stay."""
        starts = situation.ends.starts
        first = int(np.searchsorted(starts, plan.frontier, side="right"))
        end = int(np.searchsorted(starts, max(situation.turns - keep, 0), side="right"))
        if first >= end or situation.tokens(plan) <= target:
            return plan

        def fits(place: int) -> bool:
            moved = situation.move(plan, situation.ends[place])
            return situation.tokens(moved) <= target

        # Every step is cheaper than the one before, so the first that fits is found by halving.
        place = bisect_left(range(first, end), True, key=fits)
        return _moved(situation, plan, situation.ends[min(first + place, end - 1)])


def smallest_budget(situation: Situation) -> int:
    """The fewest tokens that any context of this situation takes: everything old forgotten."""
    ends = [situation.ends[0], situation.ends[-1]]
    ends += situation.overflows[-1:]
    plans = (situation.move(Plan(gone=situation.gone), end) for end in ends)
    return min(
        situation.tokens(replace(plan, tiers=Tiers([Tier.FORGOTTEN] * len(plan.tiers))))
        for plan in plans
    )


def _candidates(situation: Situation, plan: Plan, budget: int, spare: int) -> Iterator[Plan]:
    """Ways to fit, the one that loses least first."""
    yield plan
    moved = (_moved(situation, plan, end) for end in situation.overflows)
    imaged = [_coarsen(situation, each, budget) for each in moved]
    some, none = imaged[:-1], imaged[-1:]  # of the newest turns as text
    yield from some or none
    for each in (plan, *some):
        yield _forget(situation, each, spare)
    yield from none
    yield from (_forget(situation, each, spare) for each in none)


def _moved(situation: Situation, plan: Plan, end: Frontier) -> Plan:
    """The plan with its frontier moved on for the budget's sake."""
    before = len(plan.tiers)
    draft = Draft(situation.move(plan, end))
    new = np.arange(len(draft.tiers)) >= before
    draft.set(new, draft.tiers, f"as its turns had to leave the text {_to_fit(situation)}")
    return draft.plan()


def _coarsen(situation: Situation, plan: Plan, target: int) -> Plan:
    """Step pages down, the oldest first and as far as it goes, until `target` is met."""
    excess = situation.tokens(plan) - target
    if excess <= 0:
        return plan
    pages, draft = situation.table, Draft(plan)
    count = len(draft.tiers)
    coarsest = np.maximum(pages.coarsest[:count], draft.tiers)
    saved = np.cumsum(pages.spent(draft.tiers) - pages.spent(coarsest))
    enough = int(np.searchsorted(np.maximum.accumulate(saved), excess))
    tiers = draft.tiers.copy()
    tiers[:enough] = coarsest[:enough]
    if enough < count:  # this one need not go all the way
        row = pages.costs[enough]
        most = row[tiers[enough]] - excess + (int(saved[enough - 1]) if enough else 0)
        steps = range(int(tiers[enough]) + 1, int(coarsest[enough]) + 1)
        tiers[enough] = next(t for t in steps if row[t] != ABSENT and row[t] <= most)
    changed = tiers != draft.tiers
    draft.set(changed, tiers, f"coarser than by its age {_to_fit(situation)}")
    return draft.plan()


def _forget(situation: Situation, plan: Plan, target: int) -> Plan:
    """Drop pages out of the context, the oldest first, until `target` is met or none is left."""
    excess = situation.tokens(plan) - target
    draft = Draft(plan)
    if excess <= 0:
        return plan
    if not situation.gone and not (draft.tiers == Tier.FORGOTTEN).any():
        excess += situation.marker
    freed = situation.table.spent(draft.tiers)
    loose = _loose(situation, plan)
    for kept, tokens in loose:
        if kept.last >= plan.gone:
            freed[kept.last - plan.gone] += tokens
        else:
            excess -= tokens
    count = int(np.searchsorted(np.cumsum(freed), excess)) + 1 if excess > 0 else 0
    oldest = (np.arange(len(freed)) < count) & (draft.tiers != Tier.FORGOTTEN)
    draft.set(oldest, Tier.FORGOTTEN, _to_fit(situation))
    gone = {kept for kept, _ in loose if kept.last < plan.gone + count}
    left = draft.plan()
    return replace(left, kept=tuple(kept for kept in left.kept if kept not in gone))


def _loose(situation: Situation, plan: Plan) -> list[tuple[Kept, int]]:
    """What stands beside pages and is not pinned, and what it costs."""
    known = {remark.start: remark for remark in situation.remarks}
    return [
        (kept, known[kept.start].tokens if plan.shows(kept) else 0)
        for kept in plan.kept
        if not known[kept.start].pinned
    ]


def _to_fit(situation: Situation) -> str:
    return f"to fit the budget of {situation.budget:,} tokens"
