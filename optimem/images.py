"""The bytes of what a context shows as images, kept in the store.

A PNG's bytes differ between builds of zlib, so the first writer fixes them for everyone. Where
they are lost and another build draws them again, whoever caches prompts has to begin anew: the
plans that show them go into another epoch.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock

from optimem.attachments import fade_image, faded_size
from optimem.errors import StoreError
from optimem.ledger import Ledger
from optimem.modes import MODES, Tier
from optimem.readers.openai import ImageBytes
from optimem.renderers.layout import PageStyle
from optimem.renderers.sheets import sheet_key, sheet_pixels
from optimem.stores import Store
from optimem.values import Attachment, Mark, Page, Plan, Scope, Segment, Sheet

_JPEG = b"\xff\xd8"
_AT_HAND = 64 << 20  # bytes of images that a process keeps for its next request
_logger = logging.getLogger(__name__)


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
        self._counted: set[str] = set()
        self._at_hand: OrderedDict[Segment, tuple[str, ImageBytes]] = OrderedDict()
        self._bytes = 0
        self._seen: dict[str, int] = {}
        self._generation = -1
        self._lock = Lock()

    def begin(self) -> None:
        """A context is made: images that change from now on are another epoch."""
        self._counted.clear()

    def follow(self, name: str, plan: Plan) -> None:
        """Keep images at hand until the plan of that name goes into another epoch.

        Who draws a lost image anew, with other bytes, begins one: then all are read again.
        """
        with self._lock:
            if self._seen.setdefault(name, plan.epoch) != plan.epoch:
                self._seen[name] = plan.epoch
                self._drop()

    def image(self, segment: Segment) -> tuple[str, bytes]:
        """Media type and bytes of a page, sheet or attachment segment."""
        with self._lock:
            if self._generation != self._ledger.generation:  # turns were taken away
                self._generation = self._ledger.generation
                self._drop()
            found = self._at_hand.get(segment)
            if found is not None:
                self._at_hand.move_to_end(segment)
                return found
        media_type, data = self._image(segment)
        made = media_type, ImageBytes(data)
        with self._lock:
            if segment not in self._at_hand:
                self._at_hand[segment] = made
                self._bytes += len(data)
            while self._bytes > _AT_HAND and len(self._at_hand) > 1:
                self._bytes -= len(self._at_hand.popitem(last=False)[1][1])
        return made

    def _drop(self) -> None:
        self._at_hand.clear()
        self._bytes = 0

    def _image(self, segment: Segment) -> tuple[str, bytes]:
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
        def draw() -> bytes:
            from optimem.renderers.page import page_pixels
            from optimem.renderers.png import encode

            drawn = [page_pixels(page, sheet.tier, self._style) for page in pages]
            return encode(sheet_pixels(sheet, drawn))

        pages = [self._stored(number) for number in numbers]
        key = sheet_key(sheet, [page.hash for page in pages])
        return self._kept(key, numbers, (sheet.tier,), draw)

    def _page(self, number: int, tier: Tier) -> bytes:
        def draw() -> bytes:
            from optimem.renderers.page import page_png

            return page_png(page, tier, self._style)

        if number < len(self._ledger.pages):  # mostly it is there, and the page need not be read
            data = self._store.blob(self._scope, _page_key(self._ledger.pages[number].hash, tier))
            if data is not None:
                return data
        page = self._stored(number)
        return self._kept(_page_key(page.hash, tier), (number,), (tier,), draw)

    def _attachment(self, number: int, mark: Mark, tier: Tier) -> bytes:
        attachment = self._find(mark)
        size = faded_size(self._ledger.image(mark), tier)
        if attachment is None or size is None:
            raise StoreError(f"attachment {mark.index} of turn {mark.position} is not there")
        key = _attachment_key(self._ledger.pages[number].hash, attachment, tier)
        tiers = (tier, Tier.TEXT) if tier == Tier.LARGE else (tier,)  # beside text it is Large
        return self._kept(key, (number,), tiers, partial(fade_image, attachment, size))

    def _kept(
        self, key: str, pages: Sequence[int], tiers: Sequence[Tier], draw: Callable[[], bytes]
    ) -> bytes:
        """The bytes under a key; drawn if there are none."""
        data = self._store.blob(self._scope, key)
        if data is not None:
            return data
        if self._store.blob_hash(self._scope, key) is None:
            return self._store.put_blob(self._scope, key, draw())
        # Plans are read before the hash that is replaced: who still finds that one finds the
        # plans of its epoch, and only one of all who draw at once can replace these.
        plans = self._store.plans(self._scope)
        before = self._store.blob_hash(self._scope, key)
        data = self._store.put_blob(self._scope, key, draw())
        if self._store.blob_hash(self._scope, key) != before:
            self._begin_epochs(plans, pages, tiers)
        return data

    def _begin_epochs(
        self, plans: Mapping[str, Plan], pages: Sequence[int], tiers: Sequence[Tier]
    ) -> None:
        """Count new bytes as an epoch of the plans that show them, once for each context."""
        for name, plan in plans.items():
            shown = all(plan.gone <= n < plan.pages and plan.tier(n) in tiers for n in pages)
            if not shown or name in self._counted:
                continue
            self._counted.add(name)
            anew = replace(plan, epoch=plan.epoch + 1)
            if self._store.swap_plan(self._scope, name, anew, plan):
                _logger.warning(
                    "an image of session %r was lost (page %d, %s), and drawing it again gave"
                    " other bytes, as another zlib does: epoch %d of the plan for %s begins, and"
                    " prompt caches with it",
                    self._scope.session,
                    pages[0],
                    tiers[0].label,
                    anew.epoch,
                    name,
                )


def _page_key(page_hash: str, tier: Tier) -> str:
    return f"png/{page_hash}/{tier.label}"


def _attachment_key(page_hash: str, attachment: Attachment, tier: Tier) -> str:
    return f"image/{page_hash}/{attachment.digest}/{tier.label}"
