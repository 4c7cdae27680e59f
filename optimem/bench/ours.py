"""Our own row: what a policy of `optimem.policies` would show at each request.

The facts are those that `optimem.planning.situations` gives, the policy is the one that a `Memory`
runs, and pages stand on sheets as in a context: `tests/test_bench_policy.py` holds the
tokens of both against each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from optimem.bench.reading import Rates
from optimem.bench.recorded import CAPTION, Mention, Recorded
from optimem.bench.rows import Extra, Log, Sight, rate_in
from optimem.errors import BudgetError
from optimem.ledger import Ledger
from optimem.modes import Tier
from optimem.planning.situations import Situations
from optimem.policies import Frontier, Policy, Situation
from optimem.policies.candidates import ABSENT
from optimem.readers import Profile
from optimem.readers.cache import Prompt
from optimem.renderers.layout import PageStyle
from optimem.renderers.sheets import Group, most_saved, plan_groups
from optimem.stores import SessionState, Store
from optimem.tokens import find_counter
from optimem.values import Plan, Scope, TurnFacts

_LEGEND, _MARKER, _SHEETS = 118, 21, 32
"""Tokens of the notes in front of pages, as `optimem.planning.segments` words them."""
_TRIES = 4
_SCOPE = Scope("bench", "replay")


@dataclass(slots=True)
class Tape:
    """A recorded session as a store would show it after its first turns."""

    recorded: Recorded
    length: int = 0

    def state(self, scope: Scope) -> SessionState:
        """How long the log is."""
        return SessionState(self.length, len(self.recorded.pages))

    def turn_facts(self, scope: Scope, start: int) -> Iterator[tuple[int, TurnFacts]]:
        """What is known of the turns from `start` on."""
        yield from enumerate(self.recorded.turns[start : self.length], start)


class TapeLedger(Ledger):
    """The ledger of a tape, which has its pages already."""

    def __init__(self, tape: Tape) -> None:
        super().__init__(cast("Store", tape), _SCOPE, find_counter(), PageStyle(), CAPTION)
        self._tape = tape
        self._sealed = np.array(tape.recorded.sealed, np.int64)

    def advance(self, turns: int) -> None:
        """Catch up with the log's first turns."""
        self._tape.length = turns
        self.read()
        count = int(np.searchsorted(self._sealed, turns, side="right"))
        self.pages += self._tape.recorded.pages[len(self.pages) : count]

    def overflows(self, profile: Profile, budget: int) -> Sequence[Frontier]:
        """None: no exchange of these sessions fills a budget by itself."""
        return ()


class Ours:
    """Fading pages.

    Args:
        log: the session for one reader.
        rates: how pages are read.
        policy: decides the tiers.
        budget: the most tokens of a request; None for no limit.
        name: of the row.
    """

    def __init__(
        self, log: Log, rates: Rates, policy: Policy, budget: int | None, name: str = "ours"
    ) -> None:
        self.name = name
        self._log, self._rates, self._policy, self._budget = log, rates, policy, budget
        profile, pages, tape = log.profile, log.recorded.pages, Tape(log.recorded)
        self._ledger = TapeLedger(tape)
        self._situations = Situations(cast("Store", tape), _SCOPE, self._ledger, policy)
        saved = {tier: most_saved(profile, tier) for tier in profile.modes}
        self._saved = np.array([saved.get(tier, 0) for tier in Tier])
        self._texts = [profile.text_cost(page.tokens) for page in pages]
        self._captions = [profile.text_cost(page.caption_tokens) for page in pages]
        self._beside: dict[str, list[int]] = defaultdict(list)
        for page in pages:
            for anchor in page.anchors:
                self._beside[anchor].append(page.number)
        self._past: Plan | None = None
        self._blocks: list[tuple[int, int]] = []
        self._drawn: Plan | None = None
        self.epochs = 0

    @property
    def plan(self) -> Plan:
        """The plan of the last request."""
        return self._past or Plan()

    def send(self, turns: int, at: float) -> tuple[Prompt, Sight, Extra | None]:
        """Plan, and show what the plan says."""
        situation = self.situation(turns, at)
        past = self._past
        try:
            plan = self._policy.apply(situation, past or Plan()).settled()
        except BudgetError as error:  # a single exchange may be longer than a small window
            situation = replace(situation, budget=error.smallest)
            plan = self._policy.apply(situation, past or Plan()).settled()
        prompt = self._prompt(plan, turns, situation.marker)
        for _ in range(_TRIES):  # what is over of a sheet costs more than its share
            over = prompt.total - (self._budget or prompt.total)
            if over <= 0 or situation.budget is None:
                break
            situation = replace(situation, budget=situation.budget - over)
            with suppress(BudgetError):
                plan = self._policy.apply(situation, past or Plan()).settled()
            prompt = self._prompt(plan, turns, situation.marker)
        self.epochs += plan != past
        self._past = plan
        return prompt, self, None

    def _prompt(self, plan: Plan, turns: int, marker: int) -> Prompt:
        if plan != self._drawn:
            self._blocks, self._drawn = self._shown(plan, marker), plan
        return self._log.prompt(max(plan.frontier, self._log.head), turns, self._blocks)

    def situation(self, turns: int, at: float) -> Situation:
        """What the policy sees when the log has so many turns, at the prices of sheets."""
        self._ledger.advance(turns)
        profile = self._log.profile
        situation = self._situations.situation(
            profile,
            self._budget,
            fixed=0,
            legend=profile.text_cost(_LEGEND),
            marker=profile.text_cost(_MARKER),
            past=self._past,
            now=at,
        )
        table = situation.table
        costs = np.where(table.costs == ABSENT, ABSENT, table.costs - self._saved)
        return replace(situation, pages=replace(table, costs=costs))

    def _shown(self, plan: Plan, marker: int) -> list[tuple[int, int]]:
        """Notes and pages as blocks."""
        profile = self._log.profile
        if not plan.pages:
            return []
        groups = plan_groups(profile, plan, least=profile.text_cost(_SHEETS))
        blocks = [(-1, profile.text_cost(_LEGEND))] if groups else []
        if any(group.sheet for group in groups):
            blocks.append((-2, profile.text_cost(_SHEETS)))
        if plan.gone:
            blocks.append((-3 - plan.gone, marker))
        for group in groups:
            blocks += self._group(group)
        return blocks

    def _group(self, group: Group) -> list[tuple[int, int]]:
        tier = group.tier
        if tier == Tier.TEXT:
            return [((n + 1 << 44) | tier, self._texts[n]) for n in group.pages]
        captions = [(n + 1 << 44, self._captions[n]) for n in group.pages]
        cost = group.sheet.tokens if group.sheet else self._log.profile.page_cost(tier)
        return [*captions, ((group.pages[0] + 1 << 44) | len(group.pages) << 8 | tier, cost)]

    def rate(self, mention: Mention) -> float:
        """By the tier of the best page that it stands on, or 1 where it stands as text."""
        plan, head = self.plan, self._log.head
        best = 0.0
        for turn, page in mention.places:
            if turn >= plan.frontier or turn < head or page >= plan.pages:
                return 1.0
            tier = plan.tier(page)
            if tier == Tier.TEXT or any(k.start <= turn < k.stop for k in plan.kept):
                return 1.0
            if tier != Tier.FORGOTTEN:
                best = max(best, rate_in(self._rates, tier, mention))
        if mention.kind != "phrase":
            for page in reversed(self._beside.get(mention.text, ())):
                if plan.gone <= page < plan.pages and plan.tier(page).is_mode:
                    return 1.0
        return best
