"""The bytes of what a context shows as images, kept in the store.

A PNG's bytes differ between builds of zlib, so the first writer fixes them for everyone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from optimem.attachments import fade_image, faded_size
from optimem.errors import StoreError
from optimem.ledger import Ledger
from optimem.modes import MODES, Tier
from optimem.renderers.layout import PageStyle
from optimem.renderers.sheets import sheet_key, sheet_pixels
from optimem.stores import Store
from optimem.values import Attachment, Mark, Page, Scope, Segment, Sheet

_JPEG = b"\xff\xd8"


class Images:
    """Pages and faded attachments of one session as image files.

    Args:
        store: where pages, turns and made images are.
        scope: whose session it is.
        ledger: knows the attachments' sizes.
        style: how pages are drawn.
    """

    def __init__(self, store: Store, scope: Scope, ledger: Ledger, style: PageStyle) -> None:
        self._store = store
        self._scope = scope
        self._ledger = ledger
        self._style = style

    def image(self, segment: Segment) -> tuple[str, bytes]:
        """Media type and bytes of a page, sheet or attachment segment."""
        if segment.sheet is not None:
            return "image/png", self._sheet(segment.sheet, segment.pages)
        if segment.page is None:
            raise StoreError(f"a {segment.kind} segment is no image")
        if segment.mark is not None:
            data = self._attachment(segment.page, segment.mark, segment.tier)
            return ("image/jpeg" if data.startswith(_JPEG) else "image/png"), data
        return "image/png", self._page(segment.page, segment.tier)

    def hide(self, pages: Iterable[tuple[str, Tier]]) -> Iterator[str]:
        """Keys of the images of pages (hash, tier), and of the attachments beside them.

        Those have a size of their own beside a page of text, and go with its first mode.
        """
        marks = {facts.hash: facts.marks for facts in self._ledger.pages if facts.marks}
        for name, tier in pages:
            yield _page_key(name, tier)
            for mark in marks.get(name, ()):
                attachment = self._find(mark)
                if attachment is not None:
                    for mode in MODES[: MODES.index(tier) + 1]:
                        yield _attachment_key(name, attachment, mode)

    def _find(self, mark: Mark) -> Attachment | None:
        """The attachment that a mark names; None when its turn is gone."""
        entries = self._store.entries(self._scope, mark.position, mark.position + 1)
        return next((entry.turn.attachments[mark.index] for entry in entries), None)

    def _stored(self, number: int) -> Page:
        page = self._store.page(self._scope, number)
        if page is None:
            raise StoreError(f"page {number} is missing in the store: make the context again")
        return page

    def _sheet(self, sheet: Sheet, numbers: Sequence[int]) -> bytes:
        pages = [self._stored(number) for number in numbers]
        key = sheet_key(sheet, [page.hash for page in pages])
        data = self._store.blob(self._scope, key)
        if data is None:
            from optimem.renderers.page import page_pixels
            from optimem.renderers.png import encode

            drawn = [page_pixels(page, sheet.tier, self._style) for page in pages]
            data = self._store.put_blob(self._scope, key, encode(sheet_pixels(sheet, drawn)))
        return data

    def _page(self, number: int, tier: Tier) -> bytes:
        page = self._stored(number)
        key = _page_key(page.hash, tier)
        data = self._store.blob(self._scope, key)
        if data is None:
            from optimem.renderers.page import page_png

            data = self._store.put_blob(self._scope, key, page_png(page, tier, self._style))
        return data

    def _attachment(self, number: int, mark: Mark, tier: Tier) -> bytes:
        attachment = self._find(mark)
        size = faded_size(self._ledger.image(mark), tier)
        if attachment is None or size is None:
            raise StoreError(f"attachment {mark.index} of turn {mark.position} is not there")
        key = _attachment_key(self._ledger.pages[number].hash, attachment, tier)
        data = self._store.blob(self._scope, key)
        if data is None:
            data = self._store.put_blob(self._scope, key, fade_image(attachment, size))
        return data


def _page_key(page_hash: str, tier: Tier) -> str:
    return f"png/{page_hash}/{tier.label}"


def _attachment_key(page_hash: str, attachment: Attachment, tier: Tier) -> str:
    return f"image/{page_hash}/{attachment.digest}/{tier.label}"
