"""From text to search terms, and what of a query stands for itself.

Terms are words as they stand, their stems and pieces (`iter_json` is also `iter` and
`json`), and for Chinese, Japanese and Korean single characters and pairs.
"""

from __future__ import annotations

import math
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import Stemmer

from optimem.values import Turn

_STRETCH = 1 << 15  # characters that are indexed and ranked as one document
_MOST_STRETCHES = 128
_LONGEST_TERM = 64  # characters; the rest of a longer one is not indexed
_LONGEST_STEMMED = 32  # letters; longer strings are no English words
_MOST_EXACT = 8  # exact strings of one query

_stemmers = threading.local()  # a stemmer keeps state while it works

_CJK = (
    r"\u2e80-\u2fdf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_CJK}]+|[^\W{_CJK}]+")
IS_CJK = re.compile(rf"[{_CJK}]")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\WA-Z_\d]+|\d+")
_PIECE = re.compile(r"[^\s\"'`]+")
_NOT_CJK = re.compile(rf"[^{_CJK}]+")
_ODD = re.compile(r"\d|\w[./:@#=_\-\\>(]+\w|[a-z][A-Z]")
_ENDS = "?!.,;:？！。，；：、…"
_PAIRS = ("()", "[]", "{}", "<>", "（）", "《》", "“”", "‘’")
_QUOTED = re.compile(r"\"([^\"]+)\"|`([^`]+)`|'([^']{4,})'")


def stretches(text: str) -> Iterator[dict[str, int]]:
    """How often each term occurs in a text, for each stretch of it."""
    size = max(_STRETCH, math.ceil(len(text) / _MOST_STRETCHES))
    start = 0
    while start < len(text):
        stop = start + size
        if stop < len(text):  # end a stretch between words where there are any
            blank = max(text.rfind(" ", start, stop), text.rfind("\n", start, stop))
            stop = blank + 1 if blank > start else stop
        yield count_terms(text[start:stop])
        start = stop


def searchable(turn: Turn) -> str:
    """What of a turn can be found: its words, its author and the ids of its calls."""
    return "\n".join((turn.text, turn.name, *turn.calls, *turn.answers))


def terms(text: str) -> list[str]:
    """Search terms of a text, in order, repeated as often as they occur."""
    return [term for word in _words(text) for term in _parts(word)]


def count_terms(text: str) -> dict[str, int]:
    """How often each search term occurs in a text; each word is taken apart once."""
    counts: dict[str, int] = {}
    for word, times in Counter(_words(text)).items():
        if word.isdecimal():  # a number is a term as it stands
            term = word[:_LONGEST_TERM]
            counts[term] = counts.get(term, 0) + times
            continue
        for term in _word_terms(word) if len(word) <= _LONGEST_TERM else _parts(word):
            counts[term] = counts.get(term, 0) + times
    return counts


def _words(text: str) -> list[str]:
    return _WORD.findall(text if text.isascii() else unicodedata.normalize("NFKC", text))


def _parts(word: str) -> tuple[str, ...]:
    """The terms of one word."""
    if IS_CJK.match(word):
        return (*word, *(word[at : at + 2] for at in range(len(word) - 1)))
    folded = word.casefold()
    found = [_stem(folded)]
    if "_" in word or not (word.islower() or word.istitle() or word.isdigit()):
        pieces = [piece.casefold() for piece in _CAMEL.findall(word)]
        found += [_stem(piece) for piece in pieces if piece != folded]
    return tuple(term[:_LONGEST_TERM] for term in found)


_word_terms = lru_cache(maxsize=1 << 15)(_parts)  # the same words come again and again


def exact_strings(query: str) -> list[str]:
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


def _stem(word: str) -> str:
    """English endings off, so that "projects" finds "project"; other words as they are."""
    if not word.isascii() or not word.isalpha() or len(word) > _LONGEST_STEMMED:
        return word
    stemmer = getattr(_stemmers, "english", None)
    if stemmer is None:
        stemmer = _stemmers.english = Stemmer.Stemmer("english")
    return str(stemmer.stemWord(word))


ASKING = frozenset(
    terms(
        "a an and are as at be been by did do does for from had has have how i in is it its me my"
        " of on or our shall that the their them there they this to was we were what when where"
        " which who whom whose why will with would you your"
        " exact exactly give know please recall remember remind say said show tell told"
    )
)
"""Terms of English words with which anything is asked, and none is asked for."""
