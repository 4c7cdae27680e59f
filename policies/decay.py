"""Fading by age, after the ladder of DeepSeek-OCR's Figure 13 (arXiv 2510.18234, Discussion)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log2
from typing import ClassVar, Literal

import numpy as np

from optimem.modes import MODES, Tier
from optimem.policies.candidates import Candidates, Whole
from optimem.policies.draft import Draft
from optimem.policies.policy import Situation, codes
from optimem.values import Plan, Tiers

Ladder = tuple[tuple[Tier, float], ...]
"""Rungs of (tier, age from which it holds), from sharp to gone."""

Unit = Literal["turns", "tokens", "time"]

_HOUR, _DAY = 3600.0, 86400.0
_FIGURE_13_TIMES: Ladder = (
    (Tier.GUNDAM, _HOUR),
    (Tier.LARGE, _DAY),
    (Tier.BASE, 7 * _DAY),
    (Tier.SMALL, 30 * _DAY),
    (Tier.TINY, 365 * _DAY),
    (Tier.FORGOTTEN, 3650 * _DAY),
)
_LEFT = 1 / 16  # of a page's pixels: when less would do, it is forgotten


def _doubling(first: float, gone: float) -> Ladder:
    """Each mode lasts twice as long as the one before."""
    modes = (Tier.GUNDAM, Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY)
    rungs = tuple((mode, first * 2**step) for step, mode in enumerate(modes))
    return (*rungs, (Tier.FORGOTTEN, gone))


@dataclass(frozen=True, slots=True)
class AgeDecay:
    """Gives each page the tier of its age, and never a sharper one than it had.

    Figure 13 names the tiers and, for human memory, the times; it has no formula. The
    default counts turns, since agents work in bursts: text for 8 turns, the sharp modes each
    for twice as long as the one before, Small from 64 turns on, Tiny from 2,048, gone after
    3,072. Small lasts longest, since it is the coarsest mode in which most exact strings are
    still read whole (`optimem bench policy`).

    Attributes:
        unit: what ages are counted in.
        ladder: from which age on each tier holds.
    """

    fades: ClassVar[bool] = True

    unit: Unit = "turns"
    ladder: Ladder = (
        (Tier.GUNDAM, 8),
        (Tier.LARGE, 16),
        (Tier.BASE, 32),
        (Tier.SMALL, 64),
        (Tier.TINY, 2048),
        (Tier.FORGOTTEN, 3072),
    )

    @classmethod
    def in_tokens(cls) -> AgeDecay:
        """Text for 4,096 tokens, gone after about a million."""
        return cls("tokens", _doubling(4096, 1 << 20))

    @classmethod
    def in_time(cls) -> AgeDecay:
        """Figure 13's own times: an hour, a day, a week, a month, a year; gone after ten."""
        return cls("time", _FIGURE_13_TIMES)

    @classmethod
    def by_half_life(cls, half: float, text: float = 8, unit: Unit = "turns") -> AgeDecay:
        """Pages that lose half of their pixels each time so much age goes by, as traces decay.

        A mode holds from the age on at which no more pixels are left than it has, beside
        the 1280 x 1280 of the sharpest; after four half-lives a page is gone.

        Args:
            half: the half-life.
            text: the age up to which turns stay text.
            unit: what both are counted in.
        """
        sharpest = max(mode.side for mode in MODES)
        rungs = [(mode, text + half * 2 * log2(sharpest / mode.side)) for mode in MODES]
        return cls(unit, (*rungs, (Tier.FORGOTTEN, text - half * log2(_LEFT))))

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
        pages, ends = situation.table, situation.ends
        rungs = self._rungs(pages)
        # What left the text does not come back, also where a recall has made it young.
        young = np.flatnonzero(rungs[len(plan.tiers) :] == 0)
        shown = situation.gone + (len(plan.tiers) + int(young[0]) if len(young) else len(pages))
        place = max(
            int(np.searchsorted(ends.pages, shown, side="right")),
            int(np.searchsorted(ends.starts, plan.frontier, side="right")),
        )
        moved = situation.move(plan, ends[max(place - 1, 0)])
        before = np.zeros(len(moved.tiers), np.uint8)
        past = codes(plan)[: len(before)]
        before[: len(past)] = past
        rungs = rungs[: len(before)]
        wishes = np.array([Tier.TEXT, *(tier for tier, _ in self.ladder)], np.uint8).take(rungs)
        tiers = pages.at_most_as_sharp_as(np.maximum(wishes, before))
        if not situation.explained:
            return replace(moved, tiers=Tiers(tiers.tobytes()))
        draft = Draft(moved)
        draft.tiers = before
        draft.set_each(tiers, self._said(), rungs)
        return draft.plan()

    def _rungs(self, pages: Candidates) -> Whole:
        """(pages,): how many rungs each has come down."""
        ages = {"turns": pages.turns, "tokens": pages.tokens, "time": pages.seconds}[self.unit]
        starts = np.array([start for _, start in self.ladder])
        falling = ages
        if (ages[1:] > ages[:-1]).any():  # some were recalled
            falling = np.maximum.accumulate(ages[::-1])[::-1]
        # Where ages fall from page to page it is enough to look for the ends of each rung.
        ends = len(ages) - np.searchsorted(falling[::-1], starts[::-1])
        lengths = np.diff(ends, prepend=0, append=len(ages))
        rungs = np.repeat(np.arange(len(starts), -1, -1), lengths)
        if falling is not ages:
            young = np.flatnonzero(falling != ages)
            rungs[young] = np.searchsorted(starts, ages[young], side="right")
        return rungs

    def _said(self) -> list[str]:
        said = [_span(start, self.unit) for _, start in self.ladder]
        return ["as its turns left the text together with others", *said]


def _span(start: float, unit: Unit) -> str:
    if unit != "time":
        return f"as it is {start:,.0f} {unit} old or older"
    if start < _DAY:
        return f"as it is {start / _HOUR:,.3g} hours old or older"
    return f"as it is {start / _DAY:,.3g} days old or older"
