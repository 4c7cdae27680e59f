"""What holds whichever policies are put together, while a session grows and is recalled from."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimem.errors import BudgetError
from optimem.modes import Tier
from optimem.policies import (
    Age,
    AgeDecay,
    BestValue,
    Cache,
    Candidate,
    Epochs,
    Frontier,
    Pinned,
    Policy,
    Rehearsal,
    Remark,
    Salience,
    Situation,
    TokenBudget,
    smallest_budget,
)
from optimem.values import Plan, Tiers

STEPS: dict[str, tuple[Policy, ...]] = {
    "default": (AgeDecay(), TokenBudget()),
    "half-life": (AgeDecay.by_half_life(12), Pinned(), TokenBudget(low=0.6, keep=2)),
    "tokens": (AgeDecay.in_tokens(), Pinned(), Salience(), TokenBudget()),
    "time": (Rehearsal(AgeDecay.in_time()), Pinned(), TokenBudget()),
    "rehearsal": (Rehearsal(AgeDecay.by_half_life(9)), Pinned(), Salience(0.3), TokenBudget()),
    "value": (BestValue(half=20), Pinned(), TokenBudget()),
    "salient value": (BestValue(low=0.9), Pinned(), Salience(0.2), TokenBudget()),
    "rehearsed value": (Rehearsal(BestValue()), Pinned(), TokenBudget()),
}
MODES = (Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY)


class Session:
    """A log that grows; what stands on which page, and what it costs, is drawn at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tokens: list[int] = []
        self.joined: list[bool] = []  # whether a turn belongs to the one before
        self.worth: list[float] = []
        self.stops: list[int] = []
        self.lasts: list[int] = []  # the last turn on each page
        self.costs: list[dict[Tier, int]] = []
        self._filled = 0
        self.rests: list[int] = []  # tokens behind the last page, after each turn

    def appended(self, turns: int) -> None:
        for _ in range(turns):
            self.append()

    def append(self) -> None:
        size = self.random.choice((20, 100, 700, 5000))
        self.tokens.append(size)
        self.joined.append(bool(self.tokens[1:]) and self.random.random() < 0.3)
        self.worth.append(self.random.choice((0, 0, 0, 0.3, 0.9, float("inf"))))
        self._filled += size
        while self._filled >= 2000:
            self._filled -= 2000
            done = len(self.tokens) - (self._filled > 0)  # this turn ends on a later page
            self.stops.append(done)
            self.lasts.append(len(self.tokens) - 1)
            caption = self.random.randrange(60)
            text = 2000 + caption
            sides = {Tier.LARGE: 421, Tier.BASE: 273, Tier.SMALL: 111, Tier.TINY: 73}
            read = [tier for tier in MODES if self.random.random() < 0.8]
            costs = {Tier.TEXT: text} | {tier: sides[tier] + caption for tier in read}
            self.costs.append(costs | {Tier.FORGOTTEN: 0})
        self.rests.append(self._filled)

    def cut(self, position: int) -> int:
        """The last place at or before a position that splits no exchange."""
        while position and position < len(self.joined) and self.joined[position]:
            position -= 1
        return position

    def situation(self, past: Plan | None, budget: int, recalled: dict[int, Age]) -> Situation:
        turns, before = len(self.tokens), past or Plan()
        spent = [sum(self.tokens[:position]) for position in range(turns + 1)]
        shown = self.stops[before.gone :]
        first = self.cut(self.stops[before.gone - 1]) if before.gone else 0
        ends = [Frontier(before.gone, first, spent[-1] - spent[first])]
        for stop in shown:
            start = self.cut(min(stop, turns - 1))
            if start > ends[-1].start:
                pages = next(n for n, s in enumerate(self.stops) if s >= start) + 1
                ends.append(Frontier(max(pages, before.gone), start, spent[-1] - spent[start]))
        overflows = []
        if self.stops and self.stops[-1] < turns:
            if turns - 1 > self.stops[-1] and self.cut(turns - 1) == turns - 1:
                # On no page, it is all text: the note is what is left of those before.
                overflows.append(Frontier(len(self.stops), turns - 1, self._filled, overflow=True))
            overflows.append(Frontier(len(self.stops), turns, self._filled, overflow=True))
        text = None if past is None else spent[-1] - spent[past.frontier]
        if text is not None and before.overflow:
            text += self.rests[before.frontier - 1]
        kept = {each.start for each in before.kept}
        return Situation(
            pages=[
                Candidate(
                    number,
                    self.stops[number],
                    self.costs[number],
                    turns - self.stops[number],
                    spent[-1] - spent[self.stops[number]],
                    60.0 * (turns - self.stops[number]),
                )
                for number in range(before.gone, len(self.stops))
            ],
            frontiers=ends,
            beyond=lambda: overflows,
            past=text,
            turns=turns,
            fixed=50,
            legend=60,
            marker=20,
            budget=budget,
            gone=before.gone,
            before=before,
            remarks=[r for r in self.remarks(before) if r.pinned or r.start in kept or r.worth],
            recalled=recalled,
            cache=Cache(0.1, 1.25),
        )

    def remarks(self, past: Plan) -> list[Remark]:
        """Exchanges that begin on a page."""
        found, turns = [], len(self.tokens)
        starts = [position for position in range(turns) if not self.joined[position]]
        for start, stop in zip(starts, [*starts[1:], turns], strict=True):
            first = next((n for n, turn in enumerate(self.lasts) if turn >= start), None)
            if first is None:
                continue
            ends = (n for n, s in enumerate(self.stops) if s >= stop)
            last = next(ends, len(self.stops) - 1)
            worth = max(self.worth[start:stop])
            age = turns - stop
            found.append(Remark(start, stop, first, last, 30, worth, "noted", age, age < 5))
        return found


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), budget=st.integers(300, 40_000))
def test_while_a_session_grows(steps: tuple[Policy, ...], seed: int, budget: int) -> None:
    grow(steps, seed, budget, 25)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), budget=st.integers(300, 40_000))
