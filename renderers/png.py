"""Grey pixels become a PNG: deflate, and nothing that slows it down.

A page's pixels are multiples of 17, so 4 bits hold them. What is left is deflate itself: the
standard library's, or Intel's where the `fast` extra is installed, which takes a fourth of
the time for files of the same size. Pages that `scanlines` draws come packed and filtered
already; others are packed as they are, which is best for text but for its stems. Deflate
output differs between builds: compare pixels, never files. Most pages need neither
without that extra: `optimem.renderers.deflate` puts their streams together.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from optimem.errors import InputError

fast_deflate: Callable[[Any, int], bytes] | None
try:  # the `fast` extra
    from isal.isal_zlib import compress as _fast_deflate
    from isal.isal_zlib import crc32

    fast_deflate = _fast_deflate
except ImportError:
    from zlib import crc32

    fast_deflate = None
"""Packs data at a level to a zlib stream, where a faster one than zlib's is installed."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEVEL = 1  # higher ones take 3 times as long to save a third
_FAST_LEVEL = 0  # isal's quickest, for filtered lines: files as large as zlib's at level 1

# Two neighbouring pixels, read as one 16-bit number, to their packed byte: (65536,)
_PAIRS = np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
_NIBBLES = (np.arange(256) + 8) // 17  # grey to 4 bits, rounded
_PACKED = (_NIBBLES[_PAIRS[:, 0]] << 4 | _NIBBLES[_PAIRS[:, 1]]).astype(np.uint8)


def encode(pixels: npt.NDArray[np.uint8], bits: Literal[4, 8] = 4) -> bytes:
    """Write grey pixels as a PNG file.

    Args:
        pixels: (height, width), 0 black to 255 white.
        bits: per pixel. With 4 each pixel is rounded to the nearest multiple of 17,
            which leaves a native page as it is.

    Raises:
        InputError: the pixels have another type or shape, or bits is neither 4 nor 8.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or not pixels.size:
        raise InputError(
            f"a PNG needs uint8 pixels of shape (height, width), at least one, "
            f"not {pixels.dtype} of {pixels.shape}"
        )
    if bits not in (4, 8):
        raise InputError(f"a grey PNG has 4 or 8 bits per pixel here, not {bits}")
    packed = pixels if bits == 8 else _pack(pixels)
    lines = np.zeros((len(packed), 1 + packed.shape[1]), np.uint8)  # each line begins: filter 0
    lines[:, 1:] = packed
    return _file(lines, pixels.shape[1], bits, _LEVEL)


def encode_lines(lines: npt.NDArray[np.uint8]) -> bytes:
    """Write lines of 16 greys, each behind its filter, as a PNG file: (height, 1 + width / 2)."""
    level = _LEVEL if fast_deflate is None else _FAST_LEVEL
    return _file(lines, 2 * lines.shape[1] - 2, 4, level)


def wrap(stream: bytes, width: int, height: int, bits: int = 4) -> bytes:
    """The file around a zlib stream of its lines, each behind its filter."""
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"".join(
        (_SIGNATURE, *_chunk(b"IHDR", header), *_chunk(b"IDAT", stream), *_chunk(b"IEND", b""))
    )


def _file(lines: npt.NDArray[np.uint8], width: int, bits: int, level: int) -> bytes:
    """The file of lines that are packed and filtered already: (height, bytes)."""
    return wrap((fast_deflate or zlib.compress)(lines.data, level), width, len(lines), bits)


def _pack(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Put two pixels into each byte; a last odd one is followed by 4 unused bits."""
    height, width = pixels.shape
    if width % 2:
        pixels = np.concatenate([pixels, np.zeros((height, 1), np.uint8)], axis=1)
    pixels = np.ascontiguousarray(pixels)
    if width % 8 == 0 and sys.byteorder == "little" and _sixteen_greys(pixels.view(np.uint64)):
        # Both halves of a byte are its 4 bits: keep the first's high one, the second's low.
        halves = pixels.view(np.uint16) & np.uint16(0x0FF0)
        halves |= halves >> np.uint16(8)
        return halves.view(np.uint8)[:, ::2]
    return _PACKED.take(pixels.view(np.uint16))


def _sixteen_greys(words: npt.NDArray[np.uint64]) -> bool:
    """Whether all pixels are multiples of 17: bytes whose two hexadecimal digits agree."""
    differing = words >> np.uint64(4)
    differing ^= words
    differing &= np.uint64(0x0F0F0F0F0F0F0F0F)
    return not differing.any()


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    """A PNG chunk: length, kind, data, checksum."""
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", crc32(data, crc32(kind)))
