"""Epochs: many changes at once, and none in between.

Providers cache exact prefixes. A boundary that moves with every turn pays for the whole
prefix again each time, so a plan is kept, byte for byte, until a new one is worth it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from optimem.policies.budget import TokenBudget
from optimem.policies.decay import AgeDecay
from optimem.policies.policy import Policy, Situation
from optimem.values import Plan


@dataclass(frozen=True, slots=True)
class Epochs:
    """Keeps the past plan until it overflows or a fresh one saves enough.

    Attributes:
        steps: the policies that make a fresh plan, in order.
        high: share of the budget that the kept plan may reach: the high-water mark.
        saving: share of the context's tokens that a fresh plan must save to be taken.
    """

    steps: Sequence[Policy] = field(default_factory=lambda: (AgeDecay(), TokenBudget()))
    high: float = 1.0
    saving: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.high <= 1 or not 0 <= self.saving <= 1:
            raise ValueError("high must be above 0 and at most 1, saving between 0 and 1")

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        """The past plan, or the first plan of a new epoch.

        Raises:
            BudgetError: no plan fits the budget.
        """
        fits = situation.past is not None and (
            situation.budget is None
            or situation.tokens(plan, situation.past) <= situation.budget * self.high
        )
        if situation.past is not None and fits:
            kept = situation.tokens(plan, situation.past)
            fresh = self._fresh(situation, plan)
            return plan if situation.tokens(fresh) > kept * (1 - self.saving) else fresh
        return self._fresh(situation, plan)

    def _fresh(self, situation: Situation, past: Plan) -> Plan:
        plan = past
        for step in self.steps:
            plan = step.apply(situation, plan)
        plain = situation.move(Plan(), situation.frontiers[0])
        if not past.pages and situation.tokens(plain) <= situation.tokens(plan):
            plan = plain  # imaging does not pay
        return replace(plan.settled(), epoch=past.epoch + 1)
