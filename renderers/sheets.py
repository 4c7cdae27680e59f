"""Sheets: several pages in one image, for readers whose prices step with an image's size.

A reader that bills each image flat, or by large tiles, reads four pages for little more
than one. A sheet is a grid of pages of one mode on a canvas of exactly the size that the
reader's server leaves alone: its glyphs arrive as they were drawn.

    sheet = best_sheet(find_reader("google:gemini-3.8-flash"), Tier.SMALL, count=30)
    sheet.columns, sheet.rows, sheet.size        # 1, 3, (672, 1920)
    pixels = sheet_pixels(sheet, [page_pixels(page, Tier.SMALL) for page in oldest_three])

Which sheet is best is asked of the reader's own price rule, never of a table.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from math import floor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from optimem.errors import InputError
from optimem.modes import Tier
from optimem.values import Plan, Sheet

MOST_PAGES = 24
"""On one sheet: by then every price rule has fallen as far as it does."""

WORTH = Fraction(1, 10)
"""A larger sheet must save about this share: pages on one sheet fade together or not at all."""

_PAPER = 255


class Bill(Protocol):
    """What a price rule says of an image: see `optimem.readers.ImageCost`."""

    @property
    def tokens(self) -> int:
        """Input tokens billed."""
        ...

    @property
    def seen(self) -> tuple[int, int]:
        """Width and height of the pixels that the model sees."""
        ...


class Reader(Protocol):
    """What a sheet needs to know of its reader: an `optimem.readers.Profile` has it."""

    @property
    def name(self) -> str: ...
    @property
    def modes(self) -> Mapping[Tier, str | None]: ...
    @property
    def levels(self) -> Mapping[str, Mapping[str, Any]]: ...
    @property
    def default(self) -> str | None: ...
    @property
    def limits(self) -> Mapping[str, int]: ...
    def bill(self, width: int, height: int, level: str | None = None) -> Bill: ...
    def page_cost(self, tier: Tier) -> int: ...
    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Group:
    """Pages of a plan that are shown together, or one by itself.

    Attributes:
        pages: their numbers, consecutive.
        tier: where all of them stand.
        sheet: how they stand in one image; None for a page by itself.
    """

    pages: tuple[int, ...]
    tier: Tier
    sheet: Sheet | None = None


def plan_groups(reader: Reader, plan: Plan, least: int = 0, most: int | None = None) -> list[Group]:
    """The pages that a plan shows, on sheets wherever that is cheaper, or where it must be.

    A sheet takes consecutive pages of one mode, from the oldest on. As it follows from the
    reader and the plan alone, it changes with the plan: at epochs.

    Args:
        reader: whose prices count.
        plan: what is shown.
        least: tokens that all sheets together must save, or there are none.
        most: images that it takes; more pages stand on sheets as full as they get without
            costing more.
    """
    shown = [(n, tier) for n, tier in enumerate(plan.tiers, plan.gone) if tier != Tier.FORGOTTEN]
    found = _on_sheets(reader, shown, _cheaper_sheet)
    sheets = [group.sheet for group in found if group.sheet is not None]
    saved = sum(reader.page_cost(s.tier) * s.pages - s.tokens for s in sheets)
    groups = found if saved > least else [Group((number,), tier) for number, tier in shown]
    if most is None or sum(group.tier.is_mode for group in groups) <= most:
        return groups
    return _on_sheets(reader, shown, _fullest_sheet)


def _on_sheets(
    reader: Reader,
    shown: Sequence[tuple[int, Tier]],
    choose: Callable[[Reader, Tier, int], Sheet | None],
) -> list[Group]:
    """Pages in order, each run of one mode on the sheets that are chosen for it."""
    found: list[Group] = []
    # Consecutive pages alone: none stand on a sheet together across one that is forgotten.
    for (tier, _), run in groupby(enumerate(shown), key=lambda item: _run(*item)):
        numbers = [number for _, (number, _) in run]
        while numbers:
            sheet = choose(reader, tier, min(len(numbers), MOST_PAGES))
            if sheet is None:  # nor is there one for fewer pages
                found += (Group((number,), tier) for number in numbers)
                break
            found.append(Group(tuple(numbers[: sheet.pages]), tier, sheet))
            del numbers[: sheet.pages]
    return found


def _run(place: int, page: tuple[int, Tier]) -> tuple[Tier, int]:
    """The same for consecutive pages of one mode, and for no others."""
    return page[1], page[0] - place


def most_saved(reader: Reader, tier: Tier) -> int:
    """The whole tokens that a page of a mode costs less on the best sheet than by itself."""
    sheet = _cheaper_sheet(reader, tier, MOST_PAGES)
    return 0 if sheet is None else floor(reader.page_cost(tier) - sheet.cost)


@functools.lru_cache(maxsize=1024)
def _cheaper_sheet(reader: Reader, tier: Tier, count: int) -> Sheet | None:
    """A sheet of several pages for which a reader pays less than for each by itself."""
    if not tier.is_mode or count < 2:
        return None
    sheet = best_sheet(reader, tier, count)
    return sheet if sheet.pages > 1 and sheet.cost < reader.page_cost(tier) else None


@functools.lru_cache(maxsize=1024)
def _fullest_sheet(reader: Reader, tier: Tier, count: int) -> Sheet | None:
    """The sheet of the most pages that costs no more than each by itself."""
    if not tier.is_mode or count < 2:
        return None
    alone = reader.page_cost(tier)
    sheets = [sheet for sheet in _sheets(reader, tier, count) if sheet.cost <= alone]
    full = max(sheets, key=lambda s: (s.pages, -s.cost, -max(s.size)), default=None)
    return full if full is not None and full.pages > 1 else None


def best_sheet(reader: Reader, tier: Tier, count: int) -> Sheet:
    """The sheet on which a page is cheapest for a reader, completely filled.

    The smallest within `WORTH` of the cheapest is taken, so that readers whose price grows
    with the area get their pages one by one, and of those the most nearly square one. The
    choice depends on the arguments alone.

    Args:
        reader: whose prices and limits count.
        tier: the mode of the pages. The reader need not read it alone: on a sheet it may.
        count: how many pages there are; the sheet holds at most as many.

    Raises:
        InputError: count is below 1, the tier is no mode, or the reader rescales whatever
            it is sent.
    """
    if count < 1:
        raise InputError(f"a sheet needs at least one page, not {count}")
    if not tier.is_mode:
        raise InputError(f"{tier.label} is not a mode: it has no pages to put on a sheet")
    sheets = list(_sheets(reader, tier, min(count, MOST_PAGES)))
    if not sheets:
        raise InputError(f"{reader.name} sees no {tier.label} page as it was drawn")
    most = min(sheet.cost for sheet in sheets) * (1 + WORTH)
    worthy = [sheet for sheet in sheets if sheet.cost <= most]
    return min(worthy, key=lambda s: (s.pages, max(s.size), s.cost, s.columns, s.level or ""))


def sheet_key(sheet: Sheet, hashes: Sequence[str]) -> str:
    """The name of a sheet's image in a store, from the hashes of its pages."""
    width, height = sheet.size
    pages = hashlib.sha256(" ".join(hashes).encode()).hexdigest()
    return f"sheet/{pages}/{sheet.tier.label}/{sheet.columns}x{sheet.rows}/{width}x{height}"


