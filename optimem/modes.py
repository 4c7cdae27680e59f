"""The page grid, and the tiers that a page steps down through as it fades.

A page is 128 x 64 character cells. Each mode shows the same grid at another resolution,
so every side must be divisible by both: fading never moves a character.
"""

from __future__ import annotations

import enum

COLUMNS = 128
ROWS = 64

_SIDES = {"GUNDAM": 1280, "LARGE": 1280, "BASE": 1024, "PX896": 896, "PX768": 768}
_SIDES |= {"SMALL": 640, "TINY": 512}


class Tier(enum.IntEnum):
    """Where a page stands, from sharpest to gone; a larger value is more faded.

    Everything between `TEXT` and `FORGOTTEN` is a mode. Gundam, Large, Base, Small and
    Tiny are DeepSeek-OCR's (arXiv 2510.18234, table 1); `PX896` and `PX768` are sizes
    that hosted readers, which are not bound to DeepSeek's, use as well.
    """

    TEXT = 0
    GUNDAM = 1
    LARGE = 2
    BASE = 3
    PX896 = 4
    PX768 = 5
    SMALL = 6
    TINY = 7
    FORGOTTEN = 8

    @property
    def is_mode(self) -> bool:
        """Whether a page in this tier is shown as an image."""
        return Tier.TEXT < self < Tier.FORGOTTEN

    @property
    def side(self) -> int:
        """Pixels along each side of the page image; raises ValueError for no mode."""
        if not self.is_mode:
            raise ValueError(f"{self.name.lower()} is not a mode: it has no size in pixels")
        return _SIDES[self.name]

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height in pixels of one character cell."""
        return self.side // COLUMNS, self.side // ROWS

    @property
    def label(self) -> str:
        """The name in lower case, as users write it."""
        return self.name.lower()

    @classmethod
    def parse(cls, label: str) -> Tier:
        """Read a tier's label; raises ValueError with the list of labels."""
        try:
            return cls[label.upper()]
        except KeyError:
            known = ", ".join(tier.label for tier in cls)
            raise ValueError(f"unknown tier {label!r}: use one of {known}") from None


MODES: tuple[Tier, ...] = tuple(tier for tier in Tier if tier.is_mode)
