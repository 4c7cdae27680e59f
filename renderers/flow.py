"""The text that pages show for a turn, as one line that says where its parts and lines are.

    <user#12> first line |4 a line indented by 4 || a line after an empty one <call#13 bash> {"a":1}

Tags start turns, and their parts where one must be told from the next; ` | ` ends a line,
with the next line's indentation as a number, and ` || ` a line that an empty one follows.
A line that keeps its row ends with the same marker, and the next one's indentation is drawn.
What a text holds is `normalise`d first. Where it looks like a tag or a marker, it gets one
more backslash, which `parse` takes off again: content cannot forge either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from optimem.renderers.normal import DATA, ROW, FlowStyle, Normal, normalise, reflow
from optimem.values import Attachment, Entry, Part, Text, Thinking, ToolCall, ToolResult, Turn

PartKind = Literal["text", "thinking", "call", "result", "error", "image", "file", "continued"]

PARTS = "text|thinking|call|result|error|image|file"
ROLES = "system|user|assistant|tool"
_TAG_LIKE = re.compile(rf"<(\\*(?:{ROLES}|{PARTS}|continued|data)#)")
# A marker by itself, or behind a blank and backslashes. It starts with the pipe, since
# a search for a plain character is the fastest.
_MARKER_LIKE = re.compile(rf"\|(?<![^ \n{ROW}\\]\|)\|?\d*(?=[ \n{ROW}]|\Z)")
_BREAK = re.compile(r"\n(\n* *)")
_NAME_CHARACTERS = re.compile(r"[^\w./:+=&?%@~-]+")
_LONGEST_NAME = 96


@dataclass(frozen=True, slots=True)
class ShownPart:
    """A part of a turn as a page shows it: a tag and the words behind it.

    Attributes:
        kind: what the tag says; the first part of a turn has none of its own and is a
            "result" in a tool's turn, else "text". "continued" if its tag stands on an
            earlier page.
        label: a call's name; type, name, size and digest of an attachment.
        words: the normal text of a text, thinking, call's arguments or result; for
            attachments the text that follows them in the same part.
    """

    kind: PartKind
    label: str
    words: Normal


@dataclass(frozen=True, slots=True)
class Flow:
    """A turn's flowed text.

    Attributes:
        text: the text, always with a blank at its end.
        marks: for each attachment the offset of its tag in the text.
        breaks: offsets at which a row ends whether it is full or not, in order.
    """

    text: str
    marks: tuple[int, ...] = ()
    breaks: tuple[int, ...] = ()


def flow_turn(entry: Entry, flow: FlowStyle = "auto") -> Flow:
    """The text that pages show for a turn: its tag, then its parts."""
    pieces = [f"<{entry.turn.role}#{entry.position}> "]
    length = len(pieces[0])
    marks: list[int] = []
    breaks: list[int] = []
    for number, part in enumerate(_raw_parts(entry.turn)):
        if part.is_attachment:
            marks.append(length)
        tag = "" if number == 0 else part.tag(entry.position, len(marks) - 1)
        rows = (tag + _body(reflow(part.text, flow), entry.position)).split(ROW)
        for row in rows[:-1]:
            length += len(row)
            breaks.append(length)
        length += len(rows[-1])
        pieces += rows
    return Flow("".join(pieces), tuple(marks), tuple(breaks))


def shown_parts(turn: Turn, flow: FlowStyle = "auto") -> tuple[ShownPart, ...]:
    """What a reader can learn of a turn from its pages, computed without them."""
    parts = [
        ShownPart(part.kind, part.label, normalise(part.text, flow)) for part in _raw_parts(turn)
    ]
    return tuple(parts[1:] if len(parts) > 1 and parts[0].words.text == "" else parts)


def flow_text(text: str, flow: FlowStyle = "auto") -> str:
    """Flow plain text; rows that end early are not marked in it."""
    return encode(reflow(text, flow)).replace(ROW, "")


def encode(normal: Normal, position: int = 0) -> str:
    """Put markers for line breaks, tags for data, and backslashes before what looks alike."""
    text = normal.text
    if "#" in text:
        text = _TAG_LIKE.sub(lambda match: f"<\\{match[1]}", text)
    if "|" in text:
        text = _MARKER_LIKE.sub(lambda match: f"\\{match[0]}", text)
    text = _rows(text) if ROW in text else _first_lines(text)
    if normal.data:
        tags = (f"<data#{position} {data.size}B sha256:{data.digest}>" for data in normal.data)
        text = re.sub(DATA, lambda _: next(tags), text)
    return text


def _rows(text: str) -> str:
    """Lines some of which end a row: a marker for each break between them."""
    before, after = text.startswith(ROW), text.endswith(ROW)
    first, *stretches = text.strip(ROW).split(ROW)
    pieces = [_lines(first) if before else _first_lines(first)]
    bars = "|"
    for stretch in stretches:
        if stretch:
            pieces.append(f" {bars} {ROW}{_lines(stretch)}")
        bars = "|" if stretch else "||"
    return "".join((ROW * before, *pieces, ROW * after))


def _first_lines(text: str) -> str:
    """`_lines` behind a tag: the first one's indentation needs a marker to stand behind."""
    return _lines("\n" + text)[1:] if text.startswith(" ") else _lines(text)


