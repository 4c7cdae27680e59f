"""Situations: what a policy is told of a session, one reader and one moment.

Built from columns that grow with the session, so that a turn more costs no pass over all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache, partial

import numpy as np

from optimem import fidelity
from optimem.ledger import Ledger
from optimem.modes import Tier
from optimem.policies.candidates import Age, Candidates, Recalled, Remark, Remarks
from optimem.policies.policy import Cache, Listener, Policy, Situation, listeners, nowhere
from optimem.readers import Profile
from optimem.stores import Store
from optimem.values import Kept, Plan, Scope

_WORDS = "From turn {position}, {role}, word for word: {text}"


class Situations:
    """Describes one session to a policy.

    Args:
        store: where what was measured and the words are.
        scope: whose session it is.
        ledger: the session's facts, in step with the store.
        policy: who is told; it may send listeners to the session's words.
    """

    def __init__(self, store: Store, scope: Scope, ledger: Ledger, policy: Policy) -> None:
        self._store = store
        self._scope = scope
        self._ledger = ledger
        self._policy = policy
        self._generation = -1
        self._listeners: list[Listener] = []
        self._position = 0  # up to which they have heard
        self._words: dict[tuple[int, int], str] = {}
        self._costs: dict[Profile, dict[tuple[int, int], int]] = {}
        self._kept: tuple[Profile, Plan, int] | None = None  # what a plan's kept turns cost

    def situation(
        self,
        profile: Profile,
        budget: int | None,
        *,
        fixed: int,
        legend: int,
        marker: int,
        past: Plan | None,
        now: float | None,
    ) -> Situation:
        """What a policy is told; see `Situation`.

        Args:
            profile: the reader.
            budget: the most tokens, None for no limit.
            fixed: tokens of what is always there.
            legend: tokens of the note in front of pages.
            marker: tokens of the note on what is forgotten.
            past: the reader's last plan.
            now: seconds since the epoch; the clock's by default.
        """
        self._renew()
        ledger, gone = self._ledger, 0 if past is None else past.gone
        # What left the text does not come back, but for what overflowed.
        since = gone if past is None or past.overflow else past.pages
        moment = time.time() if now is None else now
        sums = ledger.sums(profile)
        kept = None
        if past is not None:
            kept = int(sums[-1] - sums[past.frontier])
            if past.overflow:
                kept += ledger.note_cost(profile, ledger.rest(past.pages, past.frontier))
        return Situation(
            pages=self._pages(profile, gone, moment),
            frontiers=ledger.frontiers(profile, gone, since),
            beyond=nowhere if budget is None else cache(partial(ledger.overflows, profile, budget)),
            past=kept,
            turns=len(ledger.turns),
            fixed=fixed + int(sums[ledger.head]),
            legend=legend,
            marker=marker,
            budget=budget,
            gone=gone,
            before=past or Plan(),
            fidelity=self._fidelity(profile),
            remarks=Remarks(partial(self._remarks, profile, past or Plan())),
            beside=None if past is None else self._beside(profile, past),
            recalled=Recalled(partial(self._recalled, profile, past or Plan(), moment)),
            cache=_cache(profile),
            idle=self._idle(moment),
        )

    def words(self, kept: Kept) -> str:
        """What turns say that are kept as text, under a line that names them."""
        return self._text(kept.start, kept.stop)

    def cost(self, profile: Profile, start: int, stop: int) -> int:
        """What turns cost a reader that are kept as text."""
        return self._cost(profile, self._costs.setdefault(profile, {}), (start, stop))

    def _cost(
        self, profile: Profile, known: dict[tuple[int, int], int], turns: tuple[int, int]
    ) -> int:
        if turns not in known:
            known[turns] = self._ledger.note_cost(profile, self._text(*turns))
        return known[turns]

    def _beside(self, profile: Profile, past: Plan) -> int:
        """What the turns cost that the past plan keeps as text beside pages."""
        if not past.kept:
            return 0
        if self._kept is None or self._kept[0] != profile or self._kept[1] is not past:
            costs = (self.cost(profile, k.start, k.stop) for k in past.kept if past.shows(k))
            self._kept = profile, past, sum(costs)
        return self._kept[2]

    def _pages(self, profile: Profile, gone: int, moment: float) -> Candidates:
        ledger = self._ledger
        stops, sums = ledger.stops()[gone:], ledger.sums(profile)
        ages = np.fmax(moment - ledger.times()[gone:], 0.0)  # 0 where it is not known
        costs = ledger.cost_rows(profile)[gone:]
        turns = len(ledger.turns) - stops
        return Candidates(costs, stops, turns, sums[-1] - sums[stops], ages, gone)

    def _fidelity(self, profile: Profile) -> dict[Tier, float]:
        """What was measured of readers: that run here in the store, of others in their profile."""
        if profile.counter is None:
            return dict(profile.fidelity)
        found = fidelity.stored(self._store, self._scope, profile.name)
        return {tier: each.share for tier, each in found.items()}

    def _idle(self, moment: float) -> float:
        """Seconds since an assistant last answered; 0 where that is not known."""
        for facts in reversed(self._ledger.turns):
            if facts is not None and facts.role == "assistant":
                return 0.0 if facts.time is None else max(moment - facts.time, 0.0)
        return 0.0

    def _recalled(self, profile: Profile, past: Plan, moment: float) -> Iterator[tuple[int, Age]]:
        """The pages of turns that were recalled, those recalled last at the end."""
        pages, turns = self._ledger.pages, len(self._ledger.turns)
        sums = self._ledger.sums(profile)
        firsts = np.searchsorted(self._ledger.lasts(), [each.position for each in past.rehearsed])
        for turn, number in zip(past.rehearsed, firsts.tolist(), strict=True):
            tokens = int(sums[-1] - sums[min(turn.turns, turns)])
            age = Age(turns - turn.turns, tokens, max(moment - turn.time, 0.0), not turn.answered)
            while number < len(pages) and pages[number].first <= turn.position:
                yield number, age
                number += 1

    def _remarks(self, profile: Profile, past: Plan) -> Iterator[Remark]:
        """Turns worth keeping, with the exchange that they belong to, and what is kept."""
        ledger = self._ledger
        self._listen()
        kept = {(each.start, each.stop): each.reason for each in past.kept}
        found = {**dict.fromkeys(kept), **self._notable(past)}
        around = sorted(pair for pair in found if pair[0] >= ledger.head)
        starts, stops = np.array(around, np.int64).reshape(-1, 2).T
        firsts = np.searchsorted(ledger.lasts(), starts)
        lasts = np.searchsorted(ledger.stops(), stops).clip(max=len(ledger.pages) - 1)
        costs = self._costs.setdefault(profile, {})
        for pair, first, last in zip(around, firsts.tolist(), lasts.tolist(), strict=True):
            if first == len(ledger.pages):
                break  # it is on no page yet
            (start, stop), tokens = pair, self._cost(profile, costs, pair)
            heard = found[pair]
            if heard is None:
                yield Remark(start, stop, first, last, tokens, 0.0, kept[pair])
                continue
            worth, listener, position = heard
            said = max(listener.spoken_of(position), stop - 1)
            turns = len(ledger.turns) - 1 - said
            why = listener.reason(position)
            yield Remark(start, stop, first, last, tokens, worth, why, turns, said >= past.made)

    def _notable(self, past: Plan) -> dict[tuple[int, int], tuple[float, Listener, int]]:
        """Exchanges on pages that are not gone, or that are pinned: worth, who says so, turn."""
        ledger = self._ledger
        stops = ledger.stops()
        shown = int(stops[past.gone - 1]) if past.gone else 0
        end = ledger.pages[-1].last + 1 if ledger.pages else 0
        found: dict[tuple[int, int], tuple[float, Listener, int]] = {}
        for listener in self._listeners:
            notable = [position for position in listener.notable if position < end]
            starts, stops = ledger.exchanges.all_around(np.array(notable, np.int64))
            around = zip(starts.tolist(), stops.tolist(), strict=True)
            for position, pair in zip(notable, around, strict=True):
                worth = listener.worth(position)
                if worth <= 0 or (position < shown and worth < np.inf):
                    continue
                if pair not in found or worth > found[pair][0]:
                    found[pair] = worth, listener, position
        return found

    def _renew(self) -> None:
        """Begin anew if turns were taken away."""
        if self._generation != self._ledger.generation:
            self._listeners = listeners(self._policy)
            self._position, self._generation = 0, self._ledger.generation
            self._kept = None
            self._words.clear()
            self._costs.clear()

    def _listen(self) -> None:
        """Have the listeners hear what is new."""
        ledger = self._ledger
        if self._listeners and self._position < len(ledger.turns):
            for entry in ledger.tail.entries(self._position, len(ledger.turns)):
                for listener in self._listeners:
                    listener.hear(entry.position, entry.turn)
            self._position = len(ledger.turns)

    def _text(self, start: int, stop: int) -> str:
        if (start, stop) not in self._words:
            self._words[start, stop] = "\n".join(
                _WORDS.format(position=e.position, role=e.turn.role, text=e.turn.text)
                for e in self._store.entries(self._scope, start, stop)
            )
        return self._words[start, stop]


def _cache(profile: Profile) -> Cache | None:
    """What is known of a reader's prompt cache."""
    rule = profile.cache
    if rule is None:
        return None
    cliffs = () if profile.dollars is None else profile.dollars.cliffs
    return Cache(rule.read, rule.write, rule.life, min(cliffs, default=None))
