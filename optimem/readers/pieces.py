"""A context's segments as messages are made of them: runs of pages, and turns one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from optimem.values import Segment, Turn


def pages_and_turns(segments: Iterable[Segment]) -> Iterator[list[Segment] | Turn]:
    """Each turn, and what stands between two turns together: pages, captions and notes."""
    pages: list[Segment] = []
    for segment in segments:
        if segment.turn is None:
            pages.append(segment)
            continue
        if pages:
            yield pages
            pages = []
        yield segment.turn
    if pages:
        yield pages
