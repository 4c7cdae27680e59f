"""Epochs: many changes at once, and none in between.

Providers cache exact prefixes. A boundary that moves with every turn pays for the whole
prefix again each time, so a plan is kept, byte for byte, until a new one is worth it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from optimem.errors import BudgetError
from optimem.policies.budget import TokenBudget
from optimem.policies.decay import AgeDecay
from optimem.policies.policy import Listener, Policy, Situation, listeners, rehearses
from optimem.values import Plan, Rehearsed

_TURNS_A_REQUEST = 2  # a model's own and what answers it
_CAUTION = 4  # what changing costs is paid at once, and any session may end before it is earned


@dataclass(frozen=True, slots=True)
class Epochs:
    """Keeps the past plan until it overflows or a fresh one saves enough.

    Attributes:
        steps: the policies that make a fresh plan, in order.
        high: share of the budget that the kept plan may reach: the high-water mark.
        saving: share of the context's tokens that a fresh plan must save to be taken, with
            what is kept beside pages counted as it stands.
        horizon: further requests within which a fresh plan must have earned what it costs
            to send its changed part anew past the reader's cache; None for a
            share of those of the epoch so far, so that the more a change costs the rarer it is.
        cold: the saving that does once the session was idle for longer than the cache's
            life, so that the whole context is sent anew in any case.
        cliffs: stay below the length from which a reader bills the whole input at a higher
            price, wherever a plan does.
    """

    steps: Sequence[Policy] = field(default_factory=lambda: (AgeDecay(), TokenBudget()))
    high: float = 1.0
    saving: float = 0.25
    horizon: int | None = None
    cold: float = 0.05
    cliffs: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.high <= 1 or not 0 <= self.saving <= 1:
            raise ValueError("high must be above 0 and at most 1, saving between 0 and 1")
        if not 0 <= self.cold <= 1 or (self.horizon is not None and self.horizon < 1):
            raise ValueError("cold must be between 0 and 1, and horizon at least 1")

    @property
    def rehearses(self) -> bool:
        """Whether a step goes by what was recalled."""
        return any(map(rehearses, self.steps))

    def listeners(self) -> Sequence[Listener]:
        """Those whom the steps send to listen."""
        return [heard for step in self.steps for heard in listeners(step)]

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        """The past plan, or the first plan of a new epoch.

        Raises:
            BudgetError: no plan fits the budget.
        """
        cheap = self._below_cliff(situation)
        if cheap is not None:
            with suppress(BudgetError):
                return self._apply(cheap, plan)
        return self._apply(situation, plan)

    def _below_cliff(self, situation: Situation) -> Situation | None:
        """The situation with a budget below the cliff, if there is one within the budget."""
        if not self.cliffs or situation.cache is None or situation.cache.cliff is None:
            return None
        edge = situation.cache.cliff[0]
        if situation.budget is not None and situation.budget <= edge:
            return None
        return replace(situation, budget=edge)

    def _apply(self, situation: Situation, plan: Plan) -> Plan:
        if situation.past is None:
            return self._fresh(situation, plan)
        kept = situation.tokens(plan, situation.past)
        if situation.budget is not None and kept > situation.budget * self.high:
            return self._fresh(situation, plan)
        fading = [step for step in self.steps if not getattr(step, "waits", False)]
        if fading and all(getattr(step, "fades", False) for step in fading):
            if not self._fades_enough(situation, plan, kept, fading):
                return plan
            fresh = self._fresh(situation, plan)
            tokens = situation.tokens(fresh)
            return fresh if tokens < kept or tokens == kept and not self.saving else plan
        if not fading and not _is_cold(situation):
            return plan
        fresh = self._fresh(situation, plan)
        tokens = situation.tokens(fresh)
        worth = self._saves(situation, kept, tokens)
        return fresh if worth and self._earns(situation, plan, kept, tokens, fresh) else plan

    def _fades_enough(
        self, situation: Situation, plan: Plan, kept: int, steps: Sequence[Policy]
    ) -> bool:
        """Whether fading alone is worth an epoch, with what is kept beside pages as it stands."""
        alone = replace(situation, remarks=(), recalled={}, explained=False)
        faded = _faded(alone, plan, steps)
        tokens = situation.tokens(faded) + situation.kept_tokens(plan)
        if not self._saves(situation, kept, tokens):
            return False
        if self.rehearses and situation.recalled:  # which only adds to it
            faded = _faded(replace(alone, recalled=situation.recalled), plan, steps)
            tokens = situation.tokens(faded) + situation.kept_tokens(plan)
        saves = self._saves(situation, kept, tokens)
        return saves and self._earns(situation, plan, kept, tokens, faded)

    def _saves(self, situation: Situation, kept: int, tokens: int) -> bool:
        """Whether so many tokens are enough fewer than those kept."""
        return tokens <= kept * (1 - (self.cold if _is_cold(situation) else self.saving))

    def _earns(self, situation: Situation, plan: Plan, kept: int, tokens: int, fresh: Plan) -> bool:
        """Whether fewer tokens pay for sending what changes past the cache."""
        cache = situation.cache
        if cache is None or _is_cold(situation):
            return True
        # An epoch's saving grows from nothing to what it is now: half of it on average.
        lasted = (situation.turns - plan.made) / _TURNS_A_REQUEST
        horizon = self.horizon or lasted / 2 / _CAUTION
        anew = tokens - situation.unchanged(plan, fresh)
        return (cache.write - cache.read) * anew <= horizon * cache.read * (kept - tokens)

    def _fresh(self, situation: Situation, past: Plan) -> Plan:
        plan = past
        for step in self.steps:
            plan = step.apply(situation, plan)
        if not past.pages:
            plain = situation.move(replace(past, kept=()), situation.ends[0])
            costs = situation.tokens(plain), situation.tokens(plan)
            if costs[0] <= costs[1]:  # imaging does not pay
                reason = f"which costs {costs[0]:,} tokens and with pages would cost {costs[1]:,}"
                plan = replace(plain, reasons=((0, reason),) if plan.pages else ())
        rehearsed = tuple(Rehearsed(*each[:3], True) for each in past.rehearsed)
        return replace(
            plan.settled(), epoch=past.epoch + 1, made=situation.turns, rehearsed=rehearsed
        )


def _faded(situation: Situation, past: Plan, steps: Sequence[Policy]) -> Plan:
    """What some steps make of the pages alone."""
    plan = replace(past, kept=())
    for step in steps:
        plan = step.apply(situation, plan)
    return plan


def _is_cold(situation: Situation) -> bool:
    """Whether the reader's cache has let go of the session, as far as can be told."""
    return situation.cache is not None and situation.idle > situation.cache.life
