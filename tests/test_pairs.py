"""A call and its results share the one boundary that parts turns: that of text and pages.

Tiers are those of pages, and pages run on over the ends of turns: in every packaged session
with tool calls each page ends within an exchange (below). Could no exchange span two tiers,
such a session would stand in a single one from its beginning to its end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimem import BudgetError, Memory
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
from optimem.transcripts import read_transcript
from optimem.values import Plan, Turn

QUICK = AgeDecay("turns", ((Tier.LARGE, 1), (Tier.SMALL, 4), (Tier.TINY, 8), (Tier.FORGOTTEN, 20)))
FADING: dict[str, tuple[Policy, ...]] = {
    "default": (AgeDecay(), TokenBudget()),
    "quick": (QUICK, TokenBudget()),
    "kept": (QUICK, Pinned(patterns=(r"\bw7\d\b",)), Salience(0.4), TokenBudget()),
    "rehearsed": (Rehearsal(QUICK), TokenBudget()),
    "value": (BestValue(text=2), Salience(), TokenBudget()),
}
READERS = ("deepseek-ocr", "openai:gpt-6-astra")
SIZES = st.sampled_from([0, 3, 40, 400, 1500, 4000])  # words


def say(role: str, count: int, seed: int) -> dict[str, Any]:
    words = " ".join(f"w{(seed * 7919 + index * 104729) % 9973}" for index in range(count))
    return {"role": role, "content": words}


@st.composite
def logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Talk with tool calls in it, up to three at once."""
    messages: list[dict[str, Any]] = []
    for number in range(draw(st.integers(4, 14))):
        if draw(st.booleans()):
            messages.append(say("user", draw(SIZES), number))
            continue
        sizes = draw(st.lists(SIZES, min_size=1, max_size=3))
        names = [f"call_{number}_{index}" for index in range(len(sizes))]
        function = {"name": "run", "arguments": "{}"}
        calls = [{"id": name, "type": "function", "function": function} for name in names]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        for name, size in zip(names, sizes, strict=True):
            messages.append(say("tool", size, number) | {"tool_call_id": name})
    return messages


@pytest.mark.parametrize("name", FADING)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), st.sampled_from(READERS), st.integers(2_000, 8_000))
def test_a_call_and_its_results_leave_the_text_together(
    name: str, log: list[dict[str, Any]], reader: str, budget: int
) -> None:
    with Memory.open("memory://", policy=Epochs(FADING[name])) as memory:
        for message in log:
            memory.append(message)
            try:
                plan = memory.context(reader, budget).plan
            except BudgetError:
                return
            check_pairs(memory.turns(), plan)


def check_pairs(turns: list[Turn], plan: Plan) -> None:
    """Both are text or both on pages; and if one is kept beside its page, both are."""
    calls: dict[str, int] = {}
    for result, turn in enumerate(turns):
        for call in (calls[name] for name in turn.answers):
            assert (call < plan.frontier) == (result < plan.frontier)
            for kept in plan.kept:
                assert (call in range(*kept[:2])) == (result in range(*kept[:2]))
        calls |= dict.fromkeys(turn.calls, result)


@pytest.mark.parametrize("kind", ["coding_claude_code", "tool_calls"])
def test_every_page_of_an_agents_session_ends_within_an_exchange(kind: str) -> None:
    for path in (Path(__file__).parent / "transcripts").glob(f"{kind}__*.json"):
        with Memory.open("memory://") as memory:
            memory.extend(read_transcript(path))
            pages = memory._ledger.pages if memory.pages() else []
            around = memory._ledger.exchanges.around
            ends = [around(page.last) for page in pages[:-1]]
            assert ends
            assert ends == [around(page.first) for page in pages[1:]]
            assert all(stop - start > 1 for start, stop in ends)
