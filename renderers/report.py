"""How each code point of a page was drawn, so that nothing can vanish unseen."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optimem.renderers.arrange import arrange_page
from optimem.renderers.atlas import load_atlas
from optimem.renderers.clusters import EMOJI
from optimem.renderers.typefaces import LATE
from optimem.values import Page

_UNSEEN = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef\U0001f3fb-\U0001f3ff\u17b4\u17b5]")


@dataclass(frozen=True, slots=True)
class PageReport:
    """The characters of a page's text, each at least once, sorted by how they were drawn.

    Attributes:
        glyphs: by font, what was drawn by itself.
        shaped: by font, what was drawn as part of a word that HarfBuzz shaped.
        clusters: bases and marks that were put together, and parts of emoji.
        foreign: by font file, what a font beyond the shipped ones drew.
        boxes: what no font has: drawn as a hex box.
        pictures: control pictures; they stand for the control characters of the log.
        unseen: what has no ink of its own and only changes its neighbours: joiners, tags,
            variation selectors and skin tones within a cluster.
    """

    glyphs: Mapping[str, str]
    shaped: Mapping[str, str]
    clusters: str
    foreign: Mapping[str, str]
    boxes: str
    pictures: str
    unseen: str

    @property
    def characters(self) -> frozenset[str]:
        """All characters that the report names."""
        fonts = (*self.glyphs.values(), *self.shaped.values(), *self.foreign.values())
        return frozenset("".join((*fonts, self.clusters, self.boxes, self.pictures, self.unseen)))


def report_page(page: Page, fonts: Sequence[Path] | None = ()) -> PageReport:
    """Say how each character of a page is drawn; `fonts` as for `page_pixels`."""
    atlas = load_atlas()
    glyphs, shaped, foreign = (defaultdict[str, set[str]](set) for _ in range(3))
    clusters, unseen = set[str](), set[str]()
    pieces = [placement.piece for placement in arrange_page(page, atlas, fonts).pieces]
    for piece in pieces:
        inked = {character for character in piece.text if not _is_unseen(character)}
        unseen |= set(piece.text) - inked
        if piece.font is None or piece.font == LATE[EMOJI]:
            clusters |= inked
        else:
            (shaped if piece.font.shipped else foreign)[piece.font.name] |= inked
    alone = Counter(page.text) - Counter("".join(piece.text for piece in pieces))
    boxes = {character for character in alone if not atlas.covered(ord(character))}
    pictures = {character for character in alone if "\u2400" <= character <= "\u2421"}
    for character in alone.keys() - boxes - pictures:
        glyphs[atlas.font(ord(character)).name].add(character)
    return PageReport(
        glyphs=_sorted(glyphs),
        shaped=_sorted(shaped),
        clusters="".join(sorted(clusters)),
        foreign=_sorted(foreign),
        boxes="".join(sorted(boxes)),
        pictures="".join(sorted(pictures)),
        unseen="".join(sorted(unseen)),
    )


def _is_unseen(character: str) -> bool:
    """Joiners, tags, selectors, skin tones (emoji are black), two Khmer vowels for sorting."""
    return unicodedata.category(character) == "Cf" or bool(_UNSEEN.match(character))


def _sorted(groups: Mapping[str, set[str]]) -> dict[str, str]:
    return {name: "".join(sorted(groups[name])) for name in sorted(groups)}
