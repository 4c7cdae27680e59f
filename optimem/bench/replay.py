"""A session replayed request by request: tokens, cache, dollars, and what could be read."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field

from optimem.bench.recorded import Mention, Recorded
from optimem.bench.rows import Row
from optimem.readers import Profile
from optimem.readers.cache import PromptCache, Served, cost


@dataclass(slots=True)
class Outcome:
    """What a row came to.

    Attributes:
        requests: how many there were.
        sent: input tokens of all of them.
        read: of these, from the cache.
        dollars: for them, and for what a row asked besides.
        largest: tokens of the longest request.
        last: tokens of the last one.
        seen: by kind of mention ("strings", "phrases", "answers", and "far": those farther
            back than 8,000 tokens) the sum of rates, and how many there were.
    """

    requests: int = 0
    sent: int = 0
    read: int = 0
    dollars: float = 0.0
    largest: int = 0
    last: int = 0
    seen: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0]))

    @property
    def warm(self) -> float:
        """The share of prompt tokens that was read from the cache."""
        return self.read / self.sent if self.sent else 0.0

    @property
    def evidence(self) -> float:
        """The share of all mentions that the reader could read where it was asked."""
        kinds = [self.seen[kind] for kind in ("strings", "phrases", "answers")]
        count = sum(number for _, number in kinds)
        return sum(rate for rate, _ in kinds) / count if count else 1.0

    def add(self, other: Outcome) -> None:
        """Take in another session's."""
        self.requests += other.requests
        self.sent += other.sent
        self.read += other.read
        self.dollars += other.dollars
        self.largest, self.last = max(self.largest, other.largest), other.last
        for kind, (rate, number) in other.seen.items():
            self.seen[kind][0] += rate
            self.seen[kind][1] += number


FAR = 8_000


def replay(
    recorded: Recorded,
    profile: Profile,
    row: Row,
    requests: int | None = None,
    since: int = 0,
) -> Outcome:
    """Send a session's requests one after another.

    Args:
        recorded: the session.
        profile: who reads, with the rules of its cache and its prices.
        row: makes the requests.
        requests: at most how many.
        since: leave out requests with fewer tokens of log; the first one finds a cold cache.
    """
    if profile.cache is None or profile.dollars is None:
        raise ValueError(f"{profile.name} has no known prices: choose a reader that has")
    outcome, cache = Outcome(), PromptCache(profile.cache)
    spent = recorded.spent()
    points = [n for n in recorded.requests() if spent[n] >= since][:requests]
    asked = _by_request(recorded, points)
    for n in points:
        at = recorded.times[n - 1]
        prompt, sight, extra = row.send(n, at)
        if extra is not None:
            served = cache.send(extra.prompt, at)
            outcome.dollars += cost(served, profile.cache, profile.dollars)
            outcome.dollars += extra.output * (profile.dollars.output or 0.0) / 1e6
            _count(outcome, served)
        served = cache.send(prompt, at)
        outcome.dollars += cost(served, profile.cache, profile.dollars)
        _count(outcome, served)
        outcome.requests += 1
        outcome.last = served.total
        for mention in asked.get(n, ()):
            rate = sight.rate(mention)
            kinds = ["phrases" if mention.kind == "phrase" else "strings"]
            if mention.turn == len(recorded.turns):
                kinds = ["answers"]
            if spent[mention.turn] - spent[mention.places[0][0] + 1] > FAR:
                kinds.append("far")
            for kind in kinds:
                outcome.seen[kind][0] += rate
                outcome.seen[kind][1] += 1
    return outcome


def _count(outcome: Outcome, served: Served) -> None:
    outcome.sent += served.total
    outcome.read += served.read
    outcome.largest = max(outcome.largest, served.total)


def _by_request(recorded: Recorded, points: list[int]) -> dict[int, list[Mention]]:
    """The mentions that each request has to serve.

    What the model says it takes from the request that it answers; what a user says stands
    in that request itself, and is looked for in what came before.
    """
    found: dict[int, list[Mention]] = defaultdict(list)
    for mention in recorded.mentions:
        turn = mention.turn
        if not points or turn < points[0]:
            continue
        user = turn < len(recorded.turns) and recorded.turns[turn].role == "user"
        place = bisect_left(points, turn + 1) if user else bisect_right(points, turn) - 1
        if 0 <= place < len(points):
            found[points[place]].append(mention)
    return found
