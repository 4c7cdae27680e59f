"""Rehearsal: what was recalled comes back sharp, and decays again, as in human memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from optimem.modes import Tier
from optimem.policies.decay import AgeDecay
from optimem.policies.draft import Draft
from optimem.policies.policy import Listener, Policy, Situation, codes, listeners
from optimem.values import Plan, Tiers


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Lets pages be as young as their last recall.

    The exact words came with the recall, as text; the page comes back with the next epoch,
    in the tier that its new age gives it. Only a recall raises a tier, and each one does so
    once: after that the page fades as any other, and what the budget takes stays taken.
    What is out of the context stays out, a recall away.

    Attributes:
        step: the policy that fades by age.
        sharpest: the tier that a recalled page comes back in at most.
    """

    step: Policy = field(default_factory=AgeDecay)
    sharpest: Tier = Tier.LARGE

    @property
    def waits(self) -> bool:
        """Whether the step does."""
        return bool(getattr(self.step, "waits", False))

    @property
    def fades(self) -> bool:
        """Whether the step does."""
        return bool(getattr(self.step, "fades", False))

    @property
    def rehearses(self) -> bool:
        """It has to be told what was recalled."""
        return True

    def listeners(self) -> Sequence[Listener]:
        """Those whom the step sends to listen."""
        return listeners(self.step)

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        """What the step makes of the pages with their new ages."""
        shown = range(situation.gone, situation.gone + len(plan.tiers))
        recalled = {n: age for n, age in situation.recalled.items() if n in shown}
        if not recalled:
            return self.step.apply(situation, plan)
        numbers = sorted(recalled)
        places = np.array(numbers) - situation.gone
        ages = [recalled[number] for number in numbers]
        pages, past = situation.table, codes(plan).copy()
        turns, tokens, seconds = pages.turns.copy(), pages.tokens.copy(), pages.seconds.copy()
        turns[places] = np.minimum(turns[places], [age.turns for age in ages])
        tokens[places] = np.minimum(tokens[places], [age.tokens for age in ages])
        seconds[places] = np.minimum(seconds[places], [age.seconds for age in ages])
        younger = replace(pages, turns=turns, tokens=tokens, seconds=seconds)
        renewed = places[[age.renewed for age in ages]]
        risen = past.copy()
        risen[renewed] = np.minimum(past[renewed], self.sharpest)
        made = self.step.apply(
            replace(situation, pages=younger), replace(plan, tiers=Tiers(risen.tobytes()))
        )
        if not situation.explained:
            return made
        renewed = renewed[renewed < len(made.tiers)]  # what overflowed may be text again
        came_back = renewed[codes(made)[renewed] < past[renewed]]
        draft = Draft(made)
        draft.set(came_back, draft.tiers, "as it was recalled")
        return draft.plan()
