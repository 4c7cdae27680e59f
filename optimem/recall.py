"""Recall: from a question or an exact string to the turns that hold it, word for word.

Ranking is BM25 over any of the query's terms (Robertson and Zaragoza, The Probabilistic
Relevance Framework, 2009; the idf of Lucene, which is never negative), times how much of
what the query is about a turn has: else whoever asked in the same words before would
outrank the answer. It is computed here from a store's postings, so every home of a memory
ranks alike. Queries are plain words: no character in them has a meaning of its own.

The index follows the log: whoever recalls brings it up to date first, and so does an
append once a few hundred turns are missing.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from optimem.renderers.address import Place
from optimem.stores import BLOCK, Postings, SessionState, Store, decode_postings, index_stretches
from optimem.terms import ASKING, IS_CJK, exact_strings, searchable, stretches, terms
from optimem.values import Entry, Role, Scope

_K1, _B = 1.2, 0.75
_COMPLETIONS = 32
_READ_FOR_EXACT = 256  # turns whose words are looked at for one exact string
_MOST_TERMS = 64  # terms of one query
_COMMON = 0.3  # a term in more than this share of all stretches tells nothing
_PREFIX_WEIGHT = 0.3
_ASKING_WEIGHT = 0.25
_LEAST_SHARE = 0.02  # of what a query is about, for turns that have none of it
_EXACT_BONUS = 100.0  # an exact string outranks any sum of words
_LAG = 256  # turns that an append may leave for the next recall to index
_INDEXED_AT_ONCE = 1 << 22  # characters, to bound memory

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Recalled:
    """A turn that answers a query.

    Attributes:
        id: the turn's id.
        position: its place in the log.
        role: whose words they are.
        time: seconds since the epoch, or None.
        text: the exact words.
        score: its rank's weight; larger is better, comparable within one recall only.
        pages: numbers of the sealed pages that it stands on.
        places: its lines on those pages, one place for each.
    """

    id: str
    position: int
    role: Role
    time: float | None
    text: str
    score: float
    pages: tuple[int, ...] = ()
    places: tuple[Place, ...] = ()


class SearchIndex:
    """The search index of one session, in step with its log.

    Args:
        store: where the session lives.
        scope: whose it is.
    """

    def __init__(self, store: Store, scope: Scope) -> None:
        self._store = store
        self._scope = scope
        self._indexed = 0

    def follow(self, turns: int) -> None:
        """Catch up with a log of so many turns if the index lags far behind."""
        if turns - self._indexed >= _LAG:
            self.catch_up()

    def catch_up(self) -> SessionState:
        """Index the turns that are not yet; returns the session as it then stands."""
        while True:
            state = self._store.state(self._scope)
            self._indexed = state.indexed
            if state.indexed == state.turns:
                return state
            # Others may index the same turns meanwhile: then theirs are kept.
            start, stop = state.indexed, min(state.turns, (state.indexed // BLOCK + 1) * BLOCK)
            run: list[Entry] = []
            size = 0
            for entry in self._store.entries(self._scope, start, stop):
                run.append(entry)
                size += len(entry.turn.text)
                if size > _INDEXED_AT_ONCE:
                    stop = entry.position + 1
                    break
            self._store.index(self._scope, index_entries(run), stop, state)

    def search(self, query: str, limit: int) -> list[tuple[int, float]]:
        """Positions of the turns that match best, best first, with their scores."""
        state = self.catch_up()
        exact = exact_strings(query)
        weights = self._weights(query, exact, state)
        found = self._store.postings(self._scope, weights)
        shares = _shares(query, exact, weights)
        scores, held = np.zeros(state.turns), np.zeros(state.turns)  # (turns,)
        holders: dict[str, Positions] = {}
        mean = state.terms / max(state.documents, 1)
        for term, weight in weights.items():
            positions, gains = _gains(found.get(term, b""), mean, state.turns)
            scores[positions] += weight * gains * (1 if term in shares else _ASKING_WEIGHT)
            held[positions] += shares.get(term, 0)
            if exact:
                holders[term] = positions
        scores *= np.sqrt(np.clip(held, _LEAST_SHARE, 1))
        for position, strings in self._held(exact, weights, holders, state.turns).items():
            scores[position] += _EXACT_BONUS * strings
        return _largest(scores, limit)

    def _weights(self, query: str, exact: list[str], state: SessionState) -> dict[str, float]:
        """Inverse document frequency of the query's terms that are worth reading."""
        words = list(islice(dict.fromkeys(terms(query)), _MOST_TERMS))
        wanted = dict.fromkeys(words, 1.0)
        prefixes = [word for word in words if len(word) > 2 and not IS_CJK.match(word)]
        for longer in self._store.completions(self._scope, prefixes, _COMPLETIONS):
            wanted.setdefault(longer, _PREFIX_WEIGHT)
        counts = self._store.frequencies(self._scope, wanted)
        total = max(state.documents, 1)
        kept = set(_rare(counts, counts, total))
        kept.update(_rare((word for word in words if word not in ASKING), counts, total))
        for string in exact:
            kept.update(_rare(terms(string), counts, total))
        return {
            term: wanted[term] * math.log(1 + (total - n + 0.5) / (n + 0.5))
            for term, n in counts.items()
            if term in kept
        }

    def _held(
        self,
        exact: list[str],
        weights: Mapping[str, float],
        holders: Mapping[str, Positions],
        turns: int,
    ) -> dict[int, int]:
        """How many of the exact strings a turn holds, for those turns that hold any.

        Of the turns with the strings' terms, those with the most telling ones are read.
        """
        likely: set[int] = set()
        for string in exact:
            told = np.zeros(turns)  # (turns,)
            for term in set(terms(string)) & set(weights):
                told[holders[term]] += weights[term]
            likely.update(position for position, _ in _largest(told, _READ_FOR_EXACT))
        held: dict[int, int] = {}
        for entry in self._store.entries_at(self._scope, sorted(likely)):
            text = searchable(entry.turn)
            held[entry.position] = sum(string in text for string in exact)
        return held


