"""Reading page images with Tesseract, as one who knows nothing of what was drawn.

A page is read as one block (`--psm 6`), with 16 px of white around it, and upscaled
without which Tesseract reads nothing small: threefold where letters are below 11 px an em,
twofold above. A sheet is cut into its pages first. What was read once is not read again.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from optimem.errors import ReaderError
from optimem.modes import COLUMNS, MODES, Tier

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]
Engine = Callable[[Pixels, float], str]
"""Reads grey pixels (height, width); the number is the width of a character in pixels."""

_PADDING = 16  # px of white around a page: engines lose letters at an image's edge
_SMALL_EM = 11  # px; below, Tesseract needs a larger copy
_EM = 0.6  # a character's width in ems
_BLUR = 4  # a blurred page is shrunk so many times, and enlarged again
_SIDES = sorted({mode.side for mode in MODES}, reverse=True)


@dataclass(frozen=True, slots=True)
class Look:
    """An image to be read.

    Attributes:
        image: its bytes.
        seen: width and height in pixels in which the model sees it.
        pages: how many pages it shows, as the words beside it say; 0 where they do not.
    """

    image: bytes
    seen: tuple[int, int]
    pages: int = 0


def tesseract(
    pixels: Pixels, width: float, *, language: str = "eng", times: int | None = None
) -> str:
    """What Tesseract reads on a page.

    Args:
        pixels: grey, (height, width).
        width: of a character, in pixels.
        language: its models, as `tesseract -l` takes them ("eng+chi_sim").
        times: how much larger it is shown to Tesseract; by the width of a character by default.

    Raises:
        ReaderError: Tesseract is not installed.
    """
    if shutil.which("tesseract") is None:
        raise ReaderError(
            "pages are read with Tesseract, which is not installed: apt-get install"
            " tesseract-ocr, or pass an engine of your own"
        )
    image = Image.fromarray(np.pad(pixels, _PADDING, constant_values=255))
    times = times or (3 if width / _EM < _SMALL_EM else 2)
    enlarged = image.resize((image.width * times, image.height * times), Image.Resampling.BICUBIC)
    data = io.BytesIO()
    enlarged.save(data, "PNG", compress_level=1)
    done = subprocess.run(
        ["tesseract", "stdin", "stdout", "--psm", "6", "-l", language],
        input=data.getvalue(),
        capture_output=True,
        check=True,
        env=os.environ | {"OMP_THREAD_LIMIT": "1"},
    )
    return done.stdout.decode()


class Eyes:
    """Reads images of pages and sheets, each page once.

    Args:
        engine: what reads one page.
        blur_below: pages shown smaller than in this mode are blurred before they are read.
        readings: what was read before, by a hash of the pixels; share it between servers
            with the same engine.
    """

    def __init__(
        self,
        engine: Engine,
        blur_below: Tier | None = None,
        readings: MutableMapping[str, str] | None = None,
    ) -> None:
        self.blur_below = blur_below
        self._engine = engine
        self._readings: MutableMapping[str, str] = {} if readings is None else readings
        self._locks: dict[str, threading.Lock] = {}
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="eyes")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def read(self, looks: Sequence[Look]) -> list[list[str]]:
        """The text of the pages of each image."""
        jobs = [[self._pool.submit(self._page, *page) for page in self._cut(k)] for k in looks]
        return [[job.result() for job in row] for row in jobs]

    def _cut(self, look: Look) -> Iterator[tuple[Pixels, float]]:
        """The pages of an image as they are seen, each with its characters' width."""
        with Image.open(io.BytesIO(look.image)) as opened:
            image = opened.convert("L")
        factors = [min(1.0, seen / sent) for seen, sent in zip(look.seen, image.size, strict=True)]
        side = _page_side(image.size, look.pages)
        boxes: Iterable[Box] = [(0, 0, *image.size)]
        if side is not None and look.pages:
            boxes = _boxes(image.size, side, look.pages)
        for box in boxes:
            page = image.crop(box)
            if min(factors) < 1:  # the provider shrinks what is larger
                size = [round(s * f) for s, f in zip(page.size, factors, strict=True)]
                page = page.resize((size[0], size[1]), Image.Resampling.LANCZOS)
            if side and self.blur_below is not None and side < self.blur_below.side:
                size = [max(1, length // _BLUR) for length in page.size]
                page = page.resize((size[0], size[1])).resize(page.size)
            yield np.asarray(page), (side or _SIDES[0]) * factors[0] / COLUMNS

    def _page(self, pixels: Pixels, width: float) -> str:
        shape = f"{pixels.shape} {width:.3f}".encode()
        key = hashlib.sha256(shape + pixels.tobytes()).hexdigest()
        with self._locks.setdefault(key, threading.Lock()):  # the same page is read once
            if key not in self._readings:
                self._readings[key] = self._engine(pixels, width)
        return self._readings[key]


def _page_side(size: tuple[int, int], pages: int) -> int | None:
    """The side of the pages of which an image of this size shows so many; None for no page."""
    if not pages:
        return size[0] if size[0] == size[1] and size[0] in _SIDES else None
    room = {side: (size[0] // side) * (size[1] // side) for side in _SIDES}
    exact = [side for side in _SIDES if room[side] == pages]
    return next(iter(exact + [side for side in _SIDES if room[side] > pages]), None)


def _boxes(size: tuple[int, int], side: int, pages: int) -> Iterator[Box]:
    """Where the pages of a sheet stand, in reading order: spread over its width and height."""
    columns, rows = size[0] // side, size[1] // side
    across = (size[0] - columns * side) // max(1, columns - 1)
    down = (size[1] - rows * side) // max(1, rows - 1)
    for number in range(pages):
        row, column = divmod(number, columns)
        left, top = column * (side + across), row * (side + down)
        yield left, top, left + side, top + side
