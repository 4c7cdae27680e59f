"""The solver finds what trying every choice finds, and its bound is one."""

from __future__ import annotations

from time import process_time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.modes import Tier
from optimem.policies.candidates import ABSENT, Whole
from optimem.policies.solver import EXACT, GAP, Cached, Floats, Solution, solve


def random_case(rng: np.random.Generator, most: int) -> tuple[Floats, Whole, int, Cached | None]:
    """Pages with some tiers each, ties and worthless tiers among them; half with a cache."""
    pages = int(rng.integers(1, most + 1))
    tiers = int(rng.integers(2, 5 if pages < 7 else 4))
    costs = rng.integers(0, rng.choice([4, 30, 500]), (pages, tiers))
    values = np.round(rng.random((pages, tiers)) * rng.choice([1, 100]), rng.choice([0, 1, 6]))
    costs[rng.random((pages, tiers)) < 0.2] = ABSENT
    costs[(costs == ABSENT).all(axis=1), 0] = 3
    budget = int(rng.integers(0, costs.max(axis=1).sum() + 2))
    if rng.random() < 0.5:
        return values, costs, budget, None
    known = int(rng.integers(0, pages + 1))
    past = [rng.choice(np.flatnonzero(row != ABSENT)) for row in costs[:known]]
    price = float(rng.random() * rng.choice([0.001, 0.1, 1]))
    return values, costs, budget, Cached(np.array(past, np.uint8), price, int(rng.integers(0, 50)))


def objective(values: Floats, costs: Whole, tiers: Whole, cached: Cached | None) -> float:
    """What a choice is worth."""
    rows = np.arange(len(values))
    value = float(values[rows, tiers].sum())
    if cached is None:
        return value
    known = len(cached.tiers)
    changed = np.append(tiers[:known] != cached.tiers, np.ones(len(values) - known, bool))
    if not changed.any():
        return value
    first = int(changed.argmax())
    return value - cached.price * (float(costs[rows, tiers][first:].sum()) + cached.tail)


def brute_force(values: Floats, costs: Whole, budget: int, cached: Cached | None) -> float | None:
    """The value of the best choice of all, None where none fits."""
    worth, spent, anew = np.zeros(1), np.zeros(1), np.zeros(1)
    changed = np.zeros(1, bool)
    for page in range(len(values)):
        parts = []
        for tier in np.flatnonzero(costs[page] != ABSENT):
            stays = cached is not None and page < len(cached.tiers)
            differs = changed | (not stays or (cached is not None and cached.tiers[page] != tier))
            cost = costs[page, tier]
            parts.append((worth + values[page, tier], spent + cost, anew + cost * differs, differs))
        worth, spent, anew, changed = (np.concatenate(each) for each in zip(*parts, strict=True))
    if cached is not None:
        worth = worth - cached.price * (anew + cached.tail * changed)
    worth = worth[spent <= budget]
    return float(worth.max()) if len(worth) else None


def check(
    values: Floats, costs: Whole, found: Solution, budget: int, cached: Cached | None
) -> None:
    """That a solution is what it says."""
    rows = np.arange(len(values))
    assert (costs[rows, found.tiers] != ABSENT).all()
    assert found.tokens == costs[rows, found.tiers].sum() <= budget
    told = objective(values, costs, found.tiers.astype(np.int64), cached)
    assert found.value == pytest.approx(told, rel=1e-9, abs=1e-9)


def test_it_equals_brute_force_on_5000_cases_of_up_to_8_pages() -> None:
    rng = np.random.default_rng(7)
    fitting = 0
    while fitting < 5000:
        values, costs, budget, cached = random_case(rng, 8)
        best = brute_force(values, costs, budget, cached)
        found = solve(values, costs, budget, cached)
        if best is None:
            assert found is None
            continue
        fitting += 1
        assert found is not None
        check(values, costs, found, budget, cached)
        assert found.value == pytest.approx(best, rel=1e-9, abs=1e-9)
        assert found.bound == pytest.approx(found.value, rel=1e-9, abs=1e-9) and found.gap < 1e-6


@given(st.integers(0, 2**32))
def test_the_gap_is_true_where_the_best_is_not_looked_for(seed: int) -> None:
    """With `exact=0` the relaxation alone, which must not promise more than it keeps."""
    values, costs, budget, cached = random_case(np.random.default_rng(seed), 8)
    best = brute_force(values, costs, budget, cached)
    found = solve(values, costs, budget, cached, 0)
    assert (best is None) == (found is None)
    if best is not None and found is not None:
        check(values, costs, found, budget, cached)
        slack = 1e-9 * (1 + abs(best))
        assert found.value <= best + slack and best <= found.bound + slack
        if cached is None and best > 0:
            assert found.gap <= GAP


def session(pages: int, seed: int = 1) -> tuple[Floats, Whole]:
    """Values and costs as of a real session: older pages are worth less."""
    rng = np.random.default_rng(seed)
    costs = np.array([0, ABSENT, 421, 273, ABSENT, ABSENT, 111, 73, 0]) + np.zeros((pages, 1), int)
    costs[:, [2, 3, 6, 7]] += rng.integers(20, 60, (pages, 1))
    costs[:, 0] = rng.integers(1500, 3000, pages)
    needs = rng.random(pages) * costs[:, 0] / (1 + np.arange(pages)[::-1] / 50)
    return needs[:, None] * [1, 1, 0.97, 0.95, 0.94, 0.9, 0.88, 0.76, 0], costs


@pytest.mark.parametrize("pages", [EXACT, 1000, 10_000])
@pytest.mark.parametrize("held", [0.0, 0.9])
def test_large_sessions_come_within_the_gap_and_in_time(pages: int, held: float) -> None:
    values, costs = session(pages)
    budget, known = 150 * pages, int(pages * held)
    cached = None
    if known:
        past = solve(values, costs, budget)
        assert past is not None
        price = 0.05 * values[:, 0].sum() / budget
        cached = Cached(past.tiers[:known], price, 3000)
    start = process_time()
    found = solve(values, costs, budget, cached)
    spent = process_time() - start
    assert found is not None
    check(values, costs, found, budget, cached)
    assert found.gap <= (1e-9 if pages <= EXACT else GAP)
    assert spent < 1  # some hundredths of it when nothing else runs


def test_a_dear_rewrite_leaves_the_front_of_the_context_alone() -> None:
    values, costs = session(40)
    past = solve(values, costs, 6000)
    assert past is not None
    values[21] = values[29]  # now worth its tokens, but it stands far in front
    assert past.tiers[21] == Tier.FORGOTTEN
    free, dear = solve(values, costs, 6000), solve(values, costs, 6000, Cached(past.tiers, 10, 0))
    assert free is not None and free.tiers.tolist() != past.tiers.tolist()
    assert dear is not None and dear.tiers.tolist() == past.tiers.tolist()


def test_without_pages_or_room() -> None:
    none = np.zeros((0, 2)), np.zeros((0, 2), np.int64)
    nothing = solve(*none, 5)
    assert nothing is not None and len(nothing.tiers) == 0 and solve(*none, -1) is None
    assert solve(np.ones((1, 2)), np.array([[7, 9]]), 6) is None
