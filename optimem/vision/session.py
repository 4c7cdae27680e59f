"""One session as a local reader sees it: its pages encoded once, its contexts as model inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optimem.errors import StoreError
from optimem.modes import Tier
from optimem.renderers.layout import PageStyle
from optimem.renderers.page import page_pixels
from optimem.stores import Store
from optimem.values import Json, Page, Scope, Segment
from optimem.vision.inputs import ModelInputs, Past, Placed, Row, Span
from optimem.vision.once import TokensOnce
from optimem.vision.prompt import Picture, Piece

if TYPE_CHECKING:
    from optimem.vision.reader import LocalReader

Image = Callable[[Segment], tuple[str, bytes]]
"""Media type and bytes of an attachment segment."""

Shown = tuple[int, str, Tier]
"""A page in a mode: its number and its hash."""


@dataclass(slots=True)
class VisionSession:
    """Encodes what a reader is shown of one session.

    Attributes:
        reader: the model.
        store: where pages are, and where vision tokens are kept.
        scope: whose session it is.
        style: how its pages are drawn.
        image: gives the bytes of attachments beside pages.
    """

    reader: LocalReader
    store: Store
    scope: Scope
    style: PageStyle
    image: Image
    _names: dict[int, str] = field(default_factory=dict)
    _once: TokensOnce = field(init=False)

    def __post_init__(self) -> None:
        self._once = TokensOnce(self.reader, self.store, self.scope)

    def encode(self, pages: Iterable[Shown], wanted: Callable[[], bool] = lambda: True) -> bool:
        """Have the vision tokens of pages (number, hash, mode) at hand.

        Returns:
            False when some are still to be encoded and `wanted` says no.

        Raises:
            ReaderError: the model failed; nothing of the session was changed.
        """
        return self._once.tokens(self._pictures(pages), wanted) is not None

    def queue(self, pages: Iterable[Shown]) -> None:
        """Leave pages (number, hash, mode) that will soon be shown to workers, if there are any."""
        if self.reader.patience:
            self._once.queue(self._pictures(pages))

    def hide(self, pages: Iterable[tuple[str, Tier]]) -> list[str]:
        """Keys of the vision tokens of pages (hash, mode), which are no longer at hand then."""
        keys = [self.reader.key(name, tier) for name, tier in pages]
        self._once.put_away(keys)
        return [str(key) for key in keys]

    def inputs(
        self, segments: Sequence[Segment], tools: Sequence[Mapping[str, Json]], past: Past | None
    ) -> ModelInputs:
        """A context as the model takes it; see `Context.model_inputs`."""
        pieces = list(self._pieces(segments, tools))
        pictures = [piece.picture for piece, _ in pieces if piece.picture is not None]
        tokens = iter(self._once.tokens(pictures) or ())
        ids: list[int] = []
        images: list[Placed] = []
        spans: list[Span] = []
        for piece, segment in pieces:
            start = len(ids)
            ids += piece.ids
            if piece.picture is not None:
                images.append(self.reader.placed(piece, start, next(tokens)))
            if spans and spans[-1].segment is segment:
                start = spans.pop().start
            if len(ids) > start:
                spans.append(Span(start, len(ids), segment))
        row = Row(tuple(ids), tuple(images), tuple(spans))
        found = self.reader.inputs([row])
        return found if past is None else found.after(past)

    def _pieces(
        self, segments: Sequence[Segment], tools: Sequence[Mapping[str, Json]]
    ) -> Iterator[tuple[Piece, Segment | None]]:
        """The pieces of the prompt in order, each with the segment that it is of."""
        write = self.reader.write
        has_system = bool(tools) or any(segment.kind == "system" for segment in segments)
        yield write.start(has_system), None
        if tools:
            for piece in write.tools(tools):
                yield piece, None
        is_open = False
        for segment in segments:
            if segment.turn is None and not is_open:
                yield write.open_block(), None
            elif segment.turn is not None and is_open:
                yield write.close_block(), None
            is_open = segment.turn is None
            for piece in self._segment(segment):
                yield piece, segment
        if is_open:
            yield write.close_block(), None
        yield write.answer(), None

    def _segment(self, segment: Segment) -> Iterator[Piece]:
        write = self.reader.write
        if segment.turn is not None:
            yield from write.turn(segment.turn)
        elif segment.mark is not None:
            _, data = self.image(segment)
            yield write.attachment(data)
        elif segment.kind == "page" and segment.page is not None:
            yield write.image(self._page(segment.page, segment.tier))
        else:
            yield write.line(segment.text)

    def _pictures(self, pages: Iterable[Shown]) -> list[Picture]:
        """Pages to be shown; each is read from the store when it is drawn, not before."""
        found = []
        for number, name, tier in pages:
            self._names[number] = name
            found.append(self._picture(number, name, tier))
        return found

    def _page(self, number: int, tier: Tier) -> Picture:
        name = self._names.get(number)
        return self._picture(number, name or self._stored_page(number).hash, tier)

    def _picture(self, number: int, name: str, tier: Tier) -> Picture:
        def draw(view: Tier) -> npt.NDArray[np.uint8]:
            page = self._stored_page(number)
            if page.hash != name:
                raise StoreError(f"page {number} is another one now: make the context again")
            return page_pixels(page, view, self.style)[None]

        return Picture(name, tier, draw, number)

    def _stored_page(self, number: int) -> Page:
        page = self.store.page(self.scope, number)
        if page is None:
            raise StoreError(f"page {number} is missing in the store: make the context again")
        return page