def index_entries(entries: Iterable[Entry]) -> Postings:
    """What some turns add to the search index."""
    return index_stretches(
        (entry.position, found) for entry in entries for found in stretches(searchable(entry.turn))
    )


def fuse(rankings: Iterable[list[int]], limit: int) -> list[tuple[int, float]]:
    """Reciprocal rank fusion (Cormack et al., SIGIR 2009), with its k of 60."""
    scores: defaultdict[int, float] = defaultdict(float)
    for ranking in rankings:
        for rank, position in enumerate(ranking):
            scores[position] += 1 / (60 + rank + 1)
    return heapq.nlargest(limit, scores.items(), key=lambda pair: (pair[1], pair[0]))


def recalled(entry: Entry, score: float, places: tuple[Place, ...]) -> Recalled:
    """A turn as recall returns it."""
    turn = entry.turn
    pages = tuple(place.page for place in places)
    return Recalled(turn.id, entry.position, turn.role, turn.time, turn.text, score, pages, places)


def _gains(data: bytes, mean: float, turns: int) -> tuple[Positions, Floats]:
    """Where a term stands, and the share of its weight that each turn gets (its best stretch)."""
    found = decode_postings(data)  # (postings,)
    found = found[found["position"] < turns]  # others may have indexed newer turns meanwhile
    if not len(found):
        return np.zeros(0, np.intp), np.zeros(0)
    count = found["count"].astype(np.float64)
    norm = _K1 * (1 - _B + _B * found["length"] / max(mean, 1))
    gains = count * (_K1 + 1) / (count + norm)
    positions = found["position"].astype(np.intp)
    first = np.flatnonzero(np.diff(positions, prepend=-1))  # (turns,): the stretches of one adjoin
    return positions[first], np.maximum.reduceat(gains, first)


def _shares(query: str, exact: list[str], weights: Mapping[str, float]) -> dict[str, float]:
    """Which part of what a query is about each term is.

    Words that questions are put with are about nothing, unless there are no others.
    """
    own = set(terms(query)) & weights.keys()
    literal = {term for string in exact for term in terms(string)}
    about = own - (ASKING - literal) or own or set(weights)
    total = sum(weights[term] for term in about)
    return {term: weights[term] / total for term in weights if term in about or term not in own}


def _rare(found: Iterable[str], counts: Mapping[str, int], total: int) -> list[str]:
    """Those terms that tell stretches apart; all of them when none does."""
    known = [term for term in found if term in counts]
    return [term for term in known if counts[term] <= max(_COMMON * total, 8)] or known


def _largest(scores: Floats, limit: int) -> list[tuple[int, float]]:
    """The `limit` best positions, newer turns first among equals; nothing without a score."""
    likely = np.flatnonzero(scores)
    if len(likely) > limit:
        found = scores[likely]  # partition is slow on many zeros
        likely = likely[found >= np.partition(found, -limit)[-limit]]
    order = np.lexsort((likely, scores[likely]))[::-1][:limit]
    return [(int(likely[at]), float(scores[likely[at]])) for at in order]
