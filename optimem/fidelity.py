"""What a reader still reads of pages in each mode: measured by having it read some back.

    memory.fidelity(reader)      # {Tier.BASE: Fidelity(…), …}

The figures stay in the store, so that every process plans the session by the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Protocol

from optimem.errors import MissingExtraError
from optimem.exact import find_exact
from optimem.modes import Tier
from optimem.readers import Profile
from optimem.renderers.layout import PageStyle
from optimem.stores import Store
from optimem.values import Page, Scope, dump_json


class ReadsPages(Protocol):
    """A reader that can be asked what stands on a page, as `optimem.vision.LocalReader`."""

    profile: Profile

    def read(self, page: Page, tier: Tier, *, style: PageStyle | None = None) -> str:
        """What it reads on a page that it is shown in a mode."""
        ...


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How some pages were read in one mode.

    Attributes:
        pages: how many.
        characters: how many were drawn, runs of blanks as one.
        errors: edits from what was drawn to what was read.
        strings: exact strings that stand on the pages, each once a page.
        kept: how many of these were read as they stand.
    """

    pages: int
    characters: int
    errors: int
    strings: int
    kept: int

    @property
    def cer(self) -> float:
        """Character error rate; above 1 for a reader that goes on about something else."""
        return self.errors / max(self.characters, 1)

    @property
    def exact(self) -> float:
        """Share of exact strings that were read as they stand; 1 where there are none."""
        return self.kept / self.strings if self.strings else 1.0

    @property
    def share(self) -> float:
        """Share of characters that come through, from 0 to 1: what policies are given."""
        return max(1 - self.cer, 0.0)


def measure(
    reader: ReadsPages, pages: Iterable[Page], tiers: Iterable[Tier], style: PageStyle
) -> dict[Tier, Fidelity]:
    """Have a reader read pages back in some modes.

    Raises:
        MissingExtraError: rapidfuzz is not installed.
        InputError: the reader does not read one of the modes.
    """
    shown = list(pages)
    return {
        tier: _summed([compared(page, reader.read(page, tier, style=style)) for page in shown])
        for tier in tiers
    }


def sampled(count: int, wanted: int) -> list[int]:
    """Numbers of at most `wanted` of `count` pages, spread evenly, the same ones each time."""
    wanted = min(count, wanted)
    return [(2 * number + 1) * count // (2 * wanted) for number in range(wanted)]


def keep(store: Store, scope: Scope, reader: str, found: Mapping[Tier, Fidelity]) -> None:
    """Store what was measured of a reader in place of what was before; other modes stay."""
    merged = {**stored(store, scope, reader), **found}
    line = dump_json({tier.label: list(astuple(each)) for tier, each in sorted(merged.items())})
    store.drop_blobs(scope, [_key(reader)])
    store.put_blob(scope, _key(reader), line.encode())


def stored(store: Store, scope: Scope, reader: str) -> dict[Tier, Fidelity]:
    """What was measured of a reader; empty before that, and after turns were forgotten."""
    line = store.blob(scope, _key(reader))
    rows = {} if line is None else json.loads(line)
    return {Tier.parse(label): Fidelity(*values) for label, values in rows.items()}


def _key(reader: str) -> str:
    return f"fidelity/{reader}"


def compared(page: Page, read: str) -> Fidelity:
    """How well what was read on a page says what was drawn; line ends are blanks."""
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError:
        raise MissingExtraError("memory.fidelity", "vision") from None
    drawn, found = (" ".join(text.split()) for text in (page.words, read))
    strings = {each.text for each in find_exact(page.words)}
    kept = sum(" ".join(string.split()) in found for string in strings)
    errors = Levenshtein.distance(drawn, found)
    return Fidelity(1, len(drawn), errors, len(strings), kept)


def _summed(each: Sequence[Fidelity]) -> Fidelity:
    return Fidelity(*map(sum, zip(*map(astuple, each), strict=True)))
