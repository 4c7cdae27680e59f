"""Prompt caches, held against bills that were worked out by hand from each provider's rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimem.readers import Profile, find_reader
from optimem.readers.cache import Prompt, PromptCache, Served, cost
from optimem.readers.dollars import CacheRule, Dollars


def prompt(
    *blocks: tuple[int, int], head: int = 0, marks: tuple[int, ...] = (), images: int = 0
) -> Prompt:
    """A prompt of (id, tokens) blocks."""
    ids, tokens = np.array(blocks, np.int64).reshape(-1, 2).T
    return Prompt(ids, tokens, head, marks, images)


def rule_of(name: str) -> tuple[Profile, CacheRule, Dollars]:
    """A reader of the table with its rules."""
    profile = find_reader(name)
    assert profile.cache is not None
    assert profile.dollars is not None
    return profile, profile.cache, profile.dollars


def test_older_openai_reads_in_steps_of_128_tokens() -> None:
    _, rule, dollars = rule_of("openai:gpt-5.5")
    cache = PromptCache(rule)
    assert cache.send(prompt((1, 1000), (2, 500)), 0) == Served(0, 1500, 0)
    # 1,500 in common: 1,024 and three steps; the fourth would end at 1,536.
    served = cache.send(prompt((1, 1000), (2, 500), (3, 700)), 10)
    assert served == Served(1408, 792, 0)
    # $5 for a million: 792 at the full price, 1,408 at a tenth.
    assert cost(served, rule, dollars) == pytest.approx((792 + 140.8) * 5 / 1e6)


def test_prompts_below_the_minimum_are_never_cached() -> None:
    _, rule, _ = rule_of("openai:gpt-5.5")
    cache = PromptCache(rule)
    assert cache.send(prompt((1, 900)), 0) == Served(0, 0, 900)
    assert cache.send(prompt((1, 900), (2, 100)), 1) == Served(0, 0, 1000)
    # The common part is 1,000 long, and so below the minimum still.
    assert cache.send(prompt((1, 900), (2, 100), (3, 500)), 2) == Served(0, 1500, 0)


def test_a_prefix_lives_for_five_minutes_after_it_was_last_used() -> None:
    _, rule, _ = rule_of("openai:gpt-5.5")
    cache = PromptCache(rule)
    cache.send(prompt((1, 1024)), 0)
    assert cache.send(prompt((1, 1024)), 290).read == 1024
    assert cache.send(prompt((1, 1024)), 580).read == 1024
    assert cache.send(prompt((1, 1024)), 881).read == 0


def test_new_openai_bills_writing_and_doubles_everything_beyond_its_cliff() -> None:
    _, rule, dollars = rule_of("openai:gpt-6-astra")
    cache = PromptCache(rule)
    first = cache.send(prompt((1, 200_000)), 0)
    assert first == Served(0, 200_000, 0)
    assert cost(first, rule, dollars) == pytest.approx(200_000 * 1.25 * 10 / 1e6)
    second = cache.send(prompt((1, 200_000), (2, 72_001)), 60)
    assert second == Served(200_000, 72_001, 0)
    plain = (200_000 * 0.1 + 72_001 * 1.25) * 10 / 1e6
    assert cost(second, rule, dollars) == pytest.approx(2 * plain)
    below = Served(200_000, 72_000, 0)
    assert cost(below, rule, dollars) == pytest.approx((20_000 + 90_000) * 10 / 1e6)


def test_new_openai_reads_only_what_a_request_ended_with_or_marked() -> None:
    _, rule, _ = rule_of("openai:gpt-6-astra")
    cache = PromptCache(rule)
    cache.send(prompt((1, 2000), (2, 2000), (3, 2000), marks=(1,)), 0)
    # The third block differs: of what is common the mark alone was kept.
    assert cache.send(prompt((1, 2000), (2, 2000), (4, 500)), 1).read == 2000


def test_claude_reads_marked_prefixes_and_looks_back_twenty_blocks() -> None:
    _, rule, dollars = rule_of("anthropic:claude-opus-5.5")
    cache = PromptCache(rule)
    blocks = [(n, 100) for n in range(1, 31)]
    assert cache.send(prompt(*blocks[:6], head=1), 0) == Served(0, 600, 0)
    # The last request ended 19 blocks before the end of this one: just within 20.
    served = cache.send(prompt(*blocks[:25], head=1), 10)
    assert served == Served(600, 1900, 0)
    shares = 600 * 0.05 + 1900 * 1.25
    assert cost(served, rule, dollars) == pytest.approx(shares * 4 / 1e6)
    long = [*blocks[:25], *((n, 100) for n in range(101, 121))]  # 20 blocks more: one too far
    assert cache.send(prompt(*long, head=1), 20) == Served(0, 4500, 0)
    marked = [*long, *((n, 100) for n in range(201, 241))]
    # A mark where the last request ended makes up for the distance.
    assert cache.send(prompt(*marked, head=1, marks=(45,)), 30) == Served(4500, 4000, 0)


def test_claude_needs_512_tokens_and_five_minutes() -> None:
    _, rule, _ = rule_of("anthropic:claude-opus-5.5")
    cache = PromptCache(rule)
    assert cache.send(prompt((1, 511)), 0) == Served(0, 0, 511)
    assert cache.send(prompt((1, 511), (2, 1)), 1) == Served(0, 512, 0)
    assert cache.send(prompt((1, 511), (2, 1), (3, 9)), 301) == Served(512, 9, 0)
    assert cache.send(prompt((1, 511), (2, 1), (3, 9)), 602) == Served(0, 521, 0)


def test_claude_reads_system_and_tools_alone_when_the_images_change() -> None:
    _, rule, _ = rule_of("anthropic:claude-opus-5.5")
    cache = PromptCache(rule)
    system, page, words = (1, 2000), (-1, 1500), (2, 300)
    cache.send(prompt(system, page, words, head=1, marks=(1, 2), images=7), 0)
    again = prompt(system, page, words, (3, 10), head=1, marks=(1, 2), images=7)
    assert cache.send(again, 1) == Served(3800, 10, 0)
    more = prompt(system, page, (-2, 1500), words, head=1, marks=(1, 3), images=8)
    assert cache.send(more, 2) == Served(2000, 3300, 0)


def test_gemini_needs_4096_tokens_and_bills_no_writing() -> None:
    _, rule, dollars = rule_of("google:gemini-4-argon")
    cache = PromptCache(rule)
    assert cache.send(prompt((1, 4095)), 0) == Served(0, 0, 4095)
    assert cache.send(prompt((1, 4095), (2, 5)), 1) == Served(0, 4100, 0)
    served = cache.send(prompt((1, 4095), (2, 5), (3, 900)), 2)
    assert served == Served(4100, 900, 0)
    assert cost(served, rule, dollars) == pytest.approx((4100 * 0.05 + 900) * 2 / 1e6)


def test_deepseek_reads_in_steps_of_64_tokens_for_a_fiftieth() -> None:
    _, rule, dollars = rule_of("deepseek:deepseek-flash")
    cache = PromptCache(rule)
    cache.send(prompt((1, 1000)), 0)
    served = cache.send(prompt((1, 1000), (2, 100)), 3000)  # it keeps for an hour
    assert served == Served(960, 140, 0)
    assert cost(served, rule, dollars) == pytest.approx((960 * 0.02 + 140) * 0.3 / 1e6)


def test_an_earlier_prompt_is_found_behind_one_that_branched_off() -> None:
    cache = PromptCache(CacheRule(minimum=0))
    cache.send(prompt((1, 10), (2, 10), (3, 10)), 0)
    assert cache.send(prompt((1, 10), (9, 10)), 1).read == 10
    assert cache.send(prompt((1, 10), (2, 10), (3, 10), (4, 10)), 2).read == 30


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=30),
    st.sampled_from(["openai:gpt-5.5", "openai:gpt-6-astra", "anthropic:claude-opus-5.5"]),
)
def test_an_append_only_log_is_sent_warm_but_for_what_is_new(sizes: list[int], name: str) -> None:
    _, rule, _ = rule_of(name)
    cache = PromptCache(rule)
    blocks = list(enumerate([2000, *sizes], 1))
    bills = [cache.send(prompt(*blocks[:n]), float(n)) for n in range(1, len(blocks) + 1)]
    for before, served in zip(bills, bills[1:], strict=False):
        assert served.read + rule.step > before.total
        assert served.read <= before.total
    assert all(
        served.total == sum(size for _, size in blocks[:n]) for n, served in enumerate(bills, 1)
    )
    assert 0 <= sum(bill.read for bill in bills) / sum(bill.total for bill in bills) < 1
