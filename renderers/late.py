"""Late glyphs: drawn when a page first needs them, and kept on disk for later processes.

A Chinese page needs some hundred glyphs that the shipped atlas has not. FreeType draws each
in .2 ms; read back from the user's cache folder they are there at once. The cache may be
lost, damaged or unwritable: then they are drawn anew. It tells which characters were ever
drawn, in no order: `OPTIMEM_CACHE` names another folder for it, or none if it is empty.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np

from optimem.renderers.glyphs import Pixels, draw, version
from optimem.renderers.typefaces import Cell, Typeface

_FORMAT = 1
_WORTH_SAVING = 32  # new glyphs; to draw them takes as long as to write a large cache
_DIGEST = 32  # bytes that a file begins with: SHA-256 of the rest


class LateGlyphs:
    """Ink of one size's late glyphs. Not safe to share between threads.

    Args:
        key: the atlas's: it covers the fonts.
        cell: the size.
    """

    def __init__(self, key: str, cell: Cell) -> None:
        self._name = f"glyphs-{_FORMAT}-{key[:32]}-{version()}-{cell[0]}x{cell[1]}"
        self._cell = cell
        self._record = np.dtype([("point", "<u4"), ("ink", "u1", (cell[0] * cell[1],))])
        self._drawn: dict[int, bytes] = self._load()  # by code point: two pixels in a byte
        self._new = 0

    def ink(self, typeface: Typeface, point: int, cells: int) -> Pixels:
        """Ink 0..15 of a glyph, (h, cells * w)."""
        width, height = self._cell
        if point not in self._drawn:
            pixels = draw(typeface, point, self._cell, cells).ravel()
            self._drawn[point] = (pixels[::2] << 4 | pixels[1::2]).tobytes()
            self._new += 1
        pairs = np.frombuffer(self._drawn[point], np.uint8)[: cells * width * height // 2]
        ink = np.stack([pairs >> 4, pairs & 15], axis=-1, dtype=np.uint8)
        return ink.reshape(height, cells * width)

    def save(self) -> None:
        """Write all glyphs to the cache, if enough of them are new."""
        folder = cache_folder()
        if folder is None or self._new < _WORTH_SAVING:
            return
        self._new = 0
        self._drawn = self._load() | self._drawn  # what others have drawn meanwhile
        records = np.zeros(len(self._drawn), self._record)
        records["point"] = points = sorted(self._drawn)
        for record, point in zip(records["ink"], points, strict=True):
            ink = np.frombuffer(self._drawn[point], np.uint8)
            record[: len(ink)] = ink
        content = records.tobytes()
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(folder / self._name, hashlib.sha256(content).digest() + content)

    def _load(self) -> dict[int, bytes]:
        """What the cache holds; nothing if it is missing or damaged."""
        folder = cache_folder()
        try:
            data = (folder / self._name).read_bytes() if folder is not None else b""
        except OSError:
            return {}
        content = data[_DIGEST:]
        if hashlib.sha256(content).digest() != data[:_DIGEST]:
            return {}
        records = np.frombuffer(content, self._record)
        return dict(zip(records["point"].tolist(), map(bytes, records["ink"]), strict=True))


def cache_folder() -> Path | None:
    """Where what can be made again is kept between processes; None if it is not to be kept."""
    named = os.environ.get("OPTIMEM_CACHE")
    if named is not None:
        return Path(named) if named else None
    import platformdirs

    return Path(platformdirs.user_cache_dir("optimem"))


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that whoever reads it sees the old or the new one, whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise
