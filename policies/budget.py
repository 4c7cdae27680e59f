"""Making a plan fit: the oldest pages pay first, and nothing is forgotten while it need not be."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace

from optimem.errors import BudgetError
from optimem.modes import Tier
from optimem.policies.policy import Frontier, Situation
from optimem.values import Plan


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """Coarsens the oldest pages until the context fits its budget.

    In this order: pages coarser from the oldest on; fewer turns as text; the newest
    exchange shown as pages itself, if that spares the others; and last pages forgotten from
    the oldest on, with the newest exchange as text wherever it fits. The first two already
    aim at `low` times the budget, so that the next turns find room without another epoch.

    Attributes:
        low: share of the budget to come down to.
        keep: turns that stay text as long as the budget itself allows it.
    """

    low: float = 0.75
    keep: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.low <= 1 or self.keep < 1:
            raise ValueError("low must be above 0 and at most 1, and keep at least 1")

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        """The plan made to fit.

        Raises:
            BudgetError: no plan fits; names the smallest budget that would do.
        """
        budget = situation.budget
        if budget is None:
            return plan
        if situation.tokens(plan) > budget:
            target = int(budget * self.low)
            plan = _coarsen(situation, plan, target)
            plan = self._advance(situation, plan, target, self.keep)
            plan = self._advance(situation, plan, budget, 1)
        for candidate in _candidates(situation, plan, budget):
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
        end = max(situation.turns - keep, 0)
        ends = [f for f in situation.frontiers if plan.frontier < f.start <= end]
        if not ends or situation.tokens(plan) <= target:
            return plan
        # Every step is cheaper than the one before, so the first that fits is found by halving.
        first = bisect_left(ends, 1, key=lambda f: self._fits(situation, plan, f, target))
        return situation.move(plan, ends[min(first, len(ends) - 1)])

    @staticmethod
    def _fits(situation: Situation, plan: Plan, end: Frontier, target: int) -> int:
        return int(situation.tokens(situation.move(plan, end)) <= target)


def smallest_budget(situation: Situation) -> int:
    """The fewest tokens that any context of this situation takes: everything old forgotten."""
    ends = [situation.frontiers[0], situation.frontiers[-1]]
    ends += [situation.overflow] if situation.overflow is not None else []
    plans = (situation.move(Plan(), end) for end in ends)
    return min(
        situation.tokens(replace(plan, tiers=(Tier.FORGOTTEN,) * len(plan.tiers))) for plan in plans
    )


def _candidates(situation: Situation, plan: Plan, budget: int) -> Iterator[Plan]:
    """Ways to fit, the one that loses least first."""
    yield plan
    if situation.overflow is None:
        yield _forget(situation, plan, budget)
        return
    imaged = _coarsen(situation, situation.move(plan, situation.overflow), budget)
    yield imaged
    yield _forget(situation, plan, budget)
    yield _forget(situation, imaged, budget)


def _coarsen(situation: Situation, plan: Plan, target: int) -> Plan:
    """Step pages down, the oldest first and as far as it goes, until `target` is met."""
    tiers = list(plan.tiers)
    excess = situation.tokens(plan) - target
    for number, page in enumerate(situation.pages[: len(tiers)]):
        while excess > 0 and tiers[number] < page.coarsest:
            cheaper = [t for t in page.costs if tiers[number] < t <= page.coarsest]
            step = min(cheaper)
            excess -= page.costs[tiers[number]] - page.costs[step]
            tiers[number] = step
    return replace(plan, tiers=tuple(tiers))


def _forget(situation: Situation, plan: Plan, budget: int) -> Plan:
    """Drop pages out of the context, the oldest first, until it fits or none is left."""
    tiers = list(plan.tiers)
    excess = situation.tokens(plan) - budget
    if excess > 0 and not situation.gone and Tier.FORGOTTEN not in tiers:
        excess += situation.marker
    for number, page in enumerate(situation.pages[: len(tiers)]):
        if excess <= 0:
            break
        excess -= page.costs[tiers[number]]
        tiers[number] = Tier.FORGOTTEN
    return replace(plan, tiers=tuple(tiers))
