"""What a reader's provider bills: dollars a token, and the rules of its prompt cache.

Every provider caches exact prefixes: what a request has in common with an earlier one, from
its first token on, is read from the cache at a fraction of the price while it lives there.
`optimem.readers.cache` replays it, and `optimem bench policy` whole sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class CacheRule:
    """How a provider caches prompts.

    Attributes:
        minimum: tokens of the shortest prefix that is cached.
        step: tokens by which a cached prefix grows beyond the minimum; 1 for any length.
        read: price of a token read from the cache, as a share of an input token's.
        write: price of a token written to the cache, as a share of an input token's; 1 where
            writing costs nothing more.
        life: seconds that a prefix is kept after it was last used.
        breakpoints: the most ends of prefixes that a request may mark; None where the
            provider finds the longest cached prefix by itself.
        lookback: content blocks before a breakpoint at which an earlier request's end is
            still found; None for no limit.
        images_matter: a request whose images are not those of the request before, with new
            ones added or not, reads nothing of the messages from the cache: tools and system
            alone.
    """

    minimum: int = 1024
    step: int = 1
    read: float = 0.1
    write: float = 1.0
    life: float = inf
    breakpoints: int | None = None
    lookback: int | None = None
    images_matter: bool = False

    def __post_init__(self) -> None:
        if self.minimum < 0 or self.step < 1:
            raise ValueError("a cache's minimum cannot be negative, nor its step below 1")
        if min(self.read, self.write, self.life) < 0:
            raise ValueError("a cache's prices and life cannot be negative")


@dataclass(frozen=True, slots=True)
class Dollars:
    """What tokens cost without a cache.

    Attributes:
        input: $ per million input tokens, text and image alike.
        output: $ per million output tokens; None when unknown.
        cliffs: (tokens, times): a request of more input tokens costs so many times more, as
            a whole, what is cached included; the last one that it passes counts.
    """

    input: float
    output: float | None = None
    cliffs: tuple[tuple[int, float], ...] = ()

    def times(self, tokens: int) -> float:
        """By how much a request of so many input tokens is dearer."""
        return max((times for most, times in self.cliffs if tokens > most), default=1.0)
