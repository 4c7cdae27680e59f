"""Anchors: exact strings kept as text beside a page, because images lose such strings first.

`find_anchors` is pure and deterministic: the same page text gives the same anchors, best
first, and the caller keeps as many as its token budget takes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache

_ENDINGS = (
    "py|pyi|js|jsx|ts|tsx|go|rs|c|h|cc|cpp|hpp|java|kt|rb|sh|md|rst|txt|csv|cfg|ini|toml|ya?ml"
    "|jsonl?|ipynb|html?|css|sql|lock|log|xml|proto|png|jpe?g|pdf|svg|zip|gz|tar|whl|db|so|exe|env"
)
_KINDS: tuple[tuple[str, float, str], ...] = (
    # name, weight (how likely it is asked for again, and how surely an image loses it), pattern
    ("url", 6.0, r"https?://[^\s<>\"'`\\)\]}|,]+"),
    ("email", 8.0, r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    ("uuid", 9.0, r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    ("address", 9.0, r"\d{1,3}(?:\.\d{1,3}){3}(?::\d{2,5})?(?:/\d{1,2})?"),
    ("path", 5.0, r"(?:~|\.{1,2})?(?:/?[\w@.+-]+/)+[\w@.+-]*\w(?::\d+(?:[-:]\d+)?)?|/[\w.-]{3,}"),
    ("file", 4.0, rf"[\w-]+\.(?:{_ENDINGS})(?::\d+(?:[-:]\d+)?)?"),
    ("time", 5.0, r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"),
    ("clock", 4.0, r"\d{1,2}:\d\d(?::\d\d)?(?: ?[AaPp]\.?[Mm]\.?)?"),
    ("amount", 6.0, r"[$€£¥]\s?\d[\d,]*(?:\.\d+)?[kKmMbB]?|\d[\d,]*(?:\.\d+)?\s?(?:%|USD|EUR|GBP)"),
    ("version", 5.0, r"v?\d+\.\d+(?:\.\d+)+(?:[-+.]?[a-z]+\d*)?"),
    ("hash", 8.0, r"(?:0x|sha256:)?(?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,64}"),
    ("phone", 7.0, r"\+?\d{1,3}[ -]\(?\d{2,4}\)?[ -]\d{3,4}[ -]?\d{3,4}"),
    ("code", 6.0, r"(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)+"),
    ("serial", 6.0, r"[A-Z]{2,}\d{2,}\w*"),
    ("number", 2.5, r"\d{4,}(?:[.,]\d+)*|\d+\.\d+"),
    ("flag", 2.0, r"--[a-z][\w-]+(?:=[\w./:-]+)?"),
    ("snake", 1.5, r"[A-Za-z]\w*(?:_\w+)+|_+[a-z]\w+"),
    ("camel", 1.5, r"[A-Z]?[a-z][a-z0-9]*(?:[A-Z][a-z0-9]+)+"),
)  # fmt: skip
_SPACED = ("time", "clock", "amount", "phone")
"""Kinds that may hold a blank; all others lie within one word."""


def _any_of(names: Iterable[str]) -> re.Pattern[str]:
    groups = "|".join(f"(?P<{name}>{regex})" for name, _, regex in _KINDS if name in names)
    return re.compile(rf"(?<![\w/.@-])(?:{groups})(?!\w)")


_WEIGHTS = {name: weight for name, weight, _ in _KINDS}
_IN_WORD = _any_of(_WEIGHTS)
_ACROSS_WORDS = _any_of(_SPACED)
_WORD = re.compile(r"\S+")
_LONGEST = 120  # characters; longer strings cost more than a recall
_SEPARATOR = "; "


def find_anchors(text: str, *, cut_start: bool = False, cut_end: bool = False) -> list[str]:
    """Exact strings in a page's text, the most worth keeping first.

    Args:
        text: the page's text.
        cut_start: the text starts inside a turn, so a string at its start may be half of one.
        cut_end: likewise at its end.
    """
    counts: Counter[str] = Counter()
    weights: dict[str, float] = {}
    first, last = (0 if cut_start else -1), (len(text) if cut_end else -1)
    spaced = [match for match in _ACROSS_WORDS.finditer(text) if " " in match[0]]
    found = [(match.start(), match.end(), _exact(match)) for match in spaced]
    taken = {position for start, end, _ in found for position in range(start, end)}
    for word in _WORD.finditer(text):
        begin = word.start()
        for start, end, exact in _in_word(word[0]):
            if begin + start not in taken:
                found.append((begin + start, begin + end, exact))
    for start, end, exact in found:
        if start != first and end != last and exact is not None:
            counts[exact[0]] += 1
            weights.setdefault(*exact)
    # Said again means used again, but a string all over the page is legible from context.
    value = {exact: weights[exact] * min(count, 3) ** 0.5 for exact, count in counts.items()}
    return sorted(counts, key=lambda exact: (-value[exact], exact))


@lru_cache(maxsize=1 << 16)  # the same words come again on every page
def _in_word(word: str) -> tuple[tuple[int, int, tuple[str, float] | None], ...]:
    if word.isalpha() and (word.islower() or word.istitle()):
        return ()
    matches = _IN_WORD.finditer(word)
    return tuple((match.start(), match.end(), _exact(match)) for match in matches)


def _exact(match: re.Match[str]) -> tuple[str, float] | None:
    """A match's string with its weight; None where it is too short or too long to keep."""
    exact = match[0].rstrip(".:")
    return (exact, _WEIGHTS[match.lastgroup or ""]) if 3 < len(exact) <= _LONGEST else None


def choose_anchors(ranked: Iterable[str], budget: int, count: Callable[[str], int]) -> list[str]:
    """The best anchors that fit `budget` tokens, separators counted, in their order of rank."""
    chosen: list[str] = []
    spent = 0
    for exact in ranked:
        cost = count(exact + _SEPARATOR)
        if spent + cost > budget:
            continue
        chosen.append(exact)
        spent += cost
        if spent + 2 > budget:
            break
    return chosen


def join_anchors(anchors: Iterable[str]) -> str:
    """Anchors as the line of text that stands beside their page."""
    return _SEPARATOR.join(anchors)
