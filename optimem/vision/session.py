"""One session as a local reader sees it: its pages encoded once, its contexts as model inputs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from optimem.errors import StoreError
from optimem.modes import Tier
from optimem.renderers.layout import PageStyle
from optimem.stores import Store
from optimem.values import Json, Scope, Segment
from optimem.vision.inputs import ModelInputs, Past, Placed, Row, Span
from optimem.vision.prompt import Picture, Piece
from optimem.vision.tokens import TokenKey, pack, unpack

if TYPE_CHECKING:
    from optimem.vision.reader import LocalReader

_logger = logging.getLogger(__name__)

Image = Callable[[Segment], tuple[str, bytes]]
"""Media type and bytes of an attachment segment."""


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
    _recent: dict[TokenKey, Tensor] = field(default_factory=dict)

    def encode(self, pages: Iterable[tuple[int, Tier]]) -> None:
        """Have the vision tokens of pages (number, mode) at hand.

        Raises:
            ReaderError: the model failed; nothing of the session was changed.
        """
        self._tokens([self._page(number, tier) for number, tier in pages])

    def drop(self, hidden: Iterable[tuple[str, Tier]]) -> None:
        """Remove the vision tokens of pages (hash, mode) that no plan shows any longer."""
        keys = [self.reader.key(name, tier) for name, tier in hidden]
        for key in keys:
            self._recent.pop(key, None)
        self.store.drop_blobs(self.scope, map(str, keys))

    def inputs(
        self, segments: Sequence[Segment], tools: Sequence[Mapping[str, Json]], past: Past | None
    ) -> ModelInputs:
        """A context as the model takes it; see `Context.model_inputs`."""
        pieces = list(self._pieces(segments, tools))
        pictures = [piece.picture for piece, _ in pieces if piece.picture is not None]
        tokens = iter(self._tokens(pictures))
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

    def _page(self, number: int, tier: Tier) -> Picture:
        page = self.store.page(self.scope, number)
        if page is None:
            raise StoreError(f"page {number} is missing in the store: make the context again")
        return self.reader.picture(page, tier, self.style)

    def _tokens(self, pictures: Sequence[Picture]) -> list[Tensor]:
        """Vision tokens of each picture: those at hand, else the stored, else encoded now.

        What is encoded goes through its stored bytes, so that every process that shares the
        session gives its model the same values.
        """
        wanted = {self.reader.key(p.name, p.tier): p for p in pictures}
        found = {key: self._recent[key] for key in wanted if key in self._recent}
        self.reader.work["at hand"] += len(found)
        for key in wanted.keys() - found.keys():
            stored = self._stored(key)
            if stored is not None:
                found[key] = stored
                self.reader.work["stored"] += 1
        missing = {key: p for key, p in wanted.items() if key not in found}
        for key, tokens in self.reader.encode(missing):
            data = self.store.put_blob(self.scope, str(key), pack(tokens, key))
            found[key] = unpack(data, key, self.reader.shape(key.tier))
        self._recent = found
        return [found[self.reader.key(p.name, p.tier)] for p in pictures]

    def _stored(self, key: TokenKey) -> Tensor | None:
        data = self.store.blob(self.scope, str(key))
        if data is None:
            return None
        try:
            return unpack(data, key, self.reader.shape(key.tier))
        except StoreError as error:  # whatever is lost can be encoded again
            _logger.warning("%s; encoding it again", error)
            self.store.drop_blobs(self.scope, [str(key)])
            return None
