"""Exact strings: what an image of text loses first, and what no guess can mend.

Identifiers, hashes, paths, amounts, dates and their like are found by their form, in the
flowed text of a page and in time linear in its length. Each comes as it stands in the
session, with its kind and its place.

A name with dots counts by its parts: of `shlex.quote_all` that is `quote_all`, since the
part is what is said again. Plain words, acronyms and integers below 100 without a unit are
no exact strings, nor are the numbers that editors and `grep -n` put in front of lines.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from optimem.exact_forms import (
    ACROSS_WORDS,
    DIGITS,
    GOES_ON,
    HINT,
    IN_DIGITS,
    IN_WORD,
    OPENING,
    OR_PHONE,
    SOLID,
    WEIGHTS,
)

LONGEST = 120
"""Characters; a longer string costs more than a recall."""

MOST_NUMBERS = 128
"""Different plain numbers of a text that are looked for: the shortest come first anyway."""

_LONG_WORD = 256  # characters; longer ones seldom come again, and would fill the cache
_LONG_SENTENCE = 32  # characters of a script without blanks, which then is looked at in pieces

_APART = "\n\t\u00a0\u3000\"'`<>{}|;\\“”‘’"  # what stands between words, beside blanks
_HEAD = re.compile(r"\n {0,31}(?! )")
"""What stands before a line's first word; marks of lines are blanked out so."""
_MARK = re.compile(r"\|(?<![^ ]\|)\|?\d*(?![^ ])|<(?:(?:data|image|file)#[^<>]*|[a-z]+#[\d.]+)")
"""What the flow draws at a line's end, and before turns and what it leaves out."""
_LINE_NUMBER = re.compile(r"\n *(\d{1,6})(?:([:-])(?!\d)|(?=[ \n]|$))")
_DRIVE = re.compile(
    r":\\(?<=[A-Z]:\\)(?<![A-Za-z\d][A-Z]:\\)\\?[\w.@+-]{1,100}(?:\\{1,2}[\w.@+-]{1,100})*"
)
"""A path on Windows, from its colon on: a search for plain characters is the fastest."""


Scanned = tuple[tuple[tuple[int, int, str], ...], int]
"""Start, stop and kind of what a word holds; where a form opens that may run on, or -1."""


class Exact(NamedTuple):
    """An exact string on a page.

    Attributes:
        text: the string as it stands.
        kind: what it is by its form: "url", "path", "hash", "camel" and so on.
        start: index of its first character in the page's text.
        stop: index behind its last character.
        leads: nothing stands before it in its line, as in a listing.
    """

    text: str
    kind: str
    start: int
    stop: int
    leads: bool

    @property
    def weight(self) -> float:
        """How surely an image loses it: 1 for what is made of words, 3 for random digits."""
        return WEIGHTS[self.kind]


def find_exact(text: str, origin: int = 0) -> list[Exact]:
    """The exact strings of a flowed text, in order, each as often as it stands there.

    Of more than `MOST_NUMBERS` plain numbers the longer ones are left out: a table has so
    many, and no more of them could stand beside a page.

    Args:
        text: the text.
        origin: the index that places are counted from.
    """
    found: list[Exact] = []

    def keep_drive(match: re.Match[str]) -> str:
        start, stop = match.start() - 1, match.end()
        found.append(Exact(text[start:stop], "path", start - origin, stop - origin, leads=False))
        return " " * len(match[0])

    plain = _without_marks(_DRIVE.sub(keep_drive, text) if ":\\" in text else text)
    heads = {match.end() for match in _HEAD.finditer(plain)}
    apart = _apart(plain)
    words = apart.split(" ")
    different = set(words)
    decimals = set(filter(str.isdecimal, different))
    numbers = decimals
    if len(numbers) > MOST_NUMBERS:
        numbers = set(sorted(sorted(numbers), key=_room)[:MOST_NUMBERS])
    held = {word: scanned for word in different - decimals if (scanned := _scanned(word))}
    telling = decimals | held.keys()
    ordered = not found
    apart = f" {apart} "
    at = 0  # of the next word
    end = 0  # of the last form with a blank within
    for word in filter(telling.__contains__, words):
        start, size = apart.index(f" {word} ", at), len(word)
        at = start + size + 1
        scanned = held.get(word)
        if scanned is None:
            if plain[at : at + 1] not in (GOES_ON if size != 3 else OR_PHONE):
                if word in numbers and LONGEST >= size > 2 and start >= end:
                    place = start - origin
                    found.append(Exact(word, "number", place, place + size, start in heads))
                continue
            scanned = _scanned(word)
            if scanned is None:
                continue
        hits, opening = scanned
        leads = start in heads
        opened = -1
        if opening >= 0 and start + opening >= end and plain.startswith(" ", at - 1):
            match = ACROSS_WORDS.match(plain, start + opening)
            if match:
                opened, end = match.span()
                kind = match.lastgroup or ""
                found.append(Exact(match[0], kind, opened - origin, end - origin, leads))
                ordered = False
        for first, last, kind in hits:
            if (start + last <= opened or start + first >= end) and last - first <= LONGEST:
                place = start - origin
                head = leads and first == 0
                found.append(Exact(word[first:last], kind, place + first, place + last, head))
    return found if ordered else sorted(found, key=lambda exact: exact.start)


