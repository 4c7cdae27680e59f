"""Page text back into turns, parts and lines: the inverse of `flow`.

`parse_pages` undoes the rows, finds the tags, and takes markers and backslashes out. What
comes back is the normal text of each part (see `normal`), whatever the content says: pages
that follow each other give exactly what `shown_parts` computes from the turns themselves.
A page by itself gives what it holds, pieces of turns that run over its ends included.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from optimem.renderers.flow import PARTS, ROLES, PartKind, ShownPart
from optimem.renderers.normal import DATA, Data, Normal
from optimem.values import Page, Role

_TAG = re.compile(rf"<({ROLES}|{PARTS}|continued)#(\d+)(?:\.\d+)?(?: ([^<>]*))?> ")
_DATA_TAG = re.compile(r"<data#\d+ (\d+)B sha256:([0-9a-f]{16})>")
_MARKER = re.compile(r" (\|{1,2})(\d*) ")
_ESCAPED_MARKER = re.compile(r"\\(\|{1,2}\d*)(?=[ \n])")
_ESCAPED_TAG = re.compile(rf"<\\(\\*(?:{ROLES}|{PARTS}|continued|data)#)")
_CUT = "\v"  # behind a part that goes on, so that its last blank stays; no page holds one
_ROLES = ROLES.split("|")


@dataclass(slots=True)
class ShownTurn:
    """A turn as pages show it.

    Attributes:
        position: its place in the log.
        role: whose words they are.
        parts: what it says, in order.
        begins: whether it begins on these pages.
        ends: whether it ends on them.
    """

    position: int
    role: Role
    parts: list[ShownPart]
    begins: bool = True
    ends: bool = True

    @property
    def lines(self) -> list[str]:
        """The lines of all its parts."""
        return [line for part in self.parts for line in part.words.text.split("\n")]


def parse_pages(pages: Iterable[Page]) -> list[ShownTurn]:
    """The turns on pages that follow each other."""
    pages = list(pages)
    spans = [span for page in pages for span in page.spans]
    if not spans:
        return []
    first, last = spans[0], spans[-1]
    text = "".join(page.words for page in pages)
    if not first.begins:
        text = f"<{first.role}#{first.position}> <continued#{first.position}> {text}"
    _, *pieces = _TAG.split(text)
    if not last.ends:
        pieces[-1] += _CUT
    turns: list[ShownTurn] = []
    for kind, position, label, body in zip(*[iter(pieces)] * 4, strict=True):
        if kind in _ROLES:
            implied: PartKind = "result" if kind == "tool" else "text"
            part = ShownPart(implied, "", _decoded(body))
            turns.append(ShownTurn(int(position), cast(Role, kind), [part]))
        else:
            words = _decoded(body, whole=kind != "continued")
            turns[-1].parts.append(ShownPart(cast(PartKind, kind), label or "", words))
    for turn in turns:
        if len(turn.parts) > 1 and not turn.parts[0].words.text:
            del turn.parts[0]
    turns[0].begins = first.begins
    turns[-1].ends = last.ends
    return turns


def parse_page(page: Page) -> list[ShownTurn]:
    """The turns on one page; see `parse_pages`."""
    return parse_pages([page])


def parse_text(text: str) -> Normal:
    """The inverse of `flow_text`: the normal text that was flowed."""
    return _decoded(f"{text} ")


def _decoded(body: str, *, whole: bool = True) -> Normal:
    """The normal text of a part from what stands behind its tag, the blank at its end included.

    Args:
        body: the flowed text.
        whole: it starts where the part starts, so that a marker there is one. No row begins
            with a marker, so one at a page's start is the end of a word.
    """
    data = tuple(Data(int(size), digest) for size, digest in _DATA_TAG.findall(body))
    if data:
        body = _DATA_TAG.sub(DATA, body)
    text = _MARKER.sub(_line_break, " " + body)[1:] if whole else _MARKER.sub(_line_break, body)
    if "\\" in text:
        text = _ESCAPED_MARKER.sub(r"\1", text)
        text = _ESCAPED_TAG.sub(r"<\1", text)
    return Normal(text.removesuffix(_CUT) if text.endswith(_CUT) else text.removesuffix(" "), data)


def _line_break(marker: re.Match[str]) -> str:
    return "\n" * len(marker[1]) + " " * int(marker[2] or 0)
