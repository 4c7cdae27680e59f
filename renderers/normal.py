"""What a page changes of a text: the normalisation, in one pure function.

The log keeps every text as it came. A page shows `normalise(text)`, and reading the page
back gives exactly that. In order:

1. Terminal codes go; CR LF and CR become LF; characters are composed (NFC), but for runs of
   100 and more combining marks.
2. A text that is JSON as a whole loses the blanks between its tokens, and so do objects
   that stand in it on lines of their own, between brackets that are lines of their own.
   Nothing else of them changes: keys, numbers and strings stand as they were written.
3. Tabs become spaces to columns of 4; other control characters become their pictures.
4. A long run of data (base64, hex, minified code) becomes one NUL, which a text can no
   longer hold, and its size and digest are named beside the text.
5. Blanks at line ends and blank lines at either end go; several blank lines become one.
6. Runs of blanks within a line become one, but in JSON strings, behind the number of a
   listing's line, and in lines that keep their rows.

Which lines keep their rows is the flow's choice: "all" keeps none, "lines" keeps every one,
and "auto" keeps tables, whose columns say which value belongs where (`find_tables`).
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from optimem.renderers.tables import LINE_NUMBER, find_tables

FlowStyle = Literal["all", "lines", "auto"]

DATA = "\0"
"""Stands in a normal text where a run of data was."""

ROW = "\v"
"""Stands in a reflowed text for a line break that also ends its row; `normalise` hides it."""

LONGEST_DATA = 256
"""Characters from which on a run of data is shown as its digest."""

_WRAPPED = 60  # characters of each line of data that is broken into lines
_LONGEST_MINIFIED = 2000  # characters from which on a line of minified code is data
_MOST_MARKS = 100  # composing takes the square of a run of combining marks
_ALWAYS_COMPOSED = 4096  # characters; shorter texts are composed in no time whatever they hold

_ANSI = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[@-Z\\^_78=>c])"
)
_CONTROLS = bytes((*range(0x0A), *range(0x0B, 0x20), 0x7F))  # as UTF-8, where no other has them
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code != 0x0A} | {0x7F: 0x2421}
_OPENING = re.compile(r"\n([ \t]*)([{\[])(?=\n)")  # a line; it begins with what is found fastest
_BLANKS = re.compile(r" {2,}")
_EMPTY_LINES = re.compile(r"\n\n\n+")
_EMPTY_ROWS = re.compile(rf"[\n{ROW}]{{2,}}")
_DATA_RUN = re.compile(rf"[A-Za-z0-9+/_-]{{{LONGEST_DATA},}}={{0,2}}")
_WRAPPED_DATA = re.compile(rf"[A-Za-z0-9+/_-]{{{_WRAPPED},}}={{0,2}}")
_NO_DIGITS = {ord(digit): None for digit in "0123456789"}


@dataclass(frozen=True, slots=True)
class Data:
    """A run of data that a page names but does not show.

    Attributes:
        size: its length in bytes, as UTF-8.
        digest: the first 16 hex digits of its SHA-256.
    """

    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal text, and the runs of data for the NULs in it, in order."""

    text: str
    data: tuple[Data, ...] = ()


def normalise(text: str, flow: FlowStyle = "auto") -> Normal:
    """What a page says of a text; see the module's head for what changes."""
    shown = reflow(text, flow)
    return Normal(shown.text.strip(ROW).replace(ROW, "\n"), shown.data)


def reflow(text: str, flow: FlowStyle = "auto") -> Normal:
    """`normalise`, with `ROW` for the line breaks that end a row.

    One in front of the text says that it begins on a row of its own, one behind it that
    what follows does.
    """
    text = _composed(_ANSI.sub("", text) if "\x1b" in text else text)
    text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    json_text = _minified_json(text) if flow != "lines" else None
    if json_text is not None:
        lines, data = _without_data([_pictured(json_text)])
        return Normal(lines[0], data)
    if flow != "lines" and '"' in text and ("{\n" in text or "[\n" in text):
        text = _minified_blocks(text)
    text = _pictured(text)
    lines = [line.rstrip(" ") for line in text.split("\n")]
    lines, data = _without_data(_without_empty_ends(lines))
    kept = [(0, len(lines))] if flow == "lines" and lines else []
    if flow != "lines" and "  " in text:
        gapped = [at for at, line in enumerate(lines) if "  " in line.lstrip(" ")]
        kept = list(find_tables(lines, gapped)) if flow == "auto" else []
        inside = {at for start, stop in kept for at in range(start, stop)}
        for at in gapped:
            if at not in inside:
                lines[at] = _collapsed(lines[at])
    if kept:
        text = _EMPTY_ROWS.sub(_one_empty_line, "".join(_stretches(lines, kept)))
    else:
        text = _EMPTY_LINES.sub("\n\n", "\n".join(lines))
    return Normal(text, data)


def _composed(text: str) -> str:
    if text.isascii() or unicodedata.is_normalized("NFC", text):
        return text
    if len(text) <= _ALWAYS_COMPOSED:
        return unicodedata.normalize("NFC", text)
    pieces = _long_marks().split(text)
    pieces[::2] = [unicodedata.normalize("NFC", piece) for piece in pieces[::2]]
    return "".join(pieces)


@functools.cache
def _long_marks() -> re.Pattern[str]:
    marks = (chr(code) for code in range(0x300, sys.maxunicode + 1))
    marks_class = "".join(char for char in marks if unicodedata.combining(char))
    return re.compile(f"([{marks_class}]{{{_MOST_MARKS},}})")


