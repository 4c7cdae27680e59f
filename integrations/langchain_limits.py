"""When pages begin and how much stays text, in the grammar of LangChain's own middleware.

`("tokens", 50_000)`, `("messages", 100)` or `("fraction", 0.8)`; for `trigger` also a dict of
several that must all be met, and a list of which one is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from optimem.errors import InputError
from optimem.modes import Tier
from optimem.policies import AgeDecay, Epochs, Policy, Situation, TokenBudget
from optimem.policies.decay import Ladder
from optimem.values import Plan

Limit = tuple[str, float]
Clause = tuple[Limit, ...]
Trigger = Limit | Mapping[str, float] | Sequence[Limit | Mapping[str, float]]

_KINDS = ("fraction", "tokens", "messages")
_LIVES = 256  # times `keep` until a page is gone, as in AgeDecay's own ladder
_NO_WHOLE = "a fraction needs a whole: pass budget=, or a model whose window is known"
_MODES = (Tier.GUNDAM, Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY)


@dataclass(frozen=True)
class Triggered:
    """Leaves everything as text until a trigger is met, or the budget is.

    Once pages are shown they stay.

    Attributes:
        policy: what plans from then on.
        clauses: any of them, and of it all limits.
    """

    policy: Policy
    clauses: tuple[Clause, ...]

    @property
    def rehearses(self) -> bool:
        """Whether the policy wants to be told of what is recalled."""
        return bool(getattr(self.policy, "rehearses", False))

    def listeners(self) -> Sequence[Any]:
        """Those whom the policy sends to listen."""
        listen = getattr(self.policy, "listeners", None)
        return cast("Sequence[Any]", listen()) if listen is not None else ()

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        """The policy's plan, or one without pages."""
        plain = situation.move(Plan(), situation.frontiers[0])
        if plan.pages == 0:
            tokens = situation.tokens(plain)
            fits = situation.budget is None or tokens <= situation.budget
            if fits and not any(self._met(clause, situation, tokens) for clause in self.clauses):
                return replace(plain, epoch=plan.epoch)
            situation = replace(situation, past=None)  # pages need not save much to begin
        return self.policy.apply(situation, plan)

    def _met(self, clause: Clause, situation: Situation, tokens: int) -> bool:
        amounts = {"tokens": tokens, "messages": situation.turns}
        return all(
            tokens >= value * _whole(situation) if kind == "fraction" else amounts[kind] >= value
            for kind, value in clause
        )


@dataclass(frozen=True)
class _Share:
    """Ages pages by tokens, and keeps a share of the budget as text."""

    fraction: float

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        decay = AgeDecay("tokens", _ladder(self.fraction * _whole(situation)))
        return decay.apply(situation, plan)


@dataclass(frozen=True)
class Limits:
    """What trigger, keep and budget amount to.

    Attributes:
        policy: plans pages; None for the default.
        budget: the most input tokens, as it was given.
        ceilings: tokens or shares of the window that stand in for a budget: where the trigger
            alone says how large a request may become.
    """

    policy: Policy | None
    budget: int | None
    ceilings: tuple[Limit, ...] = ()

    @classmethod
    def of(
        cls, trigger: Trigger | None, keep: Limit | None, policy: Policy | None, budget: int | None
    ) -> Limits:
        """Read them; raises InputError for what is not in the grammar."""
        if keep is not None:
            if policy is not None:
                raise InputError("keep= makes a policy of its own: pass keep= or policy=, not both")
            policy = _keeping(_limit(keep))
        if trigger is None:
            return cls(policy, budget)
        clauses = _clauses(trigger)
        sizes = [c for c in clauses if len(c) == 1 and c[0][0] != "messages" and budget is None]
        rest = tuple(clause for clause in clauses if clause not in sizes)
        ceilings = tuple(clause[0] for clause in sizes)
        return cls(Triggered(policy or Epochs(), rest), budget, ceilings)

    def most(self, window: int | None) -> int | None:
        """The most input tokens for a model with this window; None for no limit."""
        if self.budget is not None:
            return self.budget
        if window is None and any(kind == "fraction" for kind, _ in self.ceilings):
            raise InputError(_NO_WHOLE)
        sizes = [value * (window or 1) if k == "fraction" else value for k, value in self.ceilings]
        if window is not None:
            sizes.append(window)
        return int(min(sizes)) if sizes else None


def _keeping(keep: Limit) -> Policy:
    """Text for as many messages or tokens, then each mode for twice as long as the one before."""
    kind, value = keep
    if kind == "fraction":
        return Epochs((_Share(value), TokenBudget()))
    if kind == "tokens":
        return Epochs((AgeDecay("tokens", _ladder(value)), TokenBudget()))
    return Epochs((AgeDecay("turns", _ladder(value)), TokenBudget(keep=max(int(value), 1))))


def _ladder(first: float) -> Ladder:
    rungs = tuple((mode, first * 2**step) for step, mode in enumerate(_MODES))
    return (*rungs, (Tier.FORGOTTEN, first * _LIVES))


def _whole(situation: Situation) -> int:
    """What a fraction is a fraction of."""
    if situation.budget is None:
        raise InputError(_NO_WHOLE)
    return situation.budget


def _clauses(trigger: Trigger) -> tuple[Clause, ...]:
    if _is_limit(trigger) or isinstance(trigger, Mapping):
        return (_clause(trigger),)
    if not isinstance(trigger, Sequence) or not trigger:
        raise InputError(f"trigger= cannot be {trigger!r}: use {_EXAMPLE}, a dict or a list")
    return tuple(_clause(each) for each in trigger)


def _clause(clause: Any) -> Clause:
    if isinstance(clause, Mapping) and clause:
        return tuple(_limit(limit) for limit in clause.items())
    return (_limit(clause),)


_EXAMPLE = '("tokens", 50_000), ("messages", 100) or ("fraction", 0.8)'


def _is_limit(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)


def _limit(limit: Any) -> Limit:
    """A limit in order; raises InputError."""
    if _is_limit(limit) and limit[0] in _KINDS and isinstance(limit[1], (int, float)):
        kind, value = limit
        if value > 0 and (kind != "fraction" or value <= 1):
            return kind, value
    raise InputError(f"{limit!r} is no limit: use {_EXAMPLE}")
