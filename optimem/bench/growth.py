"""Whether contexts grow with the session: requests at a million tokens and at ten.

The default ladder counts turns, so that once it has filled a context is a window over the
newest 3,072 turns, as long as these happen to be; and between two epochs it grows by half.
One request, or one stretch of one session, says little. So the means over the steady state
are compared, which begins an epoch behind the ladder's last rung: of many sessions of about
a million tokens (the requests of the next 1,024 turns), and of some of ten million (all
requests from there on). A standard error counts whole sessions, or stretches as long as the
ladder, which hardly know of one another. Turns of generated sessions get longer, as they
have more to refer back to; so requests are given in turns of the mean length in reach, too.

No budget and no price cliff holds these contexts back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimem.bench.ours import Ours
from optimem.bench.reading import load_rates
from optimem.bench.recorded import Recorded, lay_out
from optimem.bench.rows import Log
from optimem.bench.synthetic import Distances, generate
from optimem.modes import Tier
from optimem.policies import AgeDecay, Epochs
from optimem.readers import find_reader
from optimem.values import Json

READER = "openai:gpt-6-astra"
SHORT, LONG = 48, 3
"""How many sessions of each length there are."""
_FILLED = int(next(age for tier, age in AgeDecay().ladder if tier == Tier.FORGOTTEN))
_STEADY = _FILLED + 256  # about an epoch later
_BEHIND = 1_024  # turns of a session of a million tokens that are counted

Sources = Mapping[str, Sequence[dict[str, Json]]]
Requests = NDArray[np.float64]
"""(requests, 4): turns and tokens of the log, tokens of a turn in reach, tokens of the request."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """That of values which know nothing of one another."""
        spread = stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0
        return cls(mean(values), spread)

    def over(self, other: Mean) -> Mean:
        """How many times the other one it is."""
        parts = (each.error / each.value for each in (self, other))
        ratio = self.value / other.value
        return Mean(ratio, ratio * sqrt(sum(part**2 for part in parts)))

    def described(self, digits: int) -> dict[str, float]:
        """As JSON says it."""
        return {"mean": round(self.value, digits), "standard_error": round(self.error, digits)}


@dataclass(frozen=True, slots=True)
class Steady:
    """Lengths of requests.

    Attributes:
        tokens: their mean, stretch by stretch.
        in_turns: the same in turns as long as those in the ladder's reach are on average.
        stretches: how many there are.
        worst: the mean tokens of the worst 1,024 turns.
        longest: tokens of the longest request.
    """

    tokens: Mean
    in_turns: Mean
    stretches: int
    worst: float
    longest: int

    @classmethod
    def of(cls, stretches: Sequence[Requests], windows: Sequence[Requests]) -> Steady:
        """What some stretches come to, which the windows lie in."""
        means = [each.mean(axis=0) for each in stretches]
        return cls(
            Mean.of([float(tokens) for *_, tokens in means]),
            Mean.of([float(tokens / turn) for *_, turn, tokens in means]),
            len(means),
            max(float(each[:, -1].mean()) for each in windows),
            max(int(each[:, -1].max()) for each in stretches),
        )

    def described(self) -> dict[str, Any]:
        """As JSON says it."""
        return {
            "tokens": self.tokens.described(0),
            "in_turns": self.in_turns.described(1),
            "stretches": self.stretches,
            "worst_1024_turns": round(self.worst),
            "longest_request": self.longest,
            "longest_to_mean": round(self.longest / self.tokens.value, 3),
        }


@dataclass(frozen=True, slots=True)
class Growth:
    """How long requests are.

    Attributes:
        short: at about a million tokens.
        long: from there to ten million.
        by_million: the mean of each million tokens' requests, in the long sessions.
    """

    short: Steady
    long: Steady
    by_million: list[int]

    @property
    def ratio(self) -> Mean:
        """How many times longer they are in the long sessions."""
        return self.long.tokens.over(self.short.tokens)

    @property
    def ratio_in_turns(self) -> Mean:
        """The same, but for longer turns."""
        return self.long.in_turns.over(self.short.in_turns)

    def described(self) -> dict[str, Any]:
        """As JSON says it."""
        return {
            "1M": self.short.described(),
            "10M": self.long.described(),
            "ratio": self.ratio.described(3),
            "ratio_in_turns": self.ratio_in_turns.described(3),
            "mean_by_million": self.by_million,
        }


def measure_growth(sources: Sources, distances: Distances, long: Recorded) -> Growth:
    """Replay without a budget.

    Args:
        sources: what sessions are generated from.
        distances: how far back they reach.
        long: one of the sessions of ten million tokens.
    """
    short = [_requests(each) for each in _short(sources, distances)]
    replayed = [_requests(each) for each in (long, *_long(sources, distances, long.tokens))]
    filled = [_within(requests, _STEADY, _STEADY + _BEHIND) for requests in short]
    stretches, windows = (
        [part for requests in replayed for part in _parts(requests, turns)]
        for turns in (_FILLED, _BEHIND)
    )
    by_million = list(_by_million(replayed))
    return Growth(Steady.of(filled, filled), Steady.of(stretches, windows), by_million)


def _short(sources: Sources, distances: Distances) -> Iterator[Recorded]:
    """Sessions of as many turns as a million tokens have on average."""
    for seed in range(2, SHORT + 2):
        made = generate(sources, 0, seed, distances, turns=_STEADY + _BEHIND)
        yield lay_out(f"{seed}", made.turns, made.times)[0]


def _long(sources: Sources, distances: Distances, tokens: int) -> Iterator[Recorded]:
    """The other long sessions."""
    for seed in range(2, LONG + 1):
        made = generate(sources, tokens, seed, distances)
        yield lay_out(f"{seed}", made.turns, made.times)[0]


def _requests(recorded: Recorded) -> Requests:
    row = Ours(Log(recorded, find_reader(READER)), load_rates(), Epochs(cliffs=False), None)
    spent, found = recorded.spent(), []
    for turns in recorded.requests():
        reach = min(turns, _FILLED)
        turn = (spent[turns] - spent[turns - reach]) / reach
        prompt = row.send(turns, recorded.times[turns - 1])[0]
        found.append((turns, spent[turns], turn, prompt.total))
    return np.array(found, np.float64)


def _within(requests: Requests, start: int, stop: int) -> Requests:
    """The requests of some turns."""
    turns = requests[:, 0]
    return requests[(turns > start) & (turns <= stop), :]


def _parts(requests: Requests, turns: int) -> Iterator[Requests]:
    """Those behind the ladder's last rung, so many turns at a time."""
    last = int(requests[-1, 0]) - turns
    for start in range(_STEADY, last + 1, turns):
        yield _within(requests, start, start + turns)


def _by_million(replayed: Sequence[Requests]) -> Iterator[int]:
    together = np.concatenate(replayed)
    whole = min(int(requests[-1, 1]) for requests in replayed) // 1_000_000
    for million in range(whole):
        yield round(float(together[together[:, 1] // 1_000_000 == million, -1].mean()))
