"""What other systems would send at each request of a session: the rows beside ours.

Each is its rule as published, on facts alone: which turns stand as text, which as images of
what density, and what is gone. Where a rule leaves something open the choice that is better
for it was taken, and stands beside it.

* Full text: everything, always; its window is taken as unlimited.
* Sliding window: the newest turns that fit.
* Summary: at 85 % of the window all but the newest 10 % of it becomes a summary of 2,000
  tokens (deepagents' fractions), written by the same model from the prompt that it has at
  hand. No model runs here: of the exact strings it keeps those that our own choice of
  anchors would, on half of its tokens, and of phrases the share that half of them is of what
  was summarized. That is more than the prose of a real summary can hold.
* pxpipe: turns behind the newest 4 become images of 28,080 characters (312 x 90 cells of 5 x
  8 px, 1568 x 728), always 50 at a time, with up to 96 exact strings beside each image. They
  are taken to be read as pages between Small (cells of 5 x 10) and Tiny (4 x 8) would be:
  half-way by area, and so at the geometric mean of both rates.
* snapcompact: when 85 % of the window is full, all but the newest 10 % is drawn anew: three
  frames at either end in 11 x 16 px, those between in 8 x 16, at most 80, the oldest dropped;
  2,000 characters of a tool's result. A frame is 1568 x 1568 here, read as our Large and Base.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from math import prod, sqrt
from typing import NamedTuple, Protocol

import numpy as np

from optimem.anchors import choose_anchors
from optimem.bench.reading import Rates
from optimem.bench.recorded import Mention, Recorded
from optimem.exact import Exact
from optimem.modes import Tier
from optimem.readers import Profile
from optimem.readers.cache import Prompt
from optimem.tokens import find_counter

_TRIGGER, _KEEP = 0.85, 0.10
_SUMMARY = 2_000
_CHUNK, _TAIL = 50, 4
_IMAGE = (1568, 728)
_IMAGE_CHARACTERS = 28_080
_STRINGS = 96
_FRAME = (1568, 1568)
_SHARP, _DENSE = (1568 // 11) * (1568 // 16), (1568 // 8) * (1568 // 16)
_EDGE, _FRAMES = 3, 80
_RESULT = 2_000

_count = lru_cache(maxsize=1 << 18)(find_counter().count)


class Extra(NamedTuple):
    """What a row pays beside the request itself.

    Attributes:
        prompt: the input of a request of its own; it ends like the one before it.
        output: tokens that are written.
    """

    prompt: Prompt
    output: int


class Sight(Protocol):
    """What a reader can find in one request."""

    def rate(self, mention: Mention) -> float:
        """How likely it reads what a turn says again of earlier ones."""
        ...


class Row(Protocol):
    """One way to make each request of a session, from the first on."""

    name: str

    def send(self, turns: int, at: float) -> tuple[Prompt, Sight, Extra | None]:
        """The request when the log has so many turns."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """Turns as text from a position on, and those before another."""

    start: int
    head: int = 0

    def rate(self, mention: Mention) -> float:
        """Text is always read."""
        return float(any(turn >= self.start or turn < self.head for turn, _ in mention.places))


class Log:
    """A session's turns as text blocks for one reader.

    Args:
        recorded: the session.
        profile: who reads.

    Attributes:
        spent: tokens in front of each position, by the reader's rule.
        costs: of each turn.
        head: how many system turns it begins with.
        splits: by position, whether it is between a call and its results.
    """

    def __init__(self, recorded: Recorded, profile: Profile) -> None:
        self.recorded, self.profile = recorded, profile
        costs = (
            profile.text_cost(facts.tokens)
            + sum(profile.image_cost(*size) for size in facts.images if size)
            for facts in recorded.turns
        )
        self.spent = np.array([0, *accumulate(costs)], np.int64)
        self.costs = np.diff(self.spent)
        self.ids = np.arange(1, len(self.costs) + 1, dtype=np.int64)
        roles = (facts.role for facts in recorded.turns)
        self.head = next((n for n, role in enumerate(roles) if role != "system"), 0)
        joined: dict[str, int] = {}
        self.splits = np.zeros(len(self.costs) + 1, bool)  # positions within an exchange
        for position, facts in enumerate(recorded.turns):
            for call in facts.answers:
                if call in joined:
                    self.splits[joined[call] + 1 : position + 1] = True
            joined.update((call, position) for call in facts.calls)

    def boundary(self, position: int) -> int:
        """The first place from `position` on that splits no call from its results."""
        while position < len(self.splits) and self.splits[position]:
            position += 1
        return max(position, self.head)

    def newest(self, tokens: int, turns: int) -> int:
        """From where on the newest turns take at most so many tokens; the last one at least."""
        start = int(np.searchsorted(self.spent, self.spent[turns] - tokens))
        return min(self.boundary(max(start, self.head)), turns - 1)

    def prompt(self, start: int, turns: int, blocks: Iterable[tuple[int, int]] = ()) -> Prompt:
        """System turns, some (id, tokens) blocks, and the turns from `start` on."""
        between = np.array(list(blocks), np.int64).reshape(-1, 2)
        head = self.head
        parts = self.ids[:head], between[:, 0], self.ids[start:turns]
        costs = self.costs[:head], between[:, 1], self.costs[start:turns]
        images = hash(tuple(between[:, 0].tolist()))
        marks = (head, head + len(between))
        return Prompt(np.concatenate(parts), np.concatenate(costs), head, marks, images)


@dataclass(slots=True)
class FullText:
    """The whole log as text."""

    log: Log
    name: str = "full text"

    def send(self, turns: int, at: float) -> tuple[Prompt, Sight, Extra | None]:
        """Everything, always."""
        return self.log.prompt(self.log.head, turns), Text(0), None


@dataclass(slots=True)
class Sliding:
    """The newest turns that fit."""

    log: Log
    window: int
    name: str = "sliding window"

    def send(self, turns: int, at: float) -> tuple[Prompt, Sight, Extra | None]:
        """What fits behind the system turns."""
        log = self.log
        start = log.newest(self.window - int(log.spent[log.head]), turns)
        return log.prompt(start, turns), Text(start, log.head), None


@dataclass(slots=True)
class _Compacted:
    """What a compaction left: text from a position on, and something in place of the rest."""

    start: int
    count: int = 0


@dataclass(slots=True)
class Summarized:
    """A summary in place of what does not fit.

    Attributes:
        kept: the exact strings that it holds.
        shares: by position from which turns were summarized, the share of phrases left.
    """

    log: Log
    window: int
    name: str = "summary at 85 %"
    kept: dict[str, Exact] = field(default_factory=dict)
    shares: list[tuple[int, float]] = field(default_factory=list)
    _state: _Compacted = field(default_factory=lambda: _Compacted(0))

    def send(self, turns: int, at: float) -> tuple[Prompt, Sight, Extra | None]:
        """Summarize when the window fills, else append."""
        log, state = self.log, self._state
        state.start = max(state.start, log.head)
        extra = None
        prompt = self._prompt(turns)
        if prompt.total > _TRIGGER * self.window:
            start = log.newest(int(_KEEP * self.window), turns)
            if start > state.start:
                extra = Extra(prompt, _SUMMARY)
                self._summarize(state.start, start)
                self._state = _Compacted(start, state.count + 1)
                prompt = self._prompt(turns)
        return prompt, self, extra

    def _prompt(self, turns: int) -> Prompt:
        count = self._state.count
        blocks = [(-count, self.log.profile.text_cost(_SUMMARY))] if count else []
        return self.log.prompt(self._state.start, turns, blocks)

    def _summarize(self, start: int, stop: int) -> None:
        recorded = self.log.recorded
        pages = recorded.strings[recorded.starts[start] : recorded.starts[stop - 1] + 2]
        found = [exact for page in pages for exact, turn in page if start <= turn < stop]
        chosen = choose_anchors([*self.kept.values(), *found], _SUMMARY // 2, _count)
        known = self.kept | {exact.text: exact for exact in found}
        self.kept = {text: known[text] for text in chosen}
        told = _SUMMARY if self._state.count else 0
        tokens = int(self.log.spent[stop] - self.log.spent[start]) + told
        share = min(1.0, _SUMMARY / 2 / max(tokens, 1))
        self.shares = [(first, left * share) for first, left in self.shares] + [(start, share)]

    def rate(self, mention: Mention) -> float:
        """1 for text and for strings in the summary, a share of the phrases."""
        if any(turn >= self._state.start or turn < self.log.head for turn, _ in mention.places):
            return 1.0
        if mention.kind != "phrase":
            return float(mention.text in self.kept)
        turn = mention.places[0][0]
        return next((left for first, left in reversed(self.shares) if turn >= first), 0.0)


class Pxpipe:
    """Images of one density behind the newest turns, 50 at a time; the oldest go if they must."""

    name = "pxpipe's rule"

    def __init__(self, log: Log, rates: Rates, budget: int | None) -> None:
        self._log, self._rates, self._budget = log, rates, budget
        recorded = log.recorded
        self._until = [0, *accumulate(recorded.characters)]
        self._image_of = [self._until[p.first] // _IMAGE_CHARACTERS for p in recorded.pages]
        last = self._until[-1] // _IMAGE_CHARACTERS + 1
        found: list[list[Exact]] = [[] for _ in range(last)]
        for page, strings in enumerate(recorded.strings):
            place = min(self._image_of[page], last - 1)
            found[place] += (exact for exact, _ in strings)
        self._sheets = [
            frozenset(choose_anchors(each, 20 * _STRINGS, lambda _: 20)) for each in found
        ]
        pixels = log.profile.image_cost(*_IMAGE)
        beside = (_count(" ".join(sorted(sheet))) for sheet in self._sheets)
        self._costs = [pixels + log.profile.text_cost(tokens) for tokens in beside]
        self._start = self._gone = 0

    def send(self, turns: int, at: float) -> tuple[Prompt, Sight, Extra | None]:
        """Whole chunks of turns are images."""
        log = self._log
        edge = log.head + max(turns - _TAIL - log.head, 0) // _CHUNK * _CHUNK
        self._start = min(log.boundary(edge), turns)
        drawn = self._until[self._start] - self._until[log.head]
        count = -(-drawn // _IMAGE_CHARACTERS)
        # The last image is cropped to what it shows, and grows with it.
        rest = drawn % _IMAGE_CHARACTERS
        blocks = [(-2 * n - 1, cost) for n, cost in enumerate(self._costs[:count])]
        if count and rest:
            share = rest / _IMAGE_CHARACTERS
            blocks[-1] = (-2 * drawn - 2, round(self._costs[count - 1] * share))
        self._gone = 0
        if self._budget is not None:
            room = self._budget - int(log.spent[turns] - log.spent[self._start])
            room -= int(log.spent[log.head])
            costs = [tokens for _, tokens in blocks]
            while self._gone < count and sum(costs[self._gone :]) > room:
                self._gone += max(1, count // 10)  # some at once, for the cache's sake
        return log.prompt(self._start, turns, blocks[self._gone :]), self, None

    def rate(self, mention: Mention) -> float:
        """What stands beside images is text."""
        best = 0.0
        for turn, page in mention.places:
            if turn >= self._start or turn < self._log.head:
                return 1.0
            image = self._image_of[page]
            if image < self._gone:
                continue
            if mention.text in self._sheets[min(image, len(self._sheets) - 1)]:
                return 1.0
            best = max(best, self._read(mention))
        return best

    def _read(self, mention: Mention) -> float:
        rates = (rate_in(self._rates, tier, mention) for tier in (Tier.SMALL, Tier.TINY))
        return sqrt(prod(rates))


class Snapcompact:
    """An archive of frames, drawn anew whenever the window fills."""

    name = "snapcompact's rule"

    def __init__(self, log: Log, rates: Rates, window: int) -> None:
        self._log, self._rates, self._window = log, rates, window
        turns = log.recorded.turns
        shown = (
            min(characters, _RESULT) if facts.role == "tool" else characters
            for characters, facts in zip(log.recorded.characters, turns, strict=True)
        )
        self._until = np.array([0, *accumulate(shown)], np.int64)
        self._cost = log.profile.image_cost(*_FRAME)
        self._start = log.head
        self._first = 0  # character from which on the archive shows
        self._frames: list[tuple[int, int, Tier]] = []  # first and last character, read as

    def send(self, turns: int, at: float) -> tuple[Prompt, Sight, Extra | None]:
        """Draw the archive anew when the window fills, else append."""
        prompt = self._prompt(turns)
        if prompt.total > _TRIGGER * self._window:
            start = self._log.newest(int(_KEEP * self._window), turns)
            if start > self._start:
                self._start = start
                most = int((self._window * (_TRIGGER - 2 * _KEEP)) // self._cost)
                self._draw(int(self._until[start]), max(min(most, _FRAMES), 1))
                prompt = self._prompt(turns)
        return prompt, self, None

    def _draw(self, stop: int, most: int) -> None:
        """Sharp frames at both ends, dense ones between, and no more than fit."""
        edges = min(2 * _EDGE, most)
        room = edges * _SHARP + (most - edges) * _DENSE
        self._first = max(self._first, int(self._until[self._log.head]), stop - room)
        left = stop - self._first
        sharp = min(edges, -(-left // _SHARP))
        dense = -(-max(left - sharp * _SHARP, 0) // _DENSE)
        head = [Tier.LARGE] * (sharp - sharp // 2)
        shapes = [*head, *[Tier.BASE] * dense, *[Tier.LARGE] * (sharp // 2)]
        self._frames, at = [], self._first
        for tier in shapes:
            end = min(at + (_SHARP if tier == Tier.LARGE else _DENSE), stop)
            self._frames.append((at, end, tier))
            at = end

    def _prompt(self, turns: int) -> Prompt:
        blocks = [(-(hash(frame) >> 2) | 1, self._cost) for frame in self._frames]
        return self._log.prompt(self._start, turns, blocks)

    def rate(self, mention: Mention) -> float:
        """By the density of the frame."""
        best, recorded = 0.0, self._log.recorded
        for turn, page in mention.places:
            if turn >= self._start or turn < self._log.head:
                return 1.0
            at = int(self._until[turn])
            cut = recorded.turns[turn].role == "tool" and page > recorded.starts[turn]
            tier = next((tier for start, stop, tier in self._frames if start <= at < stop), None)
            if tier is not None and not cut:
                best = max(best, rate_in(self._rates, tier, mention))
        return best


def rate_in(rates: Rates, tier: Tier, mention: Mention) -> float:
    """The rate at which what is said again is read on a page in some mode."""
    if mention.kind == "phrase":
        return rates.phrase(tier, mention.size, mention.script)
    return rates.string(tier, mention.kind, mention.size)
