"""Planning: a policy's plan, priced as pages stand on sheets, that one request can carry."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from optimem.errors import BudgetError
from optimem.modes import Tier
from optimem.planning.segments import Segments
from optimem.policies import Policy, Situation
from optimem.policies.candidates import ABSENT
from optimem.readers import Profile
from optimem.readers.carry import most_bytes, page_bytes, page_images
from optimem.readers.openai import Image
from optimem.renderers.sheets import most_saved
from optimem.values import Plan, Tiers

_TRIES = 4  # at a plan whose pages stand on sheets, or whose images are too many
_SMALLER = 0.75  # of the tokens: what a plan whose images are too many is made for next


class Planner:
    """Plans for one session.

    Args:
        policy: decides the tiers.
        segments: what a plan shows.
        image: gives media type and bytes of a page or attachment segment.
    """

    def __init__(self, policy: Policy, segments: Segments, image: Image) -> None:
        self._policy = policy
        self._segments = segments
        self._image = image

    def plan(self, profile: Profile, situation: Situation, past: Plan | None) -> Plan:
        """A plan whose images a request may carry: coarser where they would be too much.

        Where no smaller budget helps, the oldest pages are forgotten.
        """
        plan = self._plan(profile, situation, past)
        if plan == past or self._carries(profile, plan):
            return plan
        budget = self._tokens(profile, situation, plan, None)
        for _ in range(_TRIES):
            budget = int(budget * _SMALLER)
            with suppress(BudgetError):
                plan = self._plan(profile, replace(situation, budget=budget), past)
            if self._carries(profile, plan):
                return plan
        while not self._carries(profile, plan):
            gone = -(-len(plan.tiers) // 8)
            tiers = Tiers(bytes([Tier.FORGOTTEN]) * gone + plan.codes[gone:])
            plan = replace(plan, tiers=tiers).settled()
        return plan

    def _carries(self, profile: Profile, plan: Plan) -> bool:
        """Whether a request may carry a plan's images: pages and what stands beside them."""
        if profile.counter is not None:  # it runs here: nothing is sent
            return True
        images = list(self._segments.images(profile, plan))
        most, room = page_images(profile), page_bytes(profile)
        if most is not None and len(images) > most:
            return False
        if sum(most_bytes(each) for each in images) <= room:
            return True
        return sum(len(self._image(each)[1]) for each in images) <= room

    def _plan(self, profile: Profile, situation: Situation, past: Plan | None) -> Plan:
        """What the policy makes of a situation, with the prices that pages have on sheets.

        What is over of a sheet costs more than its share. Where such a plan would not fit
        its budget, it is made for a smaller one, and last with each page's own price.
        """
        saved = self._savings(profile)
        if saved:
            less = np.array([saved.get(tier, 0) for tier in Tier])
            costs = situation.table.costs
            costs = np.where(costs == ABSENT, ABSENT, costs - less)
            on_sheets = replace(situation, pages=replace(situation.table, costs=costs))
            for _ in range(_TRIES):
                plan = self._policy.apply(on_sheets, past or Plan()).settled()
                text = situation.past if plan == past else None
                over = self._tokens(profile, situation, plan, text) - (situation.budget or 0)
                if situation.budget is None or over <= 0:
                    return plan
                on_sheets = replace(on_sheets, budget=(on_sheets.budget or 0) - over)
        return self._policy.apply(situation, past or Plan()).settled()

    def _savings(self, profile: Profile) -> Mapping[Tier, int]:
        """The tokens that each page of a mode costs less on the best of sheets."""
        if profile.provider == "local":
            return {}
        return {tier: saved for tier in profile.modes if (saved := most_saved(profile, tier))}

    def _tokens(self, profile: Profile, situation: Situation, plan: Plan, text: int | None) -> int:
        """What a context costs whose pages stand on sheets."""
        groups = self._segments.groups(profile, plan)
        sheets = [group.sheet for group in groups if group.sheet is not None]
        tokens = situation.tokens(plan, text)
        tokens -= sum(profile.page_cost(s.tier) * s.pages - s.tokens for s in sheets)
        return tokens + (self._segments.sheets_tokens(profile) if sheets else 0)
