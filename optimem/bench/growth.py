"""Whether contexts grow with the session: requests at a million tokens and at ten.

The default ladder counts turns, so that once it has filled a context is a window over the
newest 3,072 turns, as long as these happen to be; and between two epochs it grows by half.
One request, or one stretch of one session, says little. So the means over the steady state
are compared, which begins an epoch behind the ladder's last rung: of many sessions of about
a million tokens (the requests of the next 1,024 turns), and of some of ten million (all
requests from there on). A standard error counts whole sessions, or stretches as long as the
ladder, which hardly know of one another. How long turns are there stands beside it.

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
Lengths = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Steady:
    """Lengths of requests, in tokens.

    Attributes:
        mean: of all of them, stretch by stretch.
        error: the standard error of the mean.
        stretches: how many there are.
        worst: the mean of the worst 1,024 turns.
        longest: the longest request.
        turn: tokens of a turn, on average, of those that these requests show or have shown.
    """

    mean: float
    error: float
    stretches: int
    worst: float
    longest: int
    turn: float

    @classmethod
    def of(
        cls, stretches: Sequence[Lengths], windows: Sequence[Lengths], turns: Sequence[float]
    ) -> Steady:
        """What some stretches come to, which the windows lie in, and sessions' turns."""
        means = [float(tokens.mean()) for tokens in stretches]
        spread = stdev(means) / sqrt(len(means)) if len(means) > 1 else 0.0
        worst = max(float(tokens.mean()) for tokens in windows)
        longest = max(int(tokens.max()) for tokens in stretches)
        return cls(mean(means), spread, len(means), worst, longest, mean(turns))


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
    def ratio(self) -> float:
        """How much longer they are in the long sessions."""
        return self.long.mean / self.short.mean

    @property
    def error(self) -> float:
        """The standard error of the ratio."""
        parts = (each.error / each.mean for each in (self.short, self.long))
        return self.ratio * sqrt(sum(part**2 for part in parts))

    def described(self) -> dict[str, Any]:
        """As JSON says it."""
        steady = {
            name: {
                "mean": round(each.mean),
                "standard_error": round(each.error),
                "stretches": each.stretches,
                "worst_1024_turns": round(each.worst),
                "longest_request": each.longest,
                "longest_to_mean": round(each.longest / each.mean, 3),
                "tokens_of_a_turn": round(each.turn, 1),
            }
            for name, each in (("1M", self.short), ("10M", self.long))
        }
        ratio = {"ratio": round(self.ratio, 3), "standard_error": round(self.error, 3)}
        return {**steady, **ratio, "mean_by_million": self.by_million}


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
    return Growth(
        Steady.of(filled, filled, [_turn(requests) for requests in short]),
        Steady.of(stretches, windows, [_turn(requests) for requests in replayed]),
        list(_by_million(replayed)),
    )


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


def _requests(recorded: Recorded) -> Lengths:
    """(requests, 3): turns and tokens of the log, and tokens of the request."""
    row = Ours(Log(recorded, find_reader(READER)), load_rates(), Epochs(cliffs=False), None)
    spent = recorded.spent()
    return np.array(
        [
            (turns, spent[turns], row.send(turns, recorded.times[turns - 1])[0].total)
            for turns in recorded.requests()
        ]
    )


def _within(requests: Lengths, start: int, stop: int) -> Lengths:
    """Lengths of the requests of some turns."""
    turns = requests[:, 0]
    return requests[:, 2][(turns > start) & (turns <= stop)]


def _parts(requests: Lengths, turns: int) -> Iterator[Lengths]:
    """Lengths behind the ladder's last rung, so many turns at a time."""
    last = int(requests[-1, 0]) - turns
    for start in range(_STEADY, last + 1, turns):
        yield _within(requests, start, start + turns)


def _turn(requests: Lengths) -> float:
    """Tokens of a turn, on average."""
    return float(requests[-1, 1] / requests[-1, 0])


def _by_million(replayed: Sequence[Lengths]) -> Iterator[int]:
    whole = min(int(requests[-1, 1]) for requests in replayed) // 1_000_000
    for million in range(whole):
        found = [requests[requests[:, 1] // 1_000_000 == million, 2] for requests in replayed]
        yield round(float(np.concatenate(found).mean()))