def test_while_many_sessions_grow(steps: tuple[Policy, ...], seed: int, budget: int) -> None:
    grow(steps, seed, budget, 40)


def grow(steps: tuple[Policy, ...], seed: int, budget: int, rounds: int) -> None:
    """Plan at each of so many moments, and check what each plan may be."""
    session, policy = Session(seed), Epochs(steps)
    past: Plan | None = None
    for _ in range(rounds):
        for _ in range(session.random.randrange(1, 4)):
            session.append()
        recalled = {}
        if past is not None and past.tiers and session.random.random() < 0.2:
            recalled[session.random.randrange(past.gone, past.pages)] = Age(1, 100, 60.0)
        situation = session.situation(past, budget, recalled)
        try:
            plan = policy.apply(situation, past or Plan())
        except BudgetError:
            assert smallest_budget(situation) > budget
            continue
        assert plan == policy.apply(situation, past or Plan()), "deterministic"
        kept = past is not None and plan == past
        assert situation.tokens(plan, situation.past if kept else None) <= budget
        ends = [end.start for end in situation.frontiers]
        assert kept or plan.overflow or plan.frontier in ends, "a place to cut"
        pins = (r for r in situation.remarks if r.pinned and r.first < plan.pages)
        pinned = {remark.start for remark in pins if remark.stop <= plan.frontier}
        assert pinned <= {each.start for each in plan.kept}, "pins do not fade"
        if past is not None:
            check_change(past, plan, recalled)
            was = situation.tokens(past, situation.past)
            assert kept or was > budget or situation.tokens(plan) <= was, "an epoch saves"
        for page in range(len(session.stops)):
            assert plan.explain(page).startswith(f"Page {page} is ")
            assert plan.explain(page).endswith(".")
        assert Plan.from_json(plan.to_json()) == plan
        past = plan


def check_change(past: Plan, plan: Plan, recalled: dict[int, Age]) -> None:
    """That a plan may follow another."""
    if plan.epoch == past.epoch:
        assert plan == past, "identical between epochs"
    assert plan.gone >= past.gone
    assert past.overflow or plan.pages >= past.pages, "what left does not come back"
    for page in range(min(past.pages, plan.pages)):
        assert plan.tier(page) >= past.tier(page) or page in recalled, "only a recall sharpens"
        if page in recalled and plan.tier(page) < past.tier(page):
            assert past.tier(page) != Tier.FORGOTTEN or page >= past.gone


@dataclass(frozen=True)
class Whole:
    """A step of which nobody knows that it goes by pages alone."""

    step: Policy

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        return self.step.apply(situation, plan)


@pytest.mark.parametrize("name", ["default", "half-life", "rehearsal"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_fades_is_asked_first(name: str, seed: int) -> None:
    """It decides as a whole fresh plan does, where nothing is kept beside pages."""
    steps = [step for step in STEPS[name] if not isinstance(step, Pinned | Salience)]
    horizon = (None, 50, 1000)[seed % 3]
    quick, whole = Epochs(steps, horizon=horizon), Epochs([*map(Whole, steps)], horizon=horizon)
    session, past = Session(seed), Plan()
    session.appended(20)
    for _ in range(12):
        session.appended(3)
        recalled = {past.gone: Age(1, 100, 60.0)} if past.tiers and seed % 2 else {}
        situation = session.situation(past if past.made else None, 10**6, recalled)
        plan = quick.apply(situation, past)
        assert plan == whole.apply(situation, past)
        past = plan


def test_a_plan_that_has_settled_costs_the_same() -> None:
    session = Session(5)
    session.appended(60)
    situation = session.situation(None, 20_000, {})
    tiers = Tiers([Tier.FORGOTTEN] * 4 + [Tier.TEXT] * (len(session.stops) - 4))
    plan = situation.move(Plan(tiers), situation.ends[-1])
    assert plan.settled().gone == 4
    assert situation.tokens(plan.settled()) == situation.tokens(plan)


def test_a_plan_that_is_recalled_from_differs_in_nothing_that_is_shown() -> None:
    session = Session(3)
    for _ in range(60):
        session.append()
    steps = STEPS["rehearsal"]
    plan = Epochs(steps).apply(session.situation(None, 20_000, {}), Plan())
    recalled = {plan.gone: Age(0, 0, 0.0)}
    again = Epochs(steps).apply(session.situation(plan, 20_000, recalled), plan)
    assert again == plan
    assert replace(again, rehearsed=()) == replace(plan, rehearsed=())
