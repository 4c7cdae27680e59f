"""Policies are pure: the same situation and draft always give the same, fitting plan."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.errors import BudgetError
from optimem.modes import Tier
from optimem.policies import (
    AgeDecay,
    Candidate,
    Epochs,
    Frontier,
    Pinned,
    Remark,
    Situation,
    TokenBudget,
    smallest_budget,
)
from optimem.values import Plan

COSTS = {Tier.TEXT: 2000, Tier.FORGOTTEN: 0}
COSTS |= {Tier.LARGE: 421, Tier.BASE: 273, Tier.SMALL: 111, Tier.TINY: 73}
TURN = 500


def situation(
    pages: int, turns: int, budget: int | None = None, past: Plan | None = None
) -> Situation:
    """A log in which each page holds two turns, read by someone without Gundam."""
    ends = [min(2 * page, turns - 1) for page in range(pages + 1)]
    return Situation(
        pages=[Candidate(n, 2 * n + 2, COSTS, turns - 2 * n - 2) for n in range(pages)],
        frontiers=[Frontier(n, end, (turns - end) * TURN) for n, end in enumerate(ends)],
        beyond=lambda: [Frontier(pages, turns, 10, overflow=True)] if pages else [],
        past=None if past is None else (turns - past.frontier) * TURN,
        turns=turns,
        fixed=50,
        legend=60,
        marker=20,
        budget=budget,
    )


def test_the_default_ladder_follows_figure_13() -> None:
    turns = 4201
    plan = AgeDecay().apply(situation(2100, turns), Plan())
    names = [tier.label for tier in plan.tiers]
    assert names == sorted(names, key=lambda name: -Tier.parse(name))
    found = [(tier, turns - 2 * n - 2) for n, tier in enumerate(plan.tiers)]
    ages = {tier: [age for t, age in found if t == tier] for tier in Tier}
    assert not ages[Tier.GUNDAM]  # this reader has no Gundam: Large comes instead
    assert (min(ages[Tier.LARGE]), max(ages[Tier.LARGE])) == (9, 31)
    assert (min(ages[Tier.BASE]), max(ages[Tier.BASE])) == (33, 63)
    assert (min(ages[Tier.SMALL]), max(ages[Tier.SMALL])) == (65, 2047)
    assert (min(ages[Tier.TINY]), max(ages[Tier.TINY])) == (2049, 3071)
    assert min(ages[Tier.FORGOTTEN]) == 3073


def test_ages_count_turns_tokens_or_time() -> None:
    page = Candidate(0, 1, COSTS, turns=9, tokens=5000, seconds=8 * 86400)
    view = Situation([page], [Frontier(0, 0, 900), Frontier(1, 1, 400)])
    assert AgeDecay().apply(view, Plan()).tiers == (Tier.LARGE,)
    assert AgeDecay.in_tokens().apply(view, Plan()).tiers == (Tier.LARGE,)
    assert AgeDecay.in_time().apply(view, Plan()).tiers == (Tier.BASE,)


def test_a_ladder_out_of_order_is_refused() -> None:
    for ladder in ((), ((Tier.TINY, 1), (Tier.LARGE, 2)), ((Tier.LARGE, 2), (Tier.TINY, 1))):
        with pytest.raises(ValueError, match="ladder"):
            AgeDecay(ladder=ladder)
    with pytest.raises(ValueError, match="low"):
        TokenBudget(low=0)
    with pytest.raises(ValueError, match="saving"):
        Epochs(saving=2)


def test_the_oldest_pages_pay_first() -> None:
    view = situation(20, 45, budget=9000)
    draft = AgeDecay().apply(view, Plan())
    plan = TokenBudget(low=1).apply(view, draft)
    assert view.tokens(plan) <= 9000 < view.tokens(draft)
    coarsened = [n for n, (a, b) in enumerate(zip(draft.tiers, plan.tiers, strict=False)) if a != b]
    assert coarsened == list(range(len(coarsened))) and Tier.FORGOTTEN not in plan.tiers


def test_nothing_is_forgotten_while_turns_can_leave_the_text() -> None:
    view = situation(20, 45, budget=20 * 73 + 50 + 60 + 6 * TURN)
    plan = TokenBudget().apply(view, AgeDecay().apply(view, Plan()))
    assert set(plan.tiers) == {Tier.TINY} and view.tokens(plan) <= (view.budget or 0)


def test_the_oldest_pages_are_forgotten_before_the_budget_is_missed() -> None:
    view = situation(20, 41, budget=900)
    plan = TokenBudget().apply(view, AgeDecay().apply(view, Plan()))
    gone = plan.tiers.count(Tier.FORGOTTEN)
    assert 0 < gone < 20 and plan.tiers == (Tier.FORGOTTEN,) * gone + (Tier.TINY,) * (20 - gone)
    assert view.tokens(plan) <= 900


def test_too_small_a_budget_names_the_smallest() -> None:
    view = situation(20, 41, budget=60)
    with pytest.raises(BudgetError) as caught:
        TokenBudget().apply(view, Plan())
    smallest = caught.value.smallest
    assert smallest == smallest_budget(view) == 80 and f"is {smallest}" in str(caught.value)
    enough = situation(20, 41, budget=smallest)
    assert enough.tokens(TokenBudget().apply(enough, Plan())) == smallest


def test_a_plan_is_kept_until_it_overflows_or_another_saves_enough() -> None:
    epochs = Epochs()
    plan, changes = Plan(), 0
    for turns in range(1, 200):
        past = plan if plan.epoch else None
        view = situation(turns // 2, turns, budget=12_000, past=past)
        fresh = epochs.apply(view, plan)
        assert view.tokens(fresh) <= 12_000
        assert fresh == epochs.apply(view, plan)
        if fresh != plan:
            changes += 1
            assert fresh.epoch == plan.epoch + 1
            assert all(new >= old for old, new in zip(plan.tiers, fresh.tiers, strict=False))
        plan = fresh
    assert 5 < changes < 199 / 3


def test_without_a_reason_to_image_all_stays_text() -> None:
    dear = {Tier.TEXT: 100, Tier.FORGOTTEN: 0}
    pages = [Candidate(n, n + 1, dear, 20 - n) for n in range(10)]
    ends = [Frontier(n, n, (20 - n) * 100) for n in range(11)]
    plan = Epochs().apply(Situation(pages, ends, turns=20, legend=60, budget=50_000), Plan())
    assert plan.tiers == () and plan.frontier == 0


@given(
    st.integers(0, 60),
    st.integers(1, 5),
    st.integers(100, 30_000),
    st.sampled_from([0.4, 0.75, 1.0]),
    st.integers(1, 8),
)
def test_no_plan_exceeds_its_budget(
    pages: int, more: int, budget: int, low: float, keep: int
) -> None:
    view = situation(pages, 2 * pages + more, budget)
    policy = Epochs((AgeDecay(), TokenBudget(low, keep)))
    try:
        plan = policy.apply(view, Plan())
    except BudgetError:
        assert smallest_budget(view) > budget
        return
    assert view.tokens(plan) <= budget
    assert len(plan.tiers) <= pages
    assert plan == policy.apply(view, Plan())
    assert Plan.from_json(plan.to_json()) == plan


def test_where_pins_leave_nothing_to_save_the_plan_is_kept() -> None:
    """Fading alone would save enough; what is pinned beside the pages eats it up."""
    policy = Epochs((AgeDecay(), Pinned(), TokenBudget()))
    now = situation(20, 45, past=Plan(made=4, epoch=1))
    pins = [Remark(n, n + 1, n // 2, n // 2, 2 * TURN, float("inf")) for n in range(40)]
    now = replace(now, remarks=pins, budget=10**6)
    assert AgeDecay().apply(now, Plan()).pages
    past = Plan(made=4, epoch=1)
    assert policy.apply(now, past) == past
    assert policy.apply(replace(now, remarks=()), past).pages
