"""Pins: turns that never fade, whatever becomes of their pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from optimem.policies.candidates import keep
from optimem.policies.draft import text_where_cheaper
from optimem.policies.policy import Listener, Situation
from optimem.values import Plan, Role, Turn

_PIN = float("inf")


@dataclass(frozen=True, slots=True)
class Pinned:
    """Keeps turns as text for good, beside their pages while these are shown.

    A turn is pinned that one of the three names; with a call or a result goes the whole
    exchange. Put it in front of `TokenBudget`, which fits everything else around the pins.

    Attributes:
        turns: ids of turns.
        roles: whose turns are pinned: ("user",) keeps every instruction.
        patterns: regular expressions that a turn's words must hold a match of.
    """

    waits: ClassVar[bool] = True

    turns: Sequence[str] = ()
    roles: Sequence[Role] = ()
    patterns: Sequence[str] = ()

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None

    def listeners(self) -> Sequence[Listener]:
        """One that looks for the pins."""
        return [_Pins(frozenset(self.turns), frozenset(self.roles), tuple(self.patterns))]

    def apply(self, situation: Situation, plan: Plan) -> Plan:
        """The plan with its pins beside their pages."""
        pinned = keep(plan, (remark for remark in situation.remarks if remark.pinned))
        return text_where_cheaper(situation, pinned)


@dataclass(slots=True)
class _Pins:
    ids: frozenset[str]
    roles: frozenset[Role]
    patterns: tuple[str, ...]
    notable: list[int] = field(default_factory=list)
    _why: dict[int, str] = field(default_factory=dict)

    def hear(self, position: int, turn: Turn) -> None:
        why = self._reason(turn)
        if why:
            self.notable.append(position)
            self._why[position] = why

    def worth(self, position: int) -> float:
        return _PIN if position in self._why else 0.0

    def reason(self, position: int) -> str:
        return self._why[position]

    def spoken_of(self, position: int) -> int:
        return position

    def _reason(self, turn: Turn) -> str:
        if turn.id in self.ids:
            return "pinned"
        if turn.role in self.roles:
            return f"pinned with all turns of the {turn.role}"
        text = turn.text if self.patterns else ""
        found = next((p for p in self.patterns if re.search(p, text)), None)
        return "" if found is None else f"pinned by the pattern {found}"