def sheet_pixels(sheet: Sheet, pages: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Put pages on a sheet, in reading order; places without a page stay white.

    Args:
        sheet: what `best_sheet` gave.
        pages: (side, side) grey pixels of each page, at least one, at most `sheet.pages`.

    Returns:
        Grey pixels of the canvas, (height, width).

    Raises:
        InputError: too many pages or none, or one of another size.
    """
    if not 1 <= len(pages) <= sheet.pages:
        raise InputError(f"this sheet holds 1 to {sheet.pages} pages, not {len(pages)}")
    side = sheet.tier.side
    width, height = sheet.size
    canvas = np.full((height, width), _PAPER, np.uint8)
    for page, (left, top) in zip(pages, sheet.places(), strict=False):
        if page.shape != (side, side):
            raise InputError(f"a {sheet.tier.label} page is {side} x {side} px, not {page.shape}")
        canvas[top : top + side, left : left + side] = page
    return canvas


def _sheets(reader: Reader, tier: Tier, count: int) -> Iterator[Sheet]:
    """All sheets of at most so many pages that the reader takes and does not rescale."""
    for level in _levels(reader, tier):
        for columns in range(1, count + 1):
            for rows in range(1, count // columns + 1):
                pages = columns * tier.side, rows * tier.side
                if not _within_limits(reader, pages):
                    break
                found = _canvas(reader, level, pages)
                if found is not None:
                    size, tokens = found
                    yield Sheet(tier, columns, rows, size, level, tokens)


def _levels(reader: Reader, tier: Tier) -> list[str | None]:
    """Levels of detail that its pages are read at; a local reader's levels are modes."""
    used = sorted({level for level in reader.modes.values() if level is not None})
    return [*used] or [tier.label if tier.label in reader.levels else reader.default]


def _canvas(
    reader: Reader, level: str | None, least: tuple[int, int]
) -> tuple[tuple[int, int], int] | None:
    """The first size from `least` on that the reader sees as it is sent, and its bill."""
    width, height = least
    while width <= 2 * least[0] and height <= 2 * least[1]:
        bill = reader.bill(width, height, level)
        wide, high = bill.seen
        if (wide, high) == (width, height):
            fits = _within_limits(reader, (width, height))
            return ((width, height), bill.tokens) if fits else None
        if wide * high < width * height * 0.9:
            return None  # shrunk, as any larger canvas would be
        # A rule that rounds to the nearest step may round down: one pixel more may not.
        width = max(wide, width + (wide < width))
        height = max(high, height + (high < height))
    return None


def _within_limits(reader: Reader, size: tuple[int, int]) -> bool:
    """Whether a reader takes an image of a size, among however many others."""
    width, height = size
    checks = {
        "side": max(size),
        "many_images_side": max(size),
        "patches": -(-width // 32) * -(-height // 32),
        "image_bytes": width * height * 2 // 3,  # base64 of 4 bits a pixel, uncompressed
    }
    return all(value <= reader.limits.get(name, value) for name, value in checks.items())
