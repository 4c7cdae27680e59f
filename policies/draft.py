"""A plan while a policy refines it: tiers that can be set, each change with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from optimem.modes import Tier
from optimem.policies.candidates import Codes
from optimem.policies.policy import Situation, codes
from optimem.values import Plan, Tiers

Places = NDArray[np.bool_] | NDArray[np.int64]


class Draft:
    """The tiers of a plan, and why they are what they are.

    Args:
        plan: where it starts from.

    Attributes:
        tiers: (pages,): a tier for each page of the plan from `gone` on.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.tiers: Codes = codes(plan).copy()
        self._phrases = ["", *(phrase for _, phrase in plan.reasons)]
        starts = np.array([0, *(page - plan.gone for page, _ in plan.reasons), len(self.tiers)])
        lengths = np.diff(starts.clip(0, len(self.tiers)))
        self._why = np.repeat(np.arange(len(lengths)), lengths)

    def set(self, places: Places, tiers: Codes | int, why: str) -> None:
        """Put the pages at some places into tiers, all for one reason."""
        self.tiers[places] = tiers if isinstance(tiers, int) else tiers[places]
        self._phrases.append(why)
        self._why[places] = len(self._phrases) - 1

    def set_each(self, tiers: Codes, phrases: Sequence[str], which: NDArray[np.int64]) -> None:
        """Put all pages into tiers; where one changes, the reason is the phrase at `which`."""
        changed = self.tiers != tiers
        self._why = np.where(changed, which + len(self._phrases), self._why)
        self._phrases += phrases
        self.tiers = tiers

    def plan(self, text: str = "") -> Plan:
        """The plan as it now stands.

        Args:
            text: why the turns behind the pages stand as text.
        """
        plan, why = self._plan, self._why
        changes = np.flatnonzero(why[1:] != why[:-1]) + 1
        starts = [0, *changes.tolist()] if len(why) else []
        runs = [(plan.gone + at, self._phrases[why[at]]) for at in starts]
        gone = [run for run in plan.reasons if run[0] < plan.gone][-1:]
        end = [(plan.gone + len(why), text)]
        reasons: list[tuple[int, str]] = []
        for run in (*gone, *runs, *end):
            if run[1] != (reasons[-1][1] if reasons else ""):
                reasons.append(run)
        return replace(plan, tiers=Tiers(self.tiers.tobytes()), reasons=tuple(reasons))


def text_where_cheaper(situation: Situation, plan: Plan) -> Plan:
    """The plan with pages as text that would cost more with what is kept beside them.

    Only such pages as never were anything else: a page that has faded does not come back.
    """
    if not plan.kept:
        return plan
    draft, pages = Draft(plan), situation.table
    beside = np.zeros(len(draft.tiers), np.int64)
    costs = {remark.start: remark.tokens for remark in situation.remarks}
    for kept in plan.kept:
        if kept.first == kept.last >= plan.gone and kept.last < plan.pages:
            beside[kept.last - plan.gone] += costs[kept.start]
    dearer = pages.spent(draft.tiers) + beside > pages.costs[: len(beside), Tier.TEXT]
    past = codes(situation.before)[: len(beside)]
    dearer[: len(past)] &= past == Tier.TEXT
    why = "as it would cost more as an image with what is kept beside it"
    draft.set(dearer & (beside > 0), Tier.TEXT, why)
    return draft.plan()
