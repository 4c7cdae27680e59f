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

LONGEST = 120
"""Characters; a longer string costs more than a recall."""

MOST_NUMBERS = 128
"""Different plain numbers of a text that are looked for: the shortest come first anyway."""

_LONG_WORD = 256  # characters; longer ones seldom come again, and would fill the cache
_LONG_SENTENCE = 32  # characters of a script without blanks, which then is looked at in pieces

_L = r"A-Za-z\u00c0-\u024f\u0370-\u052f"  # letters of the alphabets that know capitals
_W = rf"{_L}0-9_"
_SEGMENT = rf"[{_W}.@+-]{{1,100}}"
_LINE = r"(?:[:#]L?\d{1,7}(?:[-:]\d{1,7})?)?"
_ENDING = (
    "(?:py|pyi|pyc|js|jsx|mjs|ts|tsx|vue|go|mod|sum|rs|c|h|cc|cpp|hpp|cs|java|kt|swift|rb|php|lua"
    "|sh|bash|ps1|bat|md|rst|txt|csv|tsv|cfg|conf|ini|toml|ya?ml|jsonl?|ipynb|html?|css|scss|sql"
    "|lock|log|xml|proto|png|jpe?g|gif|svg|webp|pdf|docx?|xlsx?|pptx?|zip|gz|xz|bz2|tar|tgz|whl"
    "|egg-info|egg|jar|db|sqlite|so|dll|exe|env|mp3|mp4|wav|parquet|pt|bin|safetensors)"
)
_HEX = "[0-9a-fA-F]"
_DECIMAL = r"\d[\d,]{0,30}(?:\.\d{1,30})?"
_UNIT = (
    "(?:%|[KMGTP]i?B|[kKMGTP]?b(?:ps)?|B|[nuµm]?s|min|h|px|pt|r?em|dpi|[kMG]?Hz|[kcmµn]?m|[kmµ]?g"
    "|[kKM])"
)
_MONEY = r"(?:USD|EUR|GBP|CNY|RMB|JPY|US\$|[$€£¥₹])"
_DATE = r"\d{4}(?:-\d\d-\d\d|/\d\d?/\d\d?|\.\d\d\.\d\d)"
_TIME = r"\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?"
_CLOCK = r"\d{1,2}:[0-5]\d(?::[0-5]\d(?:[.,]\d{1,9})?)?"
_HALF = r"[AaPp](?:\.[Mm]\.|[Mm])"
_DAY = r"[0-3]?\d(?:st|nd|rd|th)?"
_MONTH = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    "|Sep(?:t(?:ember)?)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_HAN_DIGIT = "〇零一二三四五六七八九十两"
_HAN = f"{_HAN_DIGIT}百千万亿"
_HAN_UNIT = (
    "(?:[万亿千百]{1,3}[元人]?|[美日欧]?元|[块角円]|年|个?月|[日号点时天周岁]|[分秒]钟?|小时|時間"
    "|公里|千?米|公?斤|平米|千?克)"
)

_HAN_SIGNS = "元人美日欧块角円年个月号点时天周岁分秒钟小時間公里米斤平克之至到"

