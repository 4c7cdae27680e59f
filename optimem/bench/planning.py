"""How long planning takes: a whole session of many pages, and again after each append."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from optimem.modes import Tier
from optimem.policies import AgeDecay, Epochs, Policy, Situation, TokenBudget
from optimem.policies.candidates import Candidates, Frontiers, cost_row
from optimem.values import Plan

PAGES = 10_000
APPENDS = 1_000
_TURNS_A_PAGE = 5
_COSTS = {Tier.TEXT: 2_000, Tier.LARGE: 520, Tier.BASE: 370, Tier.SMALL: 210, Tier.TINY: 170}
_TURN = 400
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Planned:
    """Milliseconds of processor time.

    Attributes:
        whole: to plan all pages at once, none of which was planned before.
        append: to plan again after one append, on average over many, epochs included.
    """

    whole: float
    append: float


def measure_planning(policy: Policy | None = None, pages: int = PAGES) -> Planned:
    """Plan a long session.

    Args:
        policy: by default `Epochs()`, but for the last rung of its ladder, so that all pages
            stay in sight, within 4 million tokens.
        pages: how many.
    """
    if policy is None:
        ladder = tuple(rung for rung in AgeDecay().ladder if rung[0] != Tier.FORGOTTEN)
        policy = Epochs(steps=(AgeDecay("turns", ladder), TokenBudget()))
    whole = []
    for _ in range(_ROUNDS):
        situation = _situation(pages * _TURNS_A_PAGE, None, pages)
        begun = time.process_time()
        plan = policy.apply(situation, Plan())
        whole.append(time.process_time() - begun)
    plan = policy.apply(_situation(pages * _TURNS_A_PAGE, None, pages), Plan()).settled()
    append = 0.0
    for turn in range(APPENDS):
        situation = _situation(pages * _TURNS_A_PAGE + turn, plan, pages)
        begun = time.process_time()
        plan = policy.apply(situation, plan).settled()
        append += time.process_time() - begun
    return Planned(round(1000 * median(whole), 2), round(1000 * append / APPENDS, 3))


def _situation(turns: int, past: Plan | None, pages: int) -> Situation:
    """A session in which each page holds a few turns."""
    gone = past.gone if past else 0
    stops = np.arange(gone + 1, turns // _TURNS_A_PAGE + 1) * _TURNS_A_PAGE
    costs = np.tile(np.array(cost_row({**_COSTS, Tier.FORGOTTEN: 0}), np.int64), (len(stops), 1))
    starts = np.concatenate(([gone * _TURNS_A_PAGE], stops[stops < turns]))
    tokens = (turns - stops) * _TURN
    situation = Situation(
        pages=Candidates(costs, stops, turns - stops, tokens, np.zeros(len(stops)), gone),
        frontiers=Frontiers(starts // _TURNS_A_PAGE, starts, (turns - starts) * _TURN),
        turns=turns,
        legend=100,
        marker=20,
        budget=4_000_000,
        gone=gone,
    )
    return situation if past is None else replace(situation, past=(turns - past.frontier) * _TURN)
