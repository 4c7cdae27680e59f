"""Recall: from a question or an exact string to the turns that hold it, word for word.

Ranking is BM25 over any of the query's terms (Robertson and Zaragoza, The Probabilistic
Relevance Framework, 2009; the idf of Lucene, which is never negative). It is computed
here from a store's postings, so every home of a memory ranks alike. Terms are words as
they stand, their stems and pieces (`iter_json` is also `iter` and `json`), and for
Chinese, Japanese and Korean single characters and pairs. Queries are plain words: no
character in them has a meaning of its own.
"""

from __future__ import annotations

import heapq
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from optimem.stores import SessionState, Store
from optimem.values import Entry, Role, Scope, Turn

_K1, _B = 1.2, 0.75
_STRETCH = 1 << 15  # characters that are indexed and ranked as one document
_MOST_STRETCHES = 1000
_COMPLETIONS = 32
_CANDIDATES = 64  # turns whose exact lengths are looked at
_READ_FOR_EXACT = 512  # turns whose words are looked at for one exact string
_MOST_EXACT = 8  # exact strings of one query
_MOST_TERMS = 64  # terms of one query
_COMMON = 0.3  # a term in more than this share of all stretches tells nothing
_PREFIX_WEIGHT = 0.3
_EXACT_BONUS = 100.0  # an exact string outranks any sum of words

_LONGEST_TERM = 64  # characters; the rest of a longer one is not indexed
_LONGEST_STEMMED = 32  # letters; longer strings are no English words

_CJK = (
    r"\u2e80-\u2fdf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_CJK}]+|[^\W{_CJK}]+")
_IS_CJK = re.compile(rf"[{_CJK}]")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\WA-Z_\d]+|\d+")
_PIECE = re.compile(r"[^\s\"'`]+")
_NOT_CJK = re.compile(rf"[^{_CJK}]+")
_ODD = re.compile(r"\d|\w[./:@#=_\-\\>(]+\w|[a-z][A-Z]")
_ENDS = "?!.,;:？！。，；：、…"
_PAIRS = ("()", "[]", "{}", "<>", "（）", "《》", "“”", "‘’")
_QUOTED = re.compile(r"\"([^\"]+)\"|`([^`]+)`|'([^']{4,})'")


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
    """

    id: str
    position: int
    role: Role
    time: float | None
    text: str
    score: float
    pages: tuple[int, ...] = ()


def index_documents(text: str) -> Iterator[list[str]]:
    """The terms of a text, one list for each stretch of it."""
    size = max(_STRETCH, math.ceil(len(text) / _MOST_STRETCHES))
    start = 0
    while start < len(text):
        stop = start + size
        if stop < len(text):  # end a stretch between words where there are any
            blank = max(text.rfind(" ", start, stop), text.rfind("\n", start, stop))
            stop = blank + 1 if blank > start else stop
        yield terms(text[start:stop])
        start = stop


def searchable(turn: Turn) -> str:
    """What of a turn can be found: its words, its author and the ids of its calls."""
    return "\n".join((turn.text, turn.name, *turn.calls, *turn.answers))


def terms(text: str) -> list[str]:
    """Search terms of a text, in order, repeated as often as they occur."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    found: list[str] = []
    for word in _WORD.findall(text):
        found += _word_terms(word) if len(word) <= _LONGEST_TERM else _word_terms.__wrapped__(word)
    return found


@lru_cache(maxsize=1 << 17)
def _word_terms(word: str) -> tuple[str, ...]:
    if _IS_CJK.match(word):
        return (*word, *(word[at : at + 2] for at in range(len(word) - 1)))
    folded = word.casefold()
    found = [_stem(folded)]
    if "_" in word or not (word.islower() or word.istitle() or word.isdigit()):
        pieces = [piece.casefold() for piece in _CAMEL.findall(word)]
        found += [_stem(piece) for piece in pieces if piece != folded]
    return tuple(term[:_LONGEST_TERM] for term in found)


def search(store: Store, scope: Scope, query: str, limit: int) -> list[tuple[int, float]]:
    """Positions of the turns that match best, best first, with their scores."""
    state = store.state(scope)
    exact = _exact_strings(query)
    weights = _weights(store, scope, state, query, exact)
    bounds: defaultdict[int, float] = defaultdict(float)
    found: dict[int, list[tuple[float, int]]] = {}
    holders: dict[str, set[int]] = {}
    for term, weight in weights.items():
        best: dict[int, int] = {}
        for position, count in store.postings(scope, term):
            best[position] = max(count, best.get(position, 0))
        for position, count in best.items():
            bounds[position] += weight * count * (_K1 + 1) / (count + _K1 * (1 - _B))
            found.setdefault(position, []).append((weight, count))
        holders[term] = set(best)
    held = _held(store, scope, exact, weights, holders)
    candidates = {position for position, _ in _largest(bounds.items(), max(_CANDIDATES, limit))}
    candidates |= set(held)
    lengths = store.lengths(scope, candidates)
    mean = state.terms / max(state.documents, 1)
    scores = {}
    for position in candidates:
        norm = _K1 * (1 - _B + _B * lengths.get(position, mean) / max(mean, 1))
        pairs = found[position]
        scores[position] = sum(w * n * (_K1 + 1) / (n + norm) for w, n in pairs)
        scores[position] += _EXACT_BONUS * held.get(position, 0)
    return _largest(scores.items(), limit)


