"""Anchors: exact strings kept as text beside a page, because images lose such strings first.

A page's anchors follow from its text, from the end of the page before it, and from the
anchors of the few pages before: the same on every machine, and settled when it is sealed.

What is kept is what is worth most for its tokens: strings that an image loses surely and
that do not merely head a line, as those of a listing do. Of equals the rarer on the page
comes first: what is said often can be read in several places. What an earlier page nearby
has beside it already is left out, since it is in the context anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from optimem.exact import LONGEST, Exact, find_exact

NEARBY = 4
"""Pages back whose anchors are not repeated."""

_LISTED = 0.4  # what a string at a line's head is worth, beside others
_SEPARATOR = " "  # costs no token of its own in front of a word; a semicolon costs one


def find_anchors(text: str, before: str = "", *, cut: bool = False) -> list[Exact]:
    """The exact strings that a page may keep beside it, in their order.

    A string that runs over a page's end belongs to the page on which it ends, where it is
    whole: its start is negative then.

    Args:
        text: the page's text.
        before: the text of the page before it, if the page's first turn begins there.
        cut: the page's last turn goes on behind it.
    """
    before = before[-LONGEST - 1 :]  # what is longer is no anchor
    found = find_exact(before + text, len(before))
    if before:
        found = [exact for exact in found if exact.stop >= 0]
    if cut and found and found[-1].stop == len(text):
        del found[-1]
    return found


def choose_anchors(
    found: Iterable[Exact],
    budget: int,
    count: Callable[[str], int],
    known: Collection[str] = (),
) -> list[str]:
    """The strings worth most within a budget, best first.

    Args:
        found: the page's exact strings, from `find_anchors`.
        budget: the most tokens for all of them, separators included.
        count: tokens of a text.
        known: strings that stand beside a page nearby.
    """
    times: dict[str, int] = {}
    weights: dict[str, float] = {}
    for exact in found:
        text = exact.text
        if text in known:
            continue
        weight = exact.weight * (_LISTED if exact.leads else 1)
        if text in times:
            times[text] += 1
            weights[text] = max(weight, weights[text])
        else:
            times[text], weights[text] = 1, weight
    # No more can fit than the budget has tokens, and counting takes longer than all else.
    sizes = {text: len(text) / weight for text, weight in weights.items()}
    likely = sorted(sorted(times), key=sizes.__getitem__)[: 2 * max(budget, 0)]
    costs = {text: count(_SEPARATOR + text) for text in likely}
    chosen: list[str] = []
    for text in sorted(likely, key=lambda text: (-weights[text] / costs[text], times[text], text)):
        if costs[text] <= budget:
            budget -= costs[text]
            chosen.append(text)
    return chosen