def _minified_json(text: str) -> str | None:
    """JSON without the blanks between its tokens; None for anything else."""
    text = text.strip(" \t\n")
    if not text or text[0] + text[-1] not in ("{}", "[]"):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    escaped = "\\" in text
    if escaped:  # JSON holds no control characters, so some of them can stand for escapes
        text = text.replace("\\\\", "\0").replace('\\"', "\1")
    pieces = text.split('"')  # what stands outside of strings, and within, in turn
    bare = "\2".join(pieces[::2])
    for blank in " \n\t":
        bare = bare.replace(blank, "")
    pieces[::2] = bare.split("\2")
    text = '"'.join(pieces)
    return text.replace("\1", '\\"').replace("\0", "\\\\") if escaped else text


def _minified_blocks(text: str) -> str:
    """A text in which pretty-printed JSON objects are a line each; lists of them as well."""
    pieces: list[str] = []
    absent: set[str] = set()  # ends that no later block can have
    text = f"\n{text}"
    taken = seen = 1
    for opening in _OPENING.finditer(text):
        end = "\n" + opening[1] + ("}" if opening[2] == "{" else "]")
        start = opening.start() + 1
        if start < seen or end in absent:
            continue
        stop = _line_end(text, end, opening.end())
        if stop < 0:
            absent.add(end)
            continue
        seen = stop  # whatever it was, nothing within is tried again
        block = text[start:stop]
        minified = _minified_json(block) if '":' in block else None
        if minified is not None:
            pieces += text[taken:start], opening[1], minified
            taken = stop
    return "".join((*pieces, text[taken:]))


def _line_end(text: str, end: str, start: int) -> int:
    """Where a line that is `end` ends, from an index on; -1 without one."""
    while (at := text.find(end, start)) >= 0:
        start = at + len(end)
        if start == len(text) or text[start] == "\n":
            return start
    return -1


def _pictured(text: str) -> str:
    if "\t" in text:
        text = text.expandtabs(4)
    data = text.encode("utf-8", "surrogatepass")
    return text if len(data.translate(None, _CONTROLS)) == len(data) else text.translate(_PICTURES)


def _without_empty_ends(lines: list[str]) -> list[str]:
    start, stop = 0, len(lines)
    while start < stop and not lines[start]:
        start += 1
    while start < stop and not lines[stop - 1]:
        stop -= 1
    return lines[start:stop]


def _without_data(lines: list[str]) -> tuple[list[str], tuple[Data, ...]]:
    """The lines with `DATA` for each long run, and what those were."""
    long = [line for line in lines if len(line) >= _WRAPPED]
    suspects = [line for line in long if " " not in line or len(line) >= LONGEST_DATA]
    if not any(map(_may_be_data, suspects)):
        return lines, ()
    shown: list[str] = []
    data: list[Data] = []
    wrapped: list[str] = []

    def take(run: str) -> str:
        content = run.encode("utf-8", "surrogatepass")
        data.append(Data(len(content), hashlib.sha256(content).hexdigest()[:16]))
        return DATA

    def take_if_data(match: re.Match[str]) -> str:
        return take(match[0]) if _is_data(match[0]) else match[0]

    def close() -> None:
        run = "\n".join(wrapped)
        if len(run) >= LONGEST_DATA and _is_data(run):
            shown.append(take(run))
        else:
            shown.extend(wrapped)
        wrapped.clear()

    for line in lines:
        if len(line) >= _WRAPPED and _WRAPPED_DATA.fullmatch(line):
            wrapped.append(line)
            continue
        close()
        if _is_minified(line):
            line = take(line)
        elif _may_hold_data(line):
            line = _DATA_RUN.sub(take_if_data, line)
        shown.append(line)
    close()
    return shown, tuple(data)


def _may_be_data(line: str) -> bool:
    """Whether a line that is long, or has no blank, is worth a closer look."""
    return bool(_WRAPPED_DATA.fullmatch(line)) or _is_minified(line) or _may_hold_data(line)


def _may_hold_data(line: str) -> bool:
    """Whether enough characters follow each other without a sign that ends most words."""
    start = 0
    while (stop := start + LONGEST_DATA) <= len(line):
        end = line.rfind(" ", start, stop)
        if end < 0:
            end = line.rfind('"', start, stop)
            if end < 0:
                return True
        start = end + 1
    return False


def _is_data(run: str) -> bool:
    """Whether a run looks random: base64 has 16 % digits, hex 62 %, words next to none."""
    digits = len(run) - len(run.translate(_NO_DIGITS))
    return digits >= len(run) // 20 and len(set(run)) >= 10


def _is_minified(line: str) -> bool:
    """Whether a line is minified code: hardly a blank, and more punctuation than JSON has."""
    if len(line) < _LONGEST_MINIFIED or line.count(" ") * 12 >= len(line):
        return False
    return len(line) < 12 * sum(map(line.count, ";()={}"))


def _collapsed(line: str) -> str:
    """A line whose runs of blanks are one each, but for its indentation.

    In a listing the indentation stands behind the line's number.
    """
    words = line.lstrip(" ")
    number = LINE_NUMBER.match(line)
    if number is not None:
        words = line[number.end() :].lstrip(" ")
    if "  " not in words:
        return line
    return line[: len(line) - len(words)] + _BLANKS.sub(" ", words)


def _stretches(lines: list[str], kept: list[tuple[int, int]]) -> Iterator[str]:
    """The text in pieces: kept lines each on a row of their own, the others flowed."""
    end = 0
    for start, stop in kept:
        if start > end:
            yield "\n".join(lines[end:start]) + ROW
        elif start == 0 and stop > 1:  # a single line may stand behind its tag
            yield ROW
        yield ROW.join(lines[start:stop]) + ROW
        end = stop
    yield "\n".join(lines[end:])


def _one_empty_line(match: re.Match[str]) -> str:
    return (ROW if ROW in match[0] else "\n") * 2