_KINDS: dict[str, tuple[float, tuple[str, ...]]] = {
    # kind: how surely an image loses it, forms; the first that fits at a place is taken
    "url": (2.0, (r"[a-z][a-z0-9+.-]{1,15}://[^\s，。；、）)\]]+",)),
    "email": (2.0, (rf"[{_W}.+-]{{1,64}}@[A-Za-z0-9-]{{1,63}}(?:\.[A-Za-z0-9-]{{1,63}}){{1,5}}",)),
    "uuid": (3.0, (rf"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}",)),
    "address": (
        2.0,
        (
            r"\d{1,3}(?:\.\d{1,3}){3}(?::\d{2,5}|/\d{1,2})?(?!\.?\d)",
            r"(?:localhost|(?:[a-z0-9-]{1,63}\.){1,6}[a-z]{2,20}):\d{2,5}",
            rf"(?:{_HEX}{{2}}:){{5}}{_HEX}{{2}}",
            rf"(?:{_HEX}{{1,4}}:){{7}}{_HEX}{{1,4}}",
            rf"(?=[a-fA-F:]{{0,30}}\d)(?:{_HEX}{{1,4}}:){{1,7}}(?::{_HEX}{{1,4}}){{1,7}}",
        ),
    ),
    "date": (
        2.0,
        (
            rf"{_DATE}(?:T{_TIME})?",
            r"\d{1,2}[/.]\d{1,2}[/.](?:19|20)\d\d",
            r"(?:\d{2,4}年)?\d{1,2}月(?:\d{1,2}[日号])?(?:[-~至到](?:\d{1,2}月)?\d{1,2}[日号])?",
            f"(?:[{_HAN_DIGIT}]{{2,4}}年)?[{_HAN_DIGIT}]{{1,2}}月[{_HAN_DIGIT}]{{1,3}}[日号]",
        ),
    ),
    "path": (
        2.0,
        (
            rf"(?:~|\.{{1,2}})?(?:/{_SEGMENT})+/?{_LINE}",
            rf"[A-Z]:(?:/{_SEGMENT})+",
            rf"[{_W}.@+-]{{2,100}}(?:/[{_W}.@+-]{{2,100}})+/?{_LINE}",
        ),
    ),
    "file": (
        1.5,
        (
            r"(?!(?:self|this|cls|np|math|console|process|os|app|window)\.)"
            rf"[{_W}-][{_W}.+-]{{0,100}}\.{_ENDING}{_LINE}(?![(.-]?[{_W}]|\()",
        ),
    ),
    "clock": (1.0, (rf"{_CLOCK}(?:[-–~]{_CLOCK})?(?:{_HALF})?",)),
    "amount": (
        1.5,
        (
            rf"{_MONEY}-?{_DECIMAL}(?:[kKmMbB]|bn)?",
            rf"{_DECIMAL}(?:[-~]{_DECIMAL})?{_UNIT}",
            rf"{_DECIMAL}(?:[-~至到]{_DECIMAL})?{_HAN_UNIT}",
            f"百分之[{_HAN}]{{1,9}}",
            f"[{_HAN_DIGIT}][{_HAN}]{{1,12}}(?:点[{_HAN}]{{1,9}})?{_HAN_UNIT}?",
            f"[{_HAN_DIGIT}](?:元|块钱|月|点半)",
        ),
    ),
    "phone": (
        2.0,
        (
            r"\+\d{1,3}(?:[-.]?\d{2,4}){2,4}",
            r"0\d{2,3}-\d{7,8}",
            r"(?:\d{3}[-.])?\d{3}[-.]\d{4}",
        ),
    ),
    "version": (
        2.0,
        (
            rf"(?:[A-Za-z][{_W}]{{0,60}}-)?v?\d+(?:\.\d+){{2,6}}"
            rf"(?:[-+.]?[A-Za-z][{_W}.+-]{{0,40}})?",
            rf"v\d+(?:\.\d+){{0,3}}|[A-Za-z][{_W}]{{0,60}}-\d+\.\d+",
        ),
    ),
    "hash": (
        3.0,
        (
            rf"0x{_HEX}+",
            r"(?:sha\d+[:-])?(?=\d{0,99}[a-f])(?=[a-f]{0,99}\d)[0-9a-f]{7,128}",
            r"(?=\d{0,99}[A-F])(?=[A-F]{0,99}\d)[0-9A-F]{12,128}",
        ),
    ),
    "code": (  # orders, tickets, flights, keys: letters and digits, joined or not
        2.0,
        (
            r"[A-Za-z][A-Za-z0-9]{0,60}(?:[_-][A-Za-z0-9]{1,60}){0,9}[_-]\d{3,60}"
            r"(?:[_-][A-Za-z0-9]{1,60}){0,9}",
            r"[A-Z][A-Z0-9]{0,60}(?:-[A-Z0-9]{1,60}){0,9}-\d{1,60}[A-Z0-9]{0,60}",
            r"[A-Z]{1,60}\d[A-Z0-9]{0,60}(?:-[A-Z0-9]{1,60}){1,9}",
            r"(?=[A-Z]{0,99}\d)(?=\d{0,99}[A-Z])[A-Z0-9]{3,}",
            r"[A-Za-z]{2,30}\d{3,60}[A-Za-z0-9]{0,60}",
        ),
    ),
    "number": (1.0, (r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|\d{3,}",)),
    "flag": (2.0, (rf"--[a-zA-Z][{_W}-]+(?:=[{_W}./:-]+)?",)),
    "snake": (1.0, (rf"_+[{_L}][{_W}]+|[{_L}][{_L}0-9]*_[{_W}]+",)),
    "camel": (
        1.0,
        (rf"(?=[{_L}0-9]*(?:[a-z0-9][A-Z]|[A-Z]{{2}}[a-z]{{2}}))[{_L}][{_L}0-9]+",),
    ),
}
_SPACED: dict[str, tuple[str, ...]] = {  # forms with a blank within
    "date": (
        rf"{_DATE} {_TIME}",
        rf"{_MONTH}\.? {_DAY}(?:,? \d{{4}})?",
        rf"{_DAY} {_MONTH}(?:,? \d{{4}})?",
    ),
    "clock": (rf"\d{{1,2}}(?::[0-5]\d){{0,2}} {_HALF}",),
    "amount": (
        rf"{_MONEY} {_DECIMAL}",
        rf"{_DECIMAL} (?:%|[KMGT]i?B|[mn]s|USD|EUR|GBP|CNY|RMB)",
    ),
    "phone": (
        r"\+\d{1,3} \(?\d{1,4}\)?(?:[ -]\d{2,4}){1,4}",
        r"\(\d{3}\) ?\d{3}[ -]\d{4}|\d{3} \d{3}[ -]\d{4}|\d{3} \d{4} \d{4}",
    ),
}


def _any_of(kinds: dict[str, tuple[str, ...]]) -> re.Pattern[str]:
    groups = "|".join(f"(?P<{kind}>{'|'.join(forms)})" for kind, forms in kinds.items())
    # Scripts without blanks may go on behind a unit of theirs, but no alphabet may.
    return re.compile(rf"(?<![{_W}])(?:{groups})(?:(?<=[^{_W}])|(?![{_W}]))")


_WEIGHTS = {kind: weight for kind, (weight, _) in _KINDS.items()}
_IN_WORD = _any_of({kind: forms for kind, (_, forms) in _KINDS.items()})
_DIGITS = re.compile(r"[\d.,:()\[\]+-]*")
"""A word of digits and what stands between them; in most forms there is a letter or a sign."""
_IN_DIGITS = _any_of(
    {
        kind: _KINDS[kind][1]
        for kind in ("uuid", "address", "date", "clock", "phone", "version", "number")
    }
)
_ACROSS_WORDS = _any_of(_SPACED)
_APART = "\n\t\u00a0\u3000\"'`<>{}|;\\“”‘’"  # what stands between words, beside blanks
_HINT = re.compile(rf"[\d_/@{_HAN}]|--\w|[a-z][A-Z]|[A-Z]{{2}}[a-z]{{2}}|\.{_ENDING}(?![{_W}])")
"""What a word that holds an exact string has at least one of."""
_OPENING = re.compile(
    rf"(?<![{_W}])(?:[+(]{{0,2}}\d[\d:.,/-]{{0,40}}(?:st|nd|rd|th)?\)?|{_MONEY}|{_MONTH}\.?)\Z"
)
"""The end of a word that may be the beginning of a form with a blank within."""
_GOES_ON = frozenset("%ACDEFGJKMNOPRSTUamnp")
"""How what follows a plain number begins where both may be a form with a blank within."""
_OR_PHONE = _GOES_ON | frozenset("0123456789")
_HEAD = re.compile(r"\n {0,31}(?! )")
"""What stands before a line's first word; marks of lines are blanked out so."""
_SOLID = re.compile(rf"[{_W}\d.@+~/#:,%µ$€£¥₹=()*–{_HAN}{_HAN_SIGNS}-]+")
"""A piece of a sentence without blanks; what is in no piece is in no form but a URL."""
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
        return _WEIGHTS[self.kind]


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
    words = _words(plain)
    numbers = set(filter(str.isdecimal, words))
    if len(numbers) > MOST_NUMBERS:
        numbers = set(sorted(sorted(numbers), key=_room)[:MOST_NUMBERS])
    ordered = not found
    at = 0  # of the next word
    end = 0  # of the last form with a blank within
    for word in words:
        start, size = at, len(word)
        at += size + 1
        if word.isdecimal() and plain[at : at + 1] not in (_GOES_ON if size != 3 else _OR_PHONE):
            if word in numbers and LONGEST >= size > 2 and start >= end:
                place = start - origin
                found.append(Exact(word, "number", place, place + size, start in heads))
            continue
        scanned = _in_word(word) if size < _LONG_SENTENCE else _scanned(word)
        if scanned is None:
            continue
        hits, opening = scanned
        leads = start in heads
        opened = -1
        if opening >= 0 and start + opening >= end and plain.startswith(" ", at - 1):
            match = _ACROSS_WORDS.match(plain, start + opening)
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


def _words(text: str) -> list[str]:
    """The words, as parts between single blanks, so that their places can be counted up."""
    for character in _APART:  # several times as fast as translating all at once
        text = text.replace(character, " ")
    # No form ends with these, and words without them come again more often.
    return text.replace(", ", "  ").replace(": ", "  ").split(" ")


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
    """What a long word holds, if anything."""
    if not word.isascii() and "://" not in word:
        return _scan_sentence(word)
    return _in_word(word) if len(word) < _LONG_WORD else _scan(word)


def _scan_sentence(sentence: str) -> Scanned | None:
    """What a sentence without blanks holds: most of its characters are in no form."""
    found: list[tuple[int, int, str]] = []
    opening = -1
    for piece in _SOLID.finditer(sentence):
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
    opening = _OPENING.search(word, bracket + 1)
    if not opening and not _HINT.search(word):
        return None
    found: list[tuple[int, int, str]] = []
    bare = word.strip(".,:!?*()[]")
    if bare.isdecimal():  # found by the pattern too, but by its last alternatives
        if len(bare) > 2:
            start = word.index(bare)
            found.append((start, start + len(bare), "number"))
    else:
        forms = _IN_DIGITS if _DIGITS.fullmatch(word) else _IN_WORD
        for match in forms.finditer(word):
            exact = match[0].rstrip(".,:!?*")
            if len(exact) > 2 or not exact.isascii():
                found.append((match.start(), match.start() + len(exact), match.lastgroup or ""))
    return (tuple(found), opening.start() if opening else -1) if found or opening else None


_in_word = lru_cache(maxsize=1 << 16)(_scan)  # the same words come again on every page