def fuse(rankings: Iterable[list[int]], limit: int) -> list[tuple[int, float]]:
    """Reciprocal rank fusion (Cormack et al., SIGIR 2009), with its k of 60."""
    scores: defaultdict[int, float] = defaultdict(float)
    for ranking in rankings:
        for rank, position in enumerate(ranking):
            scores[position] += 1 / (60 + rank + 1)
    return _largest(scores.items(), limit)


def recalled(entry: Entry, score: float, pages: tuple[int, ...]) -> Recalled:
    """A turn as recall returns it."""
    turn = entry.turn
    return Recalled(turn.id, entry.position, turn.role, turn.time, turn.text, score, pages)


def _weights(
    store: Store, scope: Scope, state: SessionState, query: str, exact: list[str]
) -> dict[str, float]:
    """Inverse document frequency of the query's terms that are worth reading."""
    wanted: dict[str, float] = dict.fromkeys(islice(dict.fromkeys(terms(query)), _MOST_TERMS), 1.0)
    for term in list(wanted):
        if len(term) > 2 and not _IS_CJK.match(term):
            for longer in store.completions(scope, term, _COMPLETIONS):
                wanted.setdefault(longer, _PREFIX_WEIGHT)
    counts = store.frequencies(scope, wanted)
    total = max(state.documents, 1)
    kept = set(_rare(counts, counts, total))
    for string in exact:
        kept.update(_rare(terms(string), counts, total))
    return {
        term: wanted[term] * math.log(1 + (total - n + 0.5) / (n + 0.5))
        for term, n in counts.items()
        if term in kept
    }


def _rare(found: Iterable[str], counts: dict[str, int], total: int) -> list[str]:
    """Those terms that tell stretches apart; all of them when none does."""
    known = [term for term in found if term in counts]
    return [term for term in known if counts[term] <= max(_COMMON * total, 8)] or known


def _exact_strings(query: str) -> list[str]:
    """Strings in a query that stand for themselves: quoted, or no plain word."""
    found = ["".join(groups) for groups in _QUOTED.findall(query)]
    for piece in _PIECE.findall(query):
        for part in (piece, *_NOT_CJK.findall(piece)):
            found += (string for string in _bare(part) if _ODD.search(string))
    return [string for string in dict.fromkeys(found) if len(string) > 2][:_MOST_EXACT]


def _bare(piece: str) -> tuple[str, str, str]:
    """A piece of a sentence without its sentence's punctuation, read in three ways."""
    ended = piece.strip(_ENDS)
    inner = ended[1:-1] if ended[:1] + ended[-1:] in _PAIRS else ended
    return ended, inner, ended.strip(_ENDS + "".join(_PAIRS))


def _held(
    store: Store,
    scope: Scope,
    exact: list[str],
    weights: dict[str, float],
    holders: dict[str, set[int]],
) -> dict[int, int]:
    """How many of the exact strings a turn holds, for those turns that hold any.

    Of the turns with the strings' terms, those with the most telling ones are read.
    """
    likely: set[int] = set()
    for string in exact:
        found: defaultdict[int, float] = defaultdict(float)
        for term in set(terms(string)) & set(weights):
            for position in holders[term]:
                found[position] += weights[term]
        likely.update(position for position, _ in _largest(found.items(), _READ_FOR_EXACT))
    held = {}
    for position in likely:
        for entry in store.entries(scope, position, position + 1):
            text = searchable(entry.turn)
            held[position] = sum(string in text for string in exact)
    return {position: count for position, count in held.items() if count}


def _largest(scores: Iterable[tuple[int, float]], limit: int) -> list[tuple[int, float]]:
    """The `limit` best, newer turns first among equals."""
    return heapq.nlargest(limit, scores, key=lambda pair: (pair[1], pair[0]))


def _stem(word: str) -> str:
    """English endings off, so that "projects" finds "project"; other words as they are."""
    if not word.isascii() or not word.isalpha() or len(word) > _LONGEST_STEMMED:
        return word
    return str(_stemmer().stemWord(word))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")
