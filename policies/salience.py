"""Salience: turns worth keeping word for word while their pages fade.

Recency alone keeps half of what value times freshness keeps. What a turn is worth is told
without a model, from its words and from what was said after it:

* who says it: what a user states outlives what a tool printed;
* decisions ("we settled on", "from now on", "must not") and errors;
* novelty: exact strings (ids, paths, amounts) that nobody had said before;
* references: later turns that say such a string again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from optimem.exact import find_exact
from optimem.modes import Tier
from optimem.policies.candidates import keep
from optimem.policies.draft import text_where_cheaper
from optimem.policies.policy import Listener, Situation
from optimem.values import Plan, Turn

Scorer = Callable[[Turn], float]
"""What a turn is worth by itself, from 0 to 1."""

ROLES: Mapping[str, float] = {"user": 0.5, "system": 0.5, "assistant": 0.2, "tool": 0.0}
"""What a turn is worth for who says it."""

_DECISION = re.compile(
    r"\b(?:decided?|settled? on|agreed?|chose|let's (?:use|go with)|from now on|always|never"
    r"|we(?:'ll| will| should) (?:use|go with)|must(?: not|n't)?|do(?: not|n't)|remember|important"
    r"|instead of|prefer|root cause|the (?:problem|issue|reason|fix) (?:is|was))\b",
    re.IGNORECASE,
)
_ERROR = re.compile(
    r"\b(?:Traceback|[A-Z]\w*(?:Error|Exception)|error:|fatal:|FAILED|panic:|exit code [1-9]"
    r"|assertion failed|permission denied|not found)",
)
_LONG = 2000  # characters; a longer turn is no remark but a document
_LOOKED_AT = 20_000  # characters of a turn that are read
_REFERENCES = 3  # later turns, by which a reference counts in full


def score(turn: Turn) -> float:
    """What a turn is worth by itself: who says it, and whether it decides or fails."""
    text = turn.text[:_LOOKED_AT]
    worth = ROLES.get(turn.role, 0.0)
    if _DECISION.search(text) and turn.role != "tool":
        worth += 0.3
    if _ERROR.search(text):
        worth += 0.3
    return min(worth, 1.0)


@dataclass(frozen=True, slots=True)
class Salience:
    """Keeps the turns that are worth most, for their tokens, as text beside fading pages.

    Worth times freshness decides: a turn that nobody has spoken of for `half` turns counts
    half. What has been let go comes back only when it is spoken of again.

    Attributes:
        share: the most that kept turns may take of the budget.
        half: turns after which a turn that is not spoken of counts half.
        least: worth times freshness that a turn must have.
        scorer: what a turn is worth by itself; what later turns say of it is added.
    """

    waits: ClassVar[bool] = True

    share: float = 0.1
    half: float = 128.0
    least: float = 0.15
    scorer: Scorer = score

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.half <= 0 or self.least <= 0:
            raise ValueError("share must be between 0 and 1, half and least above 0")

    def listeners(self) -> Sequence[Listener]:
        """One that weighs every turn."""
        return [_Weighing(self.scorer)]

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        """The plan with the turns that are worth keeping, in place of those no longer."""
        before = {kept.start for kept in plan.kept}
        likely = []
        for remark in situation.remarks:
            now = remark.worth / (1 + remark.turns / self.half)
            if now < self.least or remark.stop > plan.frontier or remark.pinned:
                continue
            new = remark.renewed or remark.last >= situation.before.pages
            if (new or remark.start in before) and plan.tier(remark.last) != Tier.FORGOTTEN:
                likely.append((now / max(remark.tokens, 1), remark))
        room = int(self.share * (situation.budget or situation.tokens(replace(plan, kept=()))))
        chosen = []
        for _, remark in sorted(likely, key=lambda each: (-each[0], -each[1].start)):
            if remark.tokens <= room:
                room -= remark.tokens
                chosen.append(remark)
        pins = [remark for remark in situation.remarks if remark.pinned]
        return text_where_cheaper(situation, keep(replace(plan, kept=()), (*pins, *chosen)))


@dataclass(slots=True)
class _Weighing:
    scorer: Scorer
    notable: list[int] = field(default_factory=list)
    _base: dict[int, float] = field(default_factory=dict)  # by itself, and for what was new
    _worth: dict[int, float] = field(default_factory=dict)  # with what later turns say
    _said: dict[int, int] = field(default_factory=dict)  # last later turn that spoke of it
    _times: dict[int, int] = field(default_factory=dict)  # how many later turns did
    _source: dict[str, int] = field(default_factory=dict)  # who said a string first

    def hear(self, position: int, turn: Turn) -> None:
        text = turn.text
        strings = {exact.text for exact in find_exact(text[:_LOOKED_AT])}
        sources = {self._source[string] for string in strings if string in self._source}
        for source in sources:
            self._said[source] = position
            self._times[source] = self._times.get(source, 0) + 1
            if source in self._base:
                self._weigh(source)
        new = [string for string in strings if string not in self._source]
        self._source.update(dict.fromkeys(new, position))
        if 0 < len(text) <= _LONG:
            novel = 0.1 * min(len(new), 2) / 2
            self._base[position] = max(0.0, min(1.0, self.scorer(turn))) + novel
            self._weigh(position)
            self.notable.append(position)

    def _weigh(self, position: int) -> None:
        again = 0.4 * min(self._times.get(position, 0), _REFERENCES) / _REFERENCES
        self._worth[position] = min(self._base[position] + again, 1.0)

    def worth(self, position: int) -> float:
        return self._worth.get(position, 0.0)

    def reason(self, position: int) -> str:
        times = self._times.get(position, 0)
        said = f", {times} later turns speak of it" if times > 1 else ""
        return f"worth {self.worth(position):.2f}{said}"

    def spoken_of(self, position: int) -> int:
        return self._said.get(position, position)
