"""The bytes of what a context shows as images, kept in the store.

A PNG's bytes differ between builds of zlib, so the first writer fixes them for everyone.
"""

from __future__ import annotations

from collections.abc import Iterable

from optimem.attachments import fade_image, faded_size
from optimem.errors import StoreError
from optimem.ledger import Ledger
from optimem.modes import Tier
from optimem.renderers.layout import PageStyle
from optimem.stores import Store
from optimem.values import Mark, Scope, Segment

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
        """Media type and bytes of a page or attachment segment."""
        if segment.mark is not None:
            data = self._attachment(segment.mark, segment.tier)
            return ("image/jpeg" if data.startswith(_JPEG) else "image/png"), data
        if segment.page is None:
            raise StoreError(f"a {segment.kind} segment is no image")
        return "image/png", self._page(segment.page, segment.tier)

    def drop(self, hidden: Iterable[tuple[str, Tier]]) -> None:
        """Remove the images of pages (hash, tier) that no plan shows any longer."""
        self._store.drop_blobs(self._scope, [_page_key(name, tier) for name, tier in hidden])

    def _page(self, number: int, tier: Tier) -> bytes:
        page = self._store.page(self._scope, number)
        if page is None:
            raise StoreError(f"page {number} is missing in the store: make the context again")
        key = _page_key(page.hash, tier)
        data = self._store.blob(self._scope, key)
        if data is None:
            from optimem.renderers.page import page_png

            data = self._store.put_blob(self._scope, key, page_png(page, tier, self._style))
        return data

    def _attachment(self, mark: Mark, tier: Tier) -> bytes:
        entries = self._store.entries(self._scope, mark.position, mark.position + 1)
        entry = next(entries, None)
        size = faded_size(self._ledger.image(mark), tier)
        if entry is None or size is None:
            raise StoreError(f"attachment {mark.index} of turn {mark.position} is not there")
        attachment = entry.turn.attachments[mark.index]
        key = f"image/{attachment.digest}/{tier.label}"
        data = self._store.blob(self._scope, key)
        if data is None:
            data = self._store.put_blob(self._scope, key, fade_image(attachment, size))
        return data


def _page_key(page_hash: str, tier: Tier) -> str:
    return f"png/{page_hash}/{tier.label}"
