"""Which pages a turn stands on, found with a few questions to the store.

Recall must not wait until a long session is read. Turns are much alike, so where a page
stands among the pages is guessed from where its turn stands among the turns.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from optimem.stores import Store
from optimem.values import PageFacts, Scope

_AT_ONCE = 8  # pages asked for around a guess
_GUESSES = 3  # before what is left is halved


class PageSearch:
    """Finds pages of one session as it stands.

    Args:
        store: where the session lives.
        scope: whose it is.
        turns: how many positions it has given out.
        pages: how many pages it has.
        known: the facts of the first of them.
    """

    def __init__(
        self, store: Store, scope: Scope, turns: int, pages: int, known: Sequence[PageFacts]
    ) -> None:
        self._store = store
        self._scope = scope
        self._turns = turns
        self._pages = pages
        self._known = known
        self._asked: dict[int, PageFacts] = {}

    def of(self, position: int) -> range:
        """Numbers of the sealed pages that a turn stands on, whole or in part."""
        first = self._first(0, 0, position, lambda facts: facts.last >= position)
        behind = self._first(first, position, position, lambda facts: facts.first > position)
        return range(first, behind)

    def _first(self, low: int, left: int, position: int, holds: Callable[[PageFacts], bool]) -> int:
        """The first page from `low` on, which turn `left` begins, for which something holds."""
        high, right = self._pages, self._turns
        guesses = 0
        while low < high:
            # Where turns are not alike, guesses alone could creep.
            share = (position - left) / max(right - left, 1) if guesses < _GUESSES else 0.5
            guess = min(max(low + int((high - low) * share), low), high - 1)
            guesses += 1
            window = self._window(guess, low, high)
            if not window:  # dropped meanwhile
                return low
            if holds(window[0]):
                high, right = window[0].number, window[0].first
            elif not holds(window[-1]):
                low, left = window[-1].number + 1, window[-1].last
            else:
                return window[bisect_left(window, True, key=holds)].number
        return low

    def _window(self, number: int, low: int, high: int) -> Sequence[PageFacts]:
        """Facts of a page and of those around it."""
        start = max(number - _AT_ONCE // 2, low)
        stop = min(start + _AT_ONCE, high)
        if stop <= len(self._known):
            return self._known[start:stop]
        if not all(near in self._asked for near in range(start, stop)):
            found = self._store.page_facts(self._scope, start, stop)
            self._asked.update((facts.number, facts) for facts in found)
        return [self._asked[near] for near in range(start, stop) if near in self._asked]
