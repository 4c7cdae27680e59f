"""Fading by age, after the ladder of DeepSeek-OCR's Figure 13 (arXiv 2510.18234, Discussion)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from optimem.modes import Tier
from optimem.policies.policy import Candidate, Situation
from optimem.values import Plan

Ladder = tuple[tuple[Tier, float], ...]
"""Rungs of (tier, age from which it holds), from sharp to gone."""

_HOUR, _DAY = 3600.0, 86400.0
_FIGURE_13_TIMES: Ladder = (
    (Tier.GUNDAM, _HOUR),
    (Tier.LARGE, _DAY),
    (Tier.BASE, 7 * _DAY),
    (Tier.SMALL, 30 * _DAY),
    (Tier.TINY, 365 * _DAY),
    (Tier.FORGOTTEN, 3650 * _DAY),
)


def _doubling(first: float, gone: float) -> Ladder:
    """Each mode lasts twice as long as the one before."""
    modes = (Tier.GUNDAM, Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY)
    rungs = tuple((mode, first * 2**step) for step, mode in enumerate(modes))
    return (*rungs, (Tier.FORGOTTEN, gone))


@dataclass(frozen=True, slots=True)
class AgeDecay:
    """Gives each page the tier of its age, and never a sharper one than it had.

    Figure 13 names the tiers and, for human memory, the times; it has no formula. The
    default counts turns, since agents work in bursts: text for 8 turns, then each mode for
    twice as long as the one before, gone after 2,048.

    Attributes:
        unit: what ages are counted in.
        ladder: from which age on each tier holds.
    """

    unit: Literal["turns", "tokens", "time"] = "turns"
    ladder: Ladder = _doubling(8, 2048)

    @classmethod
    def in_tokens(cls) -> AgeDecay:
        """Text for 4,096 tokens, gone after about a million."""
        return cls("tokens", _doubling(4096, 1 << 20))

    @classmethod
    def in_time(cls) -> AgeDecay:
        """Figure 13's own times: an hour, a day, a week, a month, a year; gone after ten."""
        return cls("time", _FIGURE_13_TIMES)

    def __post_init__(self) -> None:
        tiers = [tier for tier, _ in self.ladder]
        ages = [age for _, age in self.ladder]
        if (
            not tiers
            or tiers != sorted(set(tiers))
            or ages != sorted(ages)
            or tiers[0] == Tier.TEXT
        ):
            raise ValueError("a ladder names tiers from sharp to faded, with ages that do not fall")

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        """Fade every page to its age and move the frontier behind the last faded one."""
        wishes = [self._tier(page) for page in situation.pages]
        shown = next((n for n, tier in enumerate(wishes) if tier == Tier.TEXT), len(wishes))
        shown += situation.gone
        left = 0 if plan.overflow else plan.frontier  # what left the text does not come back
        frontier = max(
            (end for end in situation.frontiers if end.pages <= shown or end.start <= left),
            key=lambda end: end.start,
        )
        moved = situation.move(plan, frontier)
        past = plan.tiers + (Tier.TEXT,) * len(moved.tiers)
        rows = zip(situation.pages, moved.tiers, wishes, past, strict=False)
        tiers = (page.at_most_as_sharp_as(max(wish, before)) for page, _, wish, before in rows)
        return replace(moved, tiers=tuple(tiers))

    def _tier(self, page: Candidate) -> Tier:
        age = {"turns": page.turns, "tokens": page.tokens, "time": page.seconds}[self.unit]
        return max((tier for tier, start in self.ladder if age >= start), default=Tier.TEXT)