def _lines(text: str) -> str:
    """Lines within one row or several: a marker for each break between them."""
    if "\n" not in text:
        return text
    pieces = _BREAK.split(text.rstrip("\n"))  # lines, and what follows each break, in turn
    pieces[1::2] = [_MARKERS.get(behind) or _marker(behind) for behind in pieces[1::2]]
    return "".join(pieces)


def _marker(behind: str) -> str:
    """The marker of a line break that empty lines and the next one's indentation follow."""
    indentation = behind.lstrip("\n")
    bars = "|" if indentation == behind else "||"
    return f" {bars}{len(indentation) or ''} "


_MARKERS = {
    behind: _marker(behind)
    for blanks in range(64)
    for behind in (" " * blanks, "\n" + " " * blanks)
}


def _body(normal: Normal, position: int) -> str:
    """A part's words with the blank that ends them, a row's end behind it if they kept theirs."""
    text = encode(normal, position)
    return text.removesuffix(ROW) + " " + ROW * text.endswith(ROW) if text else ""


@dataclass(slots=True)
class _RawPart:
    kind: PartKind
    label: str = ""
    texts: list[str] = field(default_factory=list)
    is_attachment: bool = False

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def tag(self, position: int, index: int) -> str:
        place = f"{position}.{index}" if self.is_attachment else f"{position}"
        return f"<{self.kind}#{place}{self.label and ' ' + self.label}> "


def _raw_parts(turn: Turn) -> Iterator[_RawPart]:
    """A turn's parts, each with all text up to the next; the first one needs no tag.

    Texts that follow each other are lines of one part. One that follows an attachment
    belongs to the same text or result as the attachment.
    """
    first: PartKind = "result" if turn.role == "tool" else "text"
    part, holder = _RawPart(first), first
    for number, piece in enumerate(turn.parts):
        if isinstance(piece, Text) and holder == "text":
            part.texts.append(piece.text)
            continue
        opened = _opened(piece)
        if number or opened.kind != "result" or first != "result":
            yield part
        part = opened
        if not isinstance(piece, Attachment):
            holder = part.kind
        for inner in piece.parts if isinstance(piece, ToolResult) else ():
            if isinstance(inner, Text):
                part.texts.append(inner.text)
            else:
                yield part
                part = _opened(inner)
    yield part


def _opened(piece: Part) -> _RawPart:
    """The part that a piece of a turn begins."""
    if isinstance(piece, Text):
        return _RawPart("text", texts=[piece.text])
    if isinstance(piece, Thinking):
        return _RawPart("thinking", texts=[piece.text])
    if isinstance(piece, ToolCall):
        return _RawPart("call", _plain_name(piece.name), [piece.arguments])
    if isinstance(piece, ToolResult):
        return _RawPart("error" if piece.is_error else "result")
    what = _plain_name(" ".join(filter(None, (piece.media_type, piece.name, piece.url))))
    size = "" if piece.data is None else f" {len(piece.data)}B"
    label = f"{what}{size} {piece.digest[:8]}".strip()
    return _RawPart(piece.kind, label, is_attachment=True)


def _plain_name(name: str) -> str:
    """A name that cannot end its tag."""
    return _NAME_CHARACTERS.sub("_", name)[:_LONGEST_NAME]
