"""Is a page in a context a memory? Lines of eight unseen pages, found by how they begin.

Eight pages of different texts and modes stand in one prompt, recent text behind them. Asked with
the first three words of one of their rows, the codec's decoder looks for that row and reads it to
its end. Right is only the whole row. With the vision tokens of other pages in the same places it
must fail: else it would know the answer from elsewhere.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from optimem.bench.corpus import KINDS, pages_of, turns_of
from optimem.demo import packaged_session
from optimem.modes import ROWS, Tier
from optimem.values import Page

_TIERS = (Tier.BASE, Tier.SMALL, Tier.TINY, Tier.BASE, Tier.SMALL, Tier.TINY, Tier.BASE, Tier.SMALL)
_WORDS = 3
_RECENT = "And that is where we were.\n" * 20


def finding(reader: Any, contexts: int, seed: int = 5) -> dict[str, dict[str, float]]:
    """Shares of lines found, in percent, by mode; and how many were asked for.

    Args:
        reader: optimem-nano.
        contexts: of eight pages; one row of each page is asked for.
        seed: which pages and rows.
    """
    from optimem.vision.lines import LineFinder

    rng = random.Random(seed)
    right, elsewhere, asked = Counter[str](), Counter[str](), Counter[str]()
    texts = [packaged_session(), *(turns_of(kind) for kind in KINDS if kind != "ids")]
    every = [page for turns in texts for page in pages_of(turns) if len(page.rows) == ROWS]
    for _ in range(contexts):
        drawn = rng.sample(every, 2 * len(_TIERS))
        pages, others = drawn[: len(_TIERS)], drawn[len(_TIERS) :]
        shown, foreign = (LineFinder(reader, _prompt(reader, these)) for these in (pages, others))
        for page, tier in zip(pages, _TIERS, strict=True):
            key, line = rng.choice(list(_lines(page, pages)))
            asked[tier.label] += 1
            right[tier.label] += shown.find(key) == line
            elsewhere[tier.label] += foreign.find(key) == line
    return {
        tier: {
            "lines": count,
            "found": round(100 * right[tier] / count, 1),
            "found_in_other_pages": round(100 * elsewhere[tier] / count, 1),
        }
        for tier, count in asked.items()
    }


def _lines(page: Page, pages: Sequence[Page]) -> Iterator[tuple[str, str]]:
    """Rows that alone begin with their first words, and these words."""
    rows = [row.rstrip(" ") for each in pages for row in each.rows]
    for row in page.rows:
        words = row.split(" ")
        key = " ".join(words[:_WORDS])
        alone = sum(other.startswith(key) for other in rows) == 1
        if len(words) > _WORDS and "" not in words[:_WORDS] and alone:
            yield key, row.rstrip(" ")


def _prompt(reader: Any, pages: Sequence[Page]) -> Any:
    write = reader.write
    pieces = [write.start(False), write.open_block()]
    for number, (page, tier) in enumerate(zip(pages, _TIERS, strict=True)):
        pieces += [write.line(f"Page {number}"), write.image(reader.picture(page, tier))]
    pieces += [write.close_block(), write.line(_RECENT), write.answer()]
    return reader.prompt(pieces)
