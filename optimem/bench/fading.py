"""What each policy does with one recorded session, drawn: `optimem bench fading --out docs/fading`.

The packaged session of a coding agent (145 turns, 29 pages) is planned for DeepSeek-OCR, whose
modes are those of Figure 13, as if its window had no end. The pictures stand in
docs/policies.md. What the policies cost, and what of a session stays readable under them, is
another matter: `optimem bench policy`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from time import process_time

import numpy as np

from optimem.bench.charts import Line, lines, strips
from optimem.bench.report import Check, print_report
from optimem.memory import Memory
from optimem.modes import Tier
from optimem.policies import (
    AgeDecay,
    BestValue,
    Epochs,
    Pinned,
    Policy,
    Rehearsal,
    Salience,
    TokenBudget,
)
from optimem.policies.candidates import ABSENT
from optimem.policies.solver import solve
from optimem.readers import find_reader
from optimem.transcripts import read_transcript
from optimem.values import Plan, Turn

READER = replace(find_reader("deepseek-ocr"), window=None)
BUDGET = 14_000
_BUDGETS = (14_000, 11_400, 8_000, 5_000)
_ROOMY = 20_000
_QUICK = AgeDecay(ladder=((Tier.LARGE, 4), (Tier.BASE, 16), (Tier.SMALL, 32), (Tier.TINY, 64)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, print, and end with one JSON line."""
    parser = argparse.ArgumentParser("optimem bench fading", description=__doc__)
    parser.add_argument("--out", type=Path, help="a folder for the pictures")
    out = parser.parse_args(arguments).out
    turns = read_transcript(Path(str(files("optimem").joinpath("data", "transcript.json"))))
    pictures = {"age-decay": _decay(), **_of_session(turns), **_over_time(turns)}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            (out / f"{name}.svg").write_text(picture, "utf-8")
            print(f"drawn: {out / name}.svg")
    timed = {str(pages): _timed(pages) for pages in (200, 10_000)}
    for pages, (milliseconds, gap) in timed.items():
        print(f"the solver: {pages} pages in {milliseconds} ms, at most {gap:.5%} missing")
    checks = [
        Check("solver: gap at 10,000 pages", round(100 * timed["10000"][1], 6), "<=", 0.5, "%"),
        Check("solver: gap at 200 pages", round(100 * timed["200"][1], 6), "<=", 0, "%"),
    ]
    spent = {pages: each[0] for pages, each in timed.items()}
    print_report("fading", {"solver milliseconds": spent}, checks)


def _decay() -> str:
    """What a page costs as it ages, by each ladder."""
    profile = READER
    ages = np.unique(np.geomspace(1, 4096, 200).astype(int))
    ladders = {
        "the default": AgeDecay().ladder,
        "half-life of 32 turns": AgeDecay.by_half_life(32).ladder,
        "half-life of 256 turns": AgeDecay.by_half_life(256).ladder,
    }
    drawn = []
    for name, ladder in ladders.items():
        points = []
        for age in ages:
            tier = max((t for t, start in ladder if age >= start), default=Tier.TEXT)
            # A mode that this reader does not know is shown in the next coarser one.
            while tier.is_mode and tier not in profile.modes:
                tier = Tier(tier + 1)
            cost = profile.page_cost(tier) if tier.is_mode else 2_300 * (tier == Tier.TEXT)
            points.append((float(np.log2(age)), float(min(cost, 900))))
        drawn.append(Line(name, points))
    ticks = [(float(power), str(2**power)) for power in range(0, 13, 2)]
    return lines(drawn, "positions of one page, over its age in turns (text: 2,300)", ticks, 900)


