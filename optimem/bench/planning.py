"""How long planning takes: a whole session of many pages, and again after each append.

Timed is what a `Memory` does between its ledger and its plan: the situation that the policy
is told, with what listeners hear of new turns, and the policy. The session repeats the turns
that it is given, each page holds a few of them, and all pages stay in sight.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median
from typing import cast

from optimem.bench.ours import Tape, TapeLedger
from optimem.bench.recorded import Recorded
from optimem.ledger.facts import turn_facts
from optimem.modes import Tier
from optimem.planning.situations import Situations
from optimem.policies import AgeDecay, Epochs, Policy, Rehearsal, Salience, TokenBudget
from optimem.policies.policy import listeners, rehearses
from optimem.readers import find_reader
from optimem.stores import Store
from optimem.tokens import find_counter
from optimem.values import Entry, PageFacts, Plan, Rehearsed, Scope, Turn

PAGES = 10_000
APPENDS = 4_000
_TURNS_A_PAGE = 5
_TURN = 400  # tokens
_PAGE = PageFacts(0, "", 0, 0, 0, tokens=_TURN * _TURNS_A_PAGE, caption_tokens=60)
_READER = replace(find_reader("anthropic:claude-opus-5.5"), window=None)
_BUDGET = 6_000_000
_RECALLED = 20  # appends after which something is recalled, where that counts
_ROUNDS = 5
_SCOPE = Scope("bench", "planning")
_LADDER = tuple(rung for rung in AgeDecay().ladder if rung[0] != Tier.FORGOTTEN)

POLICIES: dict[str, Policy] = {
    "default": Epochs((AgeDecay("turns", _LADDER), TokenBudget())),
    "with Salience and Rehearsal": Epochs(
        (Rehearsal(AgeDecay("turns", _LADDER)), Salience(), TokenBudget())
    ),
}
"""Those of the README, but for the last rung of the ladder, so that nothing is forgotten."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Milliseconds of processor time.

    Attributes:
        whole: to plan all pages at once, none of which was planned before, and all of whose
            turns were heard.
        append: to plan again after one append, on average over many, epochs included.
        middle: the same, the median: of those appends after which the plan is kept.
        hearing: of `append`, what listening to the new turns took.
        epochs: how many new plans there were.
        beside: turns that stood as text beside their pages in the end.
    """

    whole: float
    append: float
    middle: float
    hearing: float
    epochs: int
    beside: int


@dataclass(slots=True)
class _Talk(Tape):
    """A tape that repeats some turns, with their words."""

    turns: Sequence[Turn] = ()

    def entries(self, scope: Scope, start: int, stop: int) -> Iterator[Entry]:
        """Turns by position."""
        yield from (Entry(n, self.turns[n % len(self.turns)]) for n in range(start, stop))


def measure_planning(turns: Sequence[Turn], policy: Policy, pages: int | None = None) -> Planned:
    """Plan a long session.

    Args:
        turns: what is said in it, over and over.
        policy: decides the tiers.
        pages: how many there are at first; `PAGES` by default.
    """
    pages = PAGES if pages is None else pages
    tape = _Talk(_repeated(turns, pages), turns=turns)
    ledger = TapeLedger(tape)
    situations = Situations(cast("Store", tape), _SCOPE, ledger, policy)

    def plan(past: Plan | None) -> Plan:
        situation = situations.situation(
            _READER, _BUDGET, fixed=0, legend=100, marker=20, past=past, now=None
        )
        return policy.apply(situation, past or Plan()).settled()

    ledger.advance(pages * _TURNS_A_PAGE)
    made = plan(None)
    whole, append, draw = [], [], random.Random(1)
    for _ in range(_ROUNDS):
        begun = time.thread_time()
        made = plan(None)
        whole.append(time.thread_time() - begun)
    for turn in range(APPENDS):
        if rehearses(policy) and turn % _RECALLED == 0:
            position = draw.randrange(made.frontier)
            made = made.rehearse([Rehearsed(position, len(ledger.turns), 0.0)])
        ledger.advance(pages * _TURNS_A_PAGE + turn + 1)
        begun = time.thread_time()
        made = plan(made)
        append.append(time.thread_time() - begun)
    return Planned(
        round(1000 * median(whole), 2),
        round(1000 * mean(append), 3),
        round(1000 * median(append), 3),
        round(1000 * _hearing(tape, policy) / APPENDS, 3),
        made.epoch - 1,
        len(made.kept),
    )


def _hearing(tape: _Talk, policy: Policy) -> float:
    """Seconds that listening to the appended turns alone takes."""
    heard = listeners(policy)
    begun = time.thread_time()
    for entry in tape.entries(_SCOPE, 0, APPENDS):
        for listener in heard:
            listener.hear(entry.position, entry.turn)
    return time.thread_time() - begun


def _repeated(turns: Sequence[Turn], pages: int) -> Recorded:
    """Facts of the turns over and over, a few to each page."""
    counter = find_counter()
    once = [turn_facts(turn, counter) for turn in turns]
    length = pages * _TURNS_A_PAGE + APPENDS
    facts = []
    for n in range(length):
        around, said = str(n // len(once)), once[n % len(once)]
        calls, answers = (tuple(c + around for c in ids) for ids in (said.calls, said.answers))
        facts.append(replace(said, tokens=_TURN, time=None, calls=calls, answers=answers))
    count = length // _TURNS_A_PAGE
    ends = [(n * _TURNS_A_PAGE, (n + 1) * _TURNS_A_PAGE) for n in range(count)]
    sheets = [
        replace(_PAGE, number=n, first=first, last=stop - 1, stop=stop)
        for n, (first, stop) in enumerate(ends)
    ]
    return Recorded("repeated", facts, sheets, [stop for _, stop in ends])