def _room(number: str) -> int:
    """The shortest numbers first, but those that are no exact strings last."""
    return len(number) if len(number) > 2 else LONGEST


def _apart(text: str) -> str:
    """The text with single blanks between its words; all else keeps its place."""
    for character in _APART:  # several times as fast as translating all at once
        text = text.replace(character, " ")
    # No form ends with these, and words without them come again more often.
    return text.replace(", ", "  ").replace(": ", "  ")


def _without_marks(text: str) -> str:
    """The text with blanks for what is no content, so that all else keeps its place."""
    if "\\" in text:  # line ends and tabs in strings, as JSON and code write them
        text = text.replace("\\n", "\n ").replace("\\t", "  ").replace("\\r", "  ")
    text = text.replace("</", "  ")
    text = _MARK.sub(_blank, text)
    numbers = {int(match[1]) for match in _LINE_NUMBER.finditer(text)}

    def blank_number(match: re.Match[str]) -> str:
        number = int(match[1])
        listed = match[2] or number - 1 in numbers or number + 1 in numbers
        return _blank(match) if listed else match[0]

    return _LINE_NUMBER.sub(blank_number, text) if numbers else text


def _blank(match: re.Match[str]) -> str:
    return "\n" + " " * (len(match[0]) - 1)


def _scanned(word: str) -> Scanned | None:
    """What a word holds, if anything."""
    if len(word) < _LONG_SENTENCE:
        return _in_word(word)
    if not word.isascii() and "://" not in word:
        return _scan_sentence(word)
    return _in_word(word) if len(word) < _LONG_WORD else _scan(word)


def _scan_sentence(sentence: str) -> Scanned | None:
    """What a sentence without blanks holds: most of its characters are in no form."""
    found: list[tuple[int, int, str]] = []
    opening = -1
    for piece in SOLID.finditer(sentence):
        scanned = _in_word(piece[0]) if len(piece[0]) < _LONG_WORD else _scan(piece[0])
        if scanned is not None:
            at = piece.start()
            found += ((at + start, at + stop, kind) for start, stop, kind in scanned[0])
            if scanned[1] >= 0 and piece.end() == len(sentence):
                opening = at + scanned[1]
    return (tuple(found), opening) if found or opening >= 0 else None


def _scan(word: str) -> Scanned | None:
    """Look at a word, hit by hit."""
    bare = word.rstrip(":.")
    if bare.isdecimal() and len(bare) < len(word):  # in front of what no form goes on with
        return (((0, len(bare), "number"),), -1) if len(bare) > 2 else None
    bracket = max(word.rfind("["), word.rfind("]"))  # no form with a blank within has one
    opening = OPENING.search(word, bracket + 1)
    if not opening and not HINT.search(word):
        return None
    found: list[tuple[int, int, str]] = []
    bare = word.strip(".,:!?*()[]")
    if bare.isdecimal():  # found by the pattern too, but by its last alternatives
        if len(bare) > 2:
            start = word.index(bare)
            found.append((start, start + len(bare), "number"))
    else:
        forms = IN_DIGITS if DIGITS.fullmatch(word) else IN_WORD
        for match in forms.finditer(word):
            exact = match[0].rstrip(".,:!?*")
            if len(exact) > 2 or not exact.isascii():
                found.append((match.start(), match.start() + len(exact), match.lastgroup or ""))
    return (tuple(found), opening.start() if opening else -1) if found or opening else None


_in_word = lru_cache(maxsize=1 << 16)(_scan)  # the same words come again on every page
