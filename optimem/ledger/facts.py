"""Facts: what planning needs to know of turns and pages without reading their words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from optimem.anchors import NEARBY, choose_anchors, find_anchors
from optimem.attachments import file_tokens, image_size
from optimem.tokens import Counter
from optimem.values import Page, PageFacts, Turn, TurnFacts

FRAME_TOKENS = 4
"""What stands around each message."""

_CALL_TOKENS = 8  # around each call and each result


def turn_facts(turn: Turn, counter: Counter) -> TurnFacts:
    """What planning needs to know of a turn."""
    names = " ".join((turn.name, *turn.calls, *turn.answers))
    tokens = FRAME_TOKENS + counter.count(turn.text) + counter.count(names)
    tokens += _CALL_TOKENS * (len(turn.calls) + len(turn.answers))
    tokens += sum(file_tokens(attachment) for attachment in turn.attachments)
    return TurnFacts(
        role=turn.role,
        tokens=tokens,
        time=turn.time,
        images=tuple(image_size(attachment) for attachment in turn.attachments),
        calls=turn.calls,
        answers=turn.answers,
    )


def page_facts(
    pages: Iterable[Page],
    nearby: Sequence[PageFacts],
    stored: Callable[[int], Page],
    counter: Counter,
    anchor_tokens: Callable[[str], int],
    caption_tokens: int,
) -> Iterator[PageFacts]:
    """Facts of newly sealed pages, in order.

    Args:
        pages: consecutive pages.
        nearby: facts of the `NEARBY` pages before them, whose anchors are not repeated.
        stored: gives an earlier page by its number.
        counter: counts text tokens.
        anchor_tokens: counts those of an anchor, as the counter does.
        caption_tokens: the most tokens beside each page for its place and anchors.
    """
    nearby = list(nearby)
    previous: Page | None = None
    for page in pages:
        before = ""
        if not page.spans[0].begins:
            before = (previous or stored(page.number - 1)).words
        text = page.words
        found = find_anchors(text, before, cut=not page.spans[-1].ends)
        bare = PageFacts(
            number=page.number,
            hash=page.hash,
            first=page.spans[0].position,
            last=page.spans[-1].position,
            stop=page.stop[0],
            tokens=counter.count(text),
            marks=page.marks,
        )
        room = caption_tokens - counter.count(bare.caption + ", exact:")
        known = {anchor for facts in nearby for anchor in facts.anchors}
        anchors = choose_anchors(found, room, anchor_tokens, known)
        facts = _with_anchors(bare, tuple(anchors), counter)
        yield facts
        nearby = [*nearby, facts][-NEARBY:]
        previous = page


def _with_anchors(facts: PageFacts, anchors: tuple[str, ...], counter: Counter) -> PageFacts:
    facts = replace(facts, anchors=anchors)
    return replace(facts, caption_tokens=counter.count(facts.caption))
