"""The best use of a budget: each page in the tier in which its tokens retain most value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from optimem.modes import MODES, Tier
from optimem.policies.candidates import ABSENT, Codes, Frontier, Whole
from optimem.policies.draft import Draft
from optimem.policies.policy import Situation, codes
from optimem.policies.solver import Cached, Floats, Solution, solve
from optimem.values import Plan, Tiers

CHARACTERS: Mapping[Tier, float] = {
    Tier.BASE: 0.9910,
    Tier.PX896: 0.9910,
    Tier.SMALL: 0.9794,
    Tier.TINY: 0.9550,
}
"""The share of characters that Tesseract 5.3 reads in a mode: the mean of prose, dialogue, code,
JSON and random ids (`optimem bench legibility`, docs/bench/legibility.json, docs/LOG.md). A
stand-in for readers whose own shares nobody has measured: see `Memory.fidelity`."""

_NEW = 255  # no tier
_WORD = 6  # characters, the blank behind it included: a word is read when all of them are


@dataclass(frozen=True, slots=True)
class BestValue:
    """Chooses tiers, and how many turns stay text, that retain most value within the budget.

    What a page is worth is its tokens times its freshness: a page that nobody has used for
    `half` turns counts half. What is worth more to those who listen (see `Salience`) counts
    more. A tier retains the share of words that the reader reads in it. The solver then finds
    the best choice, exactly for as many as 200 pages, and forgets what is worth least, not
    what is oldest. No page gets sharper than it was, and a change far in front must be worth
    what it costs to send all behind it anew.

    Without a budget everything stays as it is. Put `TokenBudget` behind it, for budgets in
    which only the newest exchange has room.

    Attributes:
        text: newest turns that stay text in any case.
        half: turns after which a page counts half.
        low: share of the budget to come down to, so that the next turns find room.
        salient: how much more a token counts that is worth 1 to those who listen.
        horizon: further requests within which a change must have earned its cost.
    """

    waits: ClassVar[bool] = True

    text: int = 8
    half: float = 128.0
    low: float = 0.75
    salient: float = 4.0
    horizon: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.low <= 1 or min(self.text, self.half, self.horizon) <= 0:
            raise ValueError("low must be above 0 and at most 1; text, half and horizon above 0")
        if self.salient < 0:
            raise ValueError("salient cannot be negative")

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        """The plan of most value that fits; unchanged where nothing has to."""
        budget, regular = situation.budget, situation.regular(plan)
        if budget is None or situation.tokens(regular) <= budget * self.low:
            return regular
        end = self._end(situation, plan)
        moved = situation.move(plan, end)
        before = codes(plan)[: len(moved.tiers)]
        notes = situation.fixed + situation.legend + situation.marker + end.tokens
        notes += situation.kept_tokens(moved)
        solution = self._solve(situation, moved, before, int(budget * self.low) - notes)
        if solution is None:
            solution = self._solve(situation, moved, before, budget - notes)
        if solution is None:
            return moved
        said = self._said(situation)
        draft = Draft(moved)
        draft.tiers = np.full(len(draft.tiers), _NEW, np.uint8)
        draft.tiers[: len(before)] = before
        draft.set_each(solution.tiers, said, solution.tiers.astype(np.int64))
        return self._retreat(situation, regular, draft.plan())

    def shares(self, situation: Situation) -> Floats:
        """(tiers,): the share of words that the reader reads in each tier.

        What was not measured is taken for no better than the next coarser mode that was.
        """
        characters = situation.fidelity or CHARACTERS
        found = np.zeros(len(Tier))
        found[Tier.TEXT] = 1.0
        below = 0.0
        for mode in reversed(MODES):
            below = characters.get(mode, below)
            found[mode] = max(below, 0.0) ** _WORD
        return found

    def _end(self, situation: Situation, plan: Plan) -> Frontier:
        """The last place at which text may begin."""
        start = max(situation.turns - self.text, plan.frontier)
        place = int(np.searchsorted(situation.ends.starts, start, side="right")) - 1
        return situation.ends[max(place, 0)]

    def _solve(
        self, situation: Situation, moved: Plan, before: Codes, room: int
    ) -> Solution | None:
        costs = situation.table.costs[: len(moved.tiers)].copy()
        sharper = np.arange(len(Tier)) < before[:, None]
        costs[: len(sharper)][sharper] = ABSENT
        values = self._needs(situation, moved)[:, None] * self.shares(situation)
        return solve(values, costs, room, self._cached(situation, moved, values, costs, room))

    def _needs(self, situation: Situation, plan: Plan) -> Floats:
        """(pages,): what each page is worth as text."""
        count, pages = len(plan.tiers), situation.table
        tokens = pages.costs[:count, Tier.TEXT].astype(np.float64)
        for remark in situation.remarks:
            place = remark.last - situation.gone
            if 0 <= place < count and not remark.pinned:
                tokens[place] += self.salient * remark.worth * remark.tokens
        return tokens / (1 + pages.turns[:count] / self.half)

    def _cached(
        self, situation: Situation, plan: Plan, values: Floats, costs: Whole, room: int
    ) -> Cached | None:
        """What a change costs, in value: the price of writing over reading, spread over turns."""
        cache, before = situation.cache, codes(situation.before)
        if cache is None or not len(before) or situation.idle > cache.life or not cache.read:
            return None
        known = before[: len(values)]
        if (costs[np.arange(len(known)), known] == ABSENT).any():
            return None  # the past plan does not stand any more
        extra = max(cache.write - cache.read, 0) / (cache.read * self.horizon)
        worth = float(np.where(costs == ABSENT, 0, values).max(axis=1, initial=0).sum())
        tail = situation.frontier(plan).tokens
        return Cached(known, extra * worth / max(room, 1), tail)

    def _retreat(self, situation: Situation, plan: Plan, made: Plan) -> Plan:
        """Leave those newest turns as they came whose pages would be text anyway."""
        tiers = codes(made)
        images = np.flatnonzero(tiers != Tier.TEXT)
        shown = max(int(images[-1]) + 1 if len(images) else 0, len(plan.tiers))
        ends = situation.ends
        place = int(np.searchsorted(ends.pages, shown + situation.gone, side="right")) - 1
        end = ends[max(place, 0)]
        if end.start >= made.frontier or end.start < plan.frontier:
            return made
        count = end.pages - situation.gone
        kept = tuple(each for each in made.kept if each.stop <= end.start)
        back = replace(made, tiers=Tiers(made.codes[:count]), frontier=end.start, kept=kept)
        back = replace(back, reasons=tuple(run for run in made.reasons if run[0] < end.pages))
        assert situation.budget is not None
        return back if situation.tokens(back) <= situation.budget else made

    def _said(self, situation: Situation) -> list[str]:
        use = f"the best use of {situation.budget:,} tokens"
        shares = self.shares(situation)
        said = [f"of which {shares[tier]:.0%} of the words are read: {use}" for tier in Tier]
        said[Tier.TEXT] = f"as it is worth its tokens: {use}"
        said[Tier.FORGOTTEN] = f"as others are worth more: {use}"
        return said
