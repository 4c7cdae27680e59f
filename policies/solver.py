"""The solver: which tier of which page retains most value within a budget of tokens.

A multiple-choice knapsack (Kellerer, Pferschy and Pisinger, Knapsack Problems, 2004, chapter
11): of each page one tier is taken. Its Lagrangian relaxation, in which a token has a price,
bounds what any choice can be worth. Few pages are solved exactly: what the bound excludes is
dropped, which leaves most pages with one tier, and dynamic programming over cost decides the
rest. Many pages are solved by the relaxation itself, whose gap to the bound is returned.

A change far in front makes a reader's prompt cache useless for all that stands behind it.
`Cached` puts a price on each token that has to be sent anew; every place for the first
change is then a knapsack of its own, and the bounds say which of them need solving.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimem.policies.candidates import ABSENT, Codes, Whole

Floats = NDArray[np.float64]

EXACT = 200
"""Pages up to which the best choice is found, not only one close to it."""

GAP = 0.005
"""The most that may be missing to the bound; if more is, any number is solved exactly."""

_HALVINGS = 48
_PRICES = 40  # at which all places for a first change are bounded together
_FILLS = 32
_ROUNDING = 1e-12  # of the bound


@dataclass(frozen=True, slots=True)
class Cached:
    """What a reader's cache holds.

    Attributes:
        tiers: those of the past plan, for as many pages as it had.
        price: what it costs, in value, to send a token anew.
        tail: tokens behind all pages, which are sent anew with any change.
    """

    tiers: Codes
    price: float
    tail: int = 0


@dataclass(frozen=True, slots=True)
class Solution:
    """A tier for each page.

    Attributes:
        tiers: the choice.
        value: what it is worth, less what it costs to send anew.
        tokens: what it costs to show.
        bound: no choice is worth more.
    """

    tiers: Codes
    value: float
    tokens: int
    bound: float

    @property
    def gap(self) -> float:
        """The share of the bound that is missing at most."""
        return max(self.bound - self.value, 0.0) / max(abs(self.bound), 1e-300)


def solve(
    values: Floats, costs: Whole, budget: int, cached: Cached | None = None, exact: int = EXACT
) -> Solution | None:
    """The choice of tiers that is worth most and costs no more than the budget.

    Args:
        values: (pages, tiers): what each page is worth in each tier.
        costs: (pages, tiers): its tokens; `ABSENT` where it cannot stand.
        budget: the most tokens of all pages.
        cached: what is lost by a change; None for nothing.
        exact: pages up to which the best choice is found; above, one within `GAP` of it.

    Returns:
        None when not even the cheapest tiers fit.
    """
    taken = np.flatnonzero((costs != ABSENT).any(axis=0))  # tiers that any page can take
    values = np.where(costs == ABSENT, -np.inf, values)[:, taken]
    costs = np.where(costs == ABSENT, 0, costs)[:, taken]
    if cached is None or cached.price == 0:
        found = _solved(values, costs, budget, exact)
    else:
        named = replace(cached, tiers=np.searchsorted(taken, cached.tiers).astype(np.uint8))
        found = _solved_behind(values, costs, budget, named, exact)
    return found and replace(found, tiers=taken[found.tiers].astype(np.uint8))


def _solved(values: Floats, costs: Whole, budget: int, exact: int) -> Solution | None:
    """Without a cache."""
    pages = np.arange(len(values))
    if not len(pages):
        return Solution(np.zeros(0, np.uint8), 0.0, 0, 0.0) if budget >= 0 else None
    price, bound, choice = _relaxed(values, costs, budget)
    if choice is None:
        return None
    choice = _filled(values, costs, budget, choice)
    value = float(values[pages, choice].sum())
    if bound - value > abs(bound) * (_ROUNDING if len(pages) <= exact else GAP):
        choice = _exact(values, costs, budget, price, bound - value, choice)
        value = float(values[pages, choice].sum())
        bound = value
    tokens = int(costs[pages, choice].sum())
    return Solution(choice.astype(np.uint8), value, tokens, max(bound, value))


def _solved_behind(
    values: Floats, costs: Whole, budget: int, cached: Cached, exact: int
) -> Solution | None:
    """With a price on what is sent anew: one knapsack for each place of the first change."""
    count, known = len(values), len(cached.tiers)
    pages = np.arange(known)
    charged = values - cached.price * costs
    held = np.concatenate(([0.0], np.cumsum(values[pages, cached.tiers])))  # (known + 1,)
    spent = np.concatenate(([0], np.cumsum(costs[pages, cached.tiers])))
    bounds = held + _bounds(charged, costs, budget - spent, spent) - cached.price * cached.tail
    best: Solution | None = None
    if known == count and spent[-1] <= budget and held[-1] > -np.inf:  # nothing changes
        best = Solution(cached.tiers, float(held[-1]), int(spent[-1]), float(held[-1]))
        bounds[-1] = -np.inf
    most = -np.inf
    for place in np.argsort(-bounds, kind="stable"):
        if bounds[place] == -np.inf or (best is not None and bounds[place] <= best.value):
            break
        if best is not None and count > exact and bounds[place] <= best.value + GAP * abs(most):
            break
        rest = _solved(charged[place:], costs[place:], budget - int(spent[place]), exact)
        if rest is None:
            bounds[place] = -np.inf
            continue
        fixed = float(held[place]) - cached.price * cached.tail
        bounds[place] = min(bounds[place], fixed + rest.bound)
        most = max(most, bounds[place])
        tiers = np.concatenate((cached.tiers[:place], rest.tiers))
        value = _told(values, costs, cached, tiers)
        if best is None or value > best.value:
            best = Solution(tiers, value, int(spent[place]) + rest.tokens, 0.0)
    if best is None:
        return None
    bound = max(best.value, float(bounds.max()))
    return Solution(best.tiers, best.value, best.tokens, bound)


def _told(values: Floats, costs: Whole, cached: Cached, tiers: Codes) -> float:
    """What a choice is worth, less what it costs to send anew what is behind its first change."""
    pages = np.arange(len(tiers))
    known = len(cached.tiers)
    changed = np.flatnonzero(tiers[:known] != cached.tiers)
    first = int(changed[0]) if len(changed) else known
    worth = float(values[pages, tiers].sum())
    if first == len(tiers):
        return worth
    return worth - cached.price * (int(costs[pages, tiers][first:].sum()) + cached.tail)


def _relaxed(
    values: Floats, costs: Whole, budget: int
) -> tuple[float, float, NDArray[np.intp] | None]:
    """The price of a token at which the budget is just kept, the bound, and the choice there."""
    cheapest = np.where(values == -np.inf, np.iinfo(np.int64).max, costs)
    pages = np.arange(len(values))
    if cheapest.min(axis=1).sum() > budget:
        return 0.0, -np.inf, None

    def at(price: float) -> tuple[int, float, NDArray[np.intp]]:
        worth = values - price * costs
        choice = worth.argmax(axis=1)
        tokens = int(costs[pages, choice].sum())
        return tokens, float(worth[pages, choice].sum() + price * budget), choice

    tokens, bound, choice = at(0.0)
    if tokens <= budget:
        return 0.0, bound, choice
    finite = values[values > -np.inf]
    low, high = 0.0, float(finite.max() - finite.min()) + 1.0
    best, price = bound, 0.0
    # At the highest price each page takes its cheapest tier: a token always costs more than
    # any tier is worth.
    found = cheapest.argmin(axis=1)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        tokens, bound, choice = at(middle)
        if bound < best:
            best, price = bound, middle
        if tokens <= budget:
            high, found = middle, choice
        else:
            low = middle
    return price, best, found


def _filled(
    values: Floats, costs: Whole, budget: int, choice: NDArray[np.intp]
) -> NDArray[np.intp]:
    """The choice with what room is left spent on the changes that gain most."""
    choice, pages = choice.copy(), np.arange(len(values))
    room = budget - int(costs[pages, choice].sum())
    for _ in range(_FILLS):
        gains = values - values[pages, choice][:, None]
        more = costs - costs[pages, choice][:, None]
        gains[more > room] = 0.0
        page, tier = np.unravel_index(int(gains.argmax()), gains.shape)
        if gains[page, tier] <= 0:
            break
        room -= int(more[page, tier])
        choice[page] = tier
    return choice


def _exact(
    values: Floats,
    costs: Whole,
    budget: int,
    price: float,
    gap: float,
    choice: NDArray[np.intp],
) -> NDArray[np.intp]:
    """The best choice, among those that the bound does not exclude.

    At a price a page loses something in each tier but its best one. No better choice than
    the known one loses more than the gap in all, unspent tokens included.
    """
    worth = values - price * costs
    losses = worth.max(axis=1)[:, None] - worth
    gap += 1e-9 * (abs(gap) + float(np.abs(worth.max(axis=1)).sum()))
    open_ = losses <= gap
    found = losses.argmin(axis=1)
    free = np.flatnonzero(open_.sum(axis=1) > 1)
    fixed = np.ones(len(values), bool)
    fixed[free] = False
    room = budget - int(costs[fixed, found[fixed]].sum())
    ranges = np.array([_range(costs[page][open_[page]]) for page in free]).reshape(-1, 2)
    left = np.vstack((ranges[::-1].cumsum(axis=0)[::-1], [0, 0]))  # (free + 1, least and most)
    states = np.zeros(1, np.int64), np.zeros(1)  # tokens and losses so far
    trail: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    for number, page in enumerate(free):
        tiers = np.flatnonzero(open_[page])
        tokens = (states[0][:, None] + costs[page, tiers]).ravel()
        lost = (states[1][:, None] + losses[page, tiers]).ravel()
        least, most = left[number + 1]
        unspent = np.maximum(room - tokens - most, 0)
        alive = np.flatnonzero((tokens + least <= room) & (lost + price * unspent <= gap))
        alive = alive[_undominated(tokens[alive], lost[alive] - price * tokens[alive])]
        if not len(alive):
            return choice  # the known one is the best
        trail.append((alive // len(tiers), tiers[alive % len(tiers)]))
        states = tokens[alive], lost[alive]
    at = int((states[1] + price * (room - states[0])).argmin())
    for page, (parents, tiers) in zip(free[::-1], trail[::-1], strict=True):
        found[page], at = tiers[at], int(parents[at])
    rows = np.arange(len(values))
    known = values[rows, choice].sum()
    return found if values[rows, found].sum() > known else choice


def _range(costs: Whole) -> tuple[int, int]:
    return int(costs.min()), int(costs.max())


def _undominated(tokens: Whole, worse: Floats) -> NDArray[np.intp]:
    """Those for which no other is at least as good for no more tokens."""
    order = np.lexsort((worse, tokens))
    best = np.minimum.accumulate(worse[order])
    first = np.concatenate(([True], worse[order][1:] < best[:-1]))
    return order[first]


def _bounds(values: Floats, costs: Whole, budgets: Whole, spent: Whole) -> Floats:
    """For each place the bound of the pages from there on, within what budget is then left."""
    finite = values[values > -np.inf]
    span = float(finite.max() - finite.min()) if len(finite) else 0.0
    room = max(int(budgets[0]), 1)
    scale = span * len(values) / room + 1e-300
    prices = np.concatenate(([0.0], scale * np.geomspace(1e-6, 64.0, _PRICES)))
    found = np.full(len(budgets), np.inf)
    for price in prices:
        worth = (values - price * costs).max(axis=1)
        behind = np.concatenate((worth[::-1].cumsum()[::-1], [0.0]))[: len(budgets)]
        found = np.minimum(found, behind + price * budgets)
    return np.where(budgets < 0, -np.inf, found)