def _of_session(turns: Sequence[Turn]) -> dict[str, str]:
    """Where each page of the whole session stands."""
    with Memory.open("memory://") as memory:
        memory.extend(turns)

        def plan(budget: int, *steps: Policy) -> Plan:
            planned = Memory(memory.store, memory.scope, policy=Epochs(steps))
            return planned.context(READER, budget).plan

        aged = AgeDecay()
        by_budget = {f"{b:,}": plan(b, aged, TokenBudget()) for b in _BUDGETS}
        user = Pinned(roles=("user",))
        kept = {
            "neither": plan(BUDGET, aged, TokenBudget()),
            "pinned": plan(BUDGET, aged, user, TokenBudget()),
            "salient": plan(BUDGET, aged, Salience(), TokenBudget()),
            "both": plan(BUDGET, aged, user, Salience(), TokenBudget()),
        }
        value = {
            "oldest first": plan(BUDGET, aged, TokenBudget()),
            "best value": plan(BUDGET, BestValue(), TokenBudget()),
            "with salience": plan(BUDGET, BestValue(), Salience(), TokenBudget()),
        }
        pages = memory.stats().pages
    said = "each page of the session, the oldest on the left"
    return {
        "token-budget": strips(by_budget, pages, f"{said}; rows: budgets of so many tokens"),
        "kept": strips(kept, pages, f"{said}; dots: turns that stay text beside it"),
        "best-value": strips(value, pages, f"{said}; a budget of {BUDGET:,} tokens"),
    }


def _over_time(turns: Sequence[Turn]) -> dict[str, str]:
    """How a context and one of its pages change while the session goes on."""
    policies = {
        "Epochs": Epochs(),
        "a new plan each turn": Epochs(saving=0),
    }
    drawn = []
    for name, policy in policies.items():
        tokens, epochs = zip(*_replay(turns, policy), strict=True)
        points = [(float(turn), float(count)) for turn, count in enumerate(tokens, 1)]
        drawn.append(Line(f"{name}: {epochs[-1]} plans", points))
    ticks = [(float(turn), str(turn)) for turn in range(0, len(turns) + 1, 24)]
    return {
        "epochs": lines(drawn, "tokens of the context, over turns", ticks, 24_000),
        "rehearsal": _rehearsed(turns, ticks),
    }


def _replay(turns: Iterable[Turn], policy: Policy) -> Iterable[tuple[int, int]]:
    with Memory.open("memory://", policy=policy) as memory:
        for turn in turns:
            memory.append(turn)
            context = memory.context(READER, _ROOMY)
            yield context.tokens, context.plan.epoch


def _rehearsed(turns: Sequence[Turn], ticks: list[tuple[float, str]]) -> str:
    """The tier of one early page, with recalls and without."""
    profile, page, recalls = READER, 2, (72, 108)
    drawn = []
    for name, step in (("Rehearsal", Rehearsal(_QUICK)), ("age alone", _QUICK)):
        points = []
        policy = Epochs((step, TokenBudget()), saving=0)
        with Memory.open("memory://", policy=policy) as memory:
            for number, turn in enumerate(turns, 1):
                memory.append(turn)
                plan = memory.context(READER, 40_000).plan
                if number in recalls:
                    memory.recall_page(page)
                tier = plan.tier(page)
                if page < plan.pages and tier.is_mode:
                    points.append((float(number), float(profile.page_cost(tier))))
        drawn.append(Line(name, points))
    said = f"positions of page {page}, over turns; recalled at turns {recalls[0]} and {recalls[1]}"
    return lines(drawn, said, ticks, 450)


def _timed(pages: int) -> tuple[float, float]:
    """Milliseconds of the processor, and the gap, for pages as of a long session."""
    rng = np.random.default_rng(1)
    profile = READER
    row = [profile.page_cost(t) if t in profile.modes else ABSENT for t in Tier]
    costs = np.tile(row, (pages, 1))
    costs[:, 1:-1][costs[:, 1:-1] != ABSENT] += 40
    costs[:, Tier.TEXT], costs[:, Tier.FORGOTTEN] = rng.integers(1500, 3000, pages), 0
    needs = rng.random(pages) * costs[:, 0] / (1 + np.arange(pages)[::-1] / 50)
    values = needs[:, None] * np.array([1, 0.97, 0.97, 0.95, 0.94, 0.9, 0.88, 0.76, 0])
    begun = process_time()
    found = solve(values, costs, 150 * pages)
    spent = process_time() - begun
    assert found is not None
    return round(1000 * spent, 1), found.gap


if __name__ == "__main__":
    main()
