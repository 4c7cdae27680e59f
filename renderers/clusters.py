"""Which characters join the one before them into one grapheme cluster.

A rule of the text alone, so that every machine lays it out alike: base and combining
marks, a flag's two letters, emoji joined to one picture. At most `LONGEST` code points
share a cluster; what would follow stands in cells of its own.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 16
"""Code points in a cluster at most: 11 make a family with skin tones, no language needs more."""

_MARKS = [
    point for point in range(0x300, 0x1F000) if unicodedata.category(chr(point)) in ("Mn", "Me")
]


def _set(points: list[int]) -> str:
    return "".join(map(chr, points))


_EXTENDS = _set(_MARKS) + "\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff"
_PICTURE = "[\u2600-\u27bf\U0001f300-\U0001faff]"
CLUSTERS = re.compile(
    "[\U0001f1e6-\U0001f1ff]{2}"
    f"|{_PICTURE}(?:[{_EXTENDS}]|(?<=\u200d){_PICTURE}){{1,{LONGEST - 1}}}"
    f"|[^\\s{_EXTENDS}\x00-\x1f\x7f-\xa0][{_EXTENDS}]{{1,{LONGEST - 1}}}"
)
