"""What plans keep apart, and the budgets that contexts are made for."""

from __future__ import annotations

import pytest

from optimem import BudgetError, Memory
from optimem.demo import packaged_session
from optimem.modes import Tier
from optimem.policies import AgeDecay, Epochs, TokenBudget


def test_readers_budgets_and_policies_have_plans_of_their_own() -> None:
    with Memory.open("memory://") as memory:
        memory.extend(packaged_session())
        wide = memory.context("gpt-6-astra", 40_000)
        narrow = memory.context("gpt-6-astra", 10_000)
        assert narrow.plan != wide.plan == memory.context("gpt-6-astra", 40_000).plan
        policy = Epochs((AgeDecay(ladder=((Tier.TINY, 2),)), TokenBudget()))
        other = Memory(memory.store, memory.scope, policy=policy)
        tiny = other.context("gpt-6-astra", 40_000).plan
        assert set(tiny.tiers) == {Tier.TINY}
        assert memory.context("gpt-6-astra", 40_000).plan == wide.plan
        assert len(memory.stats().tiers) == 3


def test_no_tokens_are_no_budget() -> None:
    with Memory.open("memory://") as memory:
        for budget in (0, -5):
            with pytest.raises(BudgetError, match="at least 1 token"):
                memory.context("gpt-6-astra", budget)


def test_without_a_budget_the_window_is_one_and_unknown_windows_have_none() -> None:
    with Memory.open("memory://") as memory:
        memory.append({"role": "user", "content": "one"})
        assert memory.context("deepseek-ocr").budget == 8192
        assert memory.context("qwen:qwen3-vl").budget is None
