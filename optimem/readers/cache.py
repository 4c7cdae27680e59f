"""A provider's prompt cache, replayed: which tokens of each request are read from it.

    cache = PromptCache(rule)
    for prompt, seconds in requests:
        bill += cost(cache.send(prompt, seconds), rule, dollars)

A prompt is a row of content blocks; blocks are equal when their ids are. What two requests
have in common ends where the first block differs, since no provider reads half an image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from optimem.readers.dollars import CacheRule, Dollars

Whole = npt.NDArray[np.int64]

_MOST_TIPS = 8  # earlier prompts that are remembered beside the newest: others live on in them
_FACTOR = np.int64(-7046029254386353131)  # odd, so that no block is lost from a prefix's hash
_powers = np.ones(1, np.int64)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request's input.

    Attributes:
        ids: what each content block is, in order: tools and system first.
        tokens: what each costs.
        head: how many blocks of tools and system there are.
        marks: ends of prefixes, in blocks, that are marked for caching, the prompt's own
            end besides; only providers with breakpoints ask for them.
        images: stands for all images of the prompt, in order.
    """

    ids: Whole
    tokens: Whole
    head: int = 0
    marks: tuple[int, ...] = ()
    images: int = 0

    @property
    def total(self) -> int:
        """All its tokens."""
        return int(self.tokens.sum())


class Served(NamedTuple):
    """How a request's input tokens were billed.

    Attributes:
        read: from the cache.
        written: to the cache.
        plain: neither.
    """

    read: int
    written: int
    plain: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.read + self.written + self.plain


def cost(served: Served, rule: CacheRule, dollars: Dollars) -> float:
    """Dollars for a request's input."""
    shares = served.read * rule.read + served.written * rule.write + served.plain
    return shares * dollars.times(served.total) * dollars.input / 1e6


@dataclass(slots=True)
class _Tip:
    """The newest of the prompts that begin alike."""

    hashes: Whole
    used: float


@dataclass(slots=True)
class PromptCache:
    """What a provider still holds of earlier requests of one session.

    Args:
        rule: the provider's.
    """

    rule: CacheRule
    _tips: list[_Tip] = field(default_factory=list)
    _ends: dict[tuple[int, int], float] = field(default_factory=dict)

    def send(self, prompt: Prompt, at: float) -> Served:
        """Bill a request that is made `at` so many seconds, and remember it."""
        hashes = _prefix_hashes(prompt.ids)
        reach = np.concatenate([[0], np.cumsum(prompt.tokens)])
        if self.rule.breakpoints is None:
            return self._automatic(hashes, reach, at)
        return self._marked(prompt, hashes, reach, at)

    def _automatic(self, hashes: Whole, reach: Whole, at: float) -> Served:
        """The provider finds the longest prefix, and keeps everything."""
        total = int(reach[-1])
        alive = [tip for tip in self._tips if at - tip.used <= self.rule.life]
        common = [_common(tip.hashes, hashes) for tip in alive]
        best = max(common, default=0)
        read = self._whole_steps(int(reach[best]))
        for tip, blocks in zip(alive, common, strict=True):
            if read and blocks == best:
                tip.used = at
        # What the new prompt begins with needs no remembering of its own.
        left = [t for t, n in zip(alive, common, strict=True) if n < len(t.hashes)]
        self._tips = [*left[-_MOST_TIPS:], _Tip(hashes, at)]
        if total < self.rule.minimum:
            return Served(0, 0, total)
        return Served(read, total - read, 0)

    def _whole_steps(self, tokens: int) -> int:
        rule = self.rule
        if tokens < rule.minimum:
            return 0
        return tokens - (tokens - rule.minimum) % rule.step

    def _marked(self, prompt: Prompt, hashes: Whole, reach: Whole, at: float) -> Served:
        """Only marked prefixes are kept, and found a few blocks before a mark at most."""
        rule, total = self.rule, int(reach[-1])
        ends = sorted({*prompt.marks, len(hashes)} - {0})[-(rule.breakpoints or 1) :]

        def key(blocks: int) -> tuple[int, int]:
            matters = rule.images_matter and blocks > prompt.head
            return int(hashes[blocks - 1]), prompt.images if matters else 0

        self._ends = {end: used for end, used in self._ends.items() if at - used <= rule.life}
        best = 0
        for end in ends:
            back = end if rule.lookback is None else min(rule.lookback, end)
            places = range(end, max(end - back, best), -1)
            best = next((blocks for blocks in places if key(blocks) in self._ends), best)
        if best:
            self._ends[key(best)] = at
        written = best
        for end in ends:
            if reach[end] >= rule.minimum:
                # A longer prefix that is used keeps the shorter ones alive.
                self._ends[key(end)] = at
                written = max(written, end)
        read = int(reach[best])
        return Served(read, int(reach[written]) - read, total - int(reach[written]))


def _prefix_hashes(ids: Whole) -> Whole:
    """For each number of leading blocks, from one on, what they are."""
    global _powers
    if len(_powers) < len(ids):
        with np.errstate(over="ignore"):
            factors = np.full(2 * len(ids), _FACTOR)
            factors[0] = 1
            _powers = np.cumprod(factors)
    with np.errstate(over="ignore"):
        return np.cumsum(ids * _powers[: len(ids)])


def _common(first: Whole, second: Whole) -> int:
    """How many leading blocks two prompts have in common."""
    low, high = 0, min(len(first), len(second))
    while low < high:  # a prefix is equal wherever a longer one is
        middle = (low + high + 1) // 2
        if first[middle - 1] == second[middle - 1]:
            low = middle
        else:
            high = middle - 1
    return low
