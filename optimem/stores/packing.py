"""Compression: zstd, for turns with a dictionary of their session once it has one.

Turns are short, so most of what repeats in a session repeats between turns. A dictionary
holds what its first turns have in common, word for word: it belongs to that session alone,
and is made anew when one of these turns is forgotten.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PLAIN, _DEFLATED, _ZSTD, _WITH_DICTIONARY = b"j", b"z", b"s", b"d"
_WORTH_PACKING = 200  # bytes
_WORTH_A_DICTIONARY = 40  # bytes
_DICTIONARY_SIZE = 8 << 10  # larger ones saved no more
_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.checksum_flag: 1,  # a damaged turn must not look like another
}

DAMAGE = (ValueError, TypeError, LookupError, zlib.error, zstd.ZstdError)
"""What `unpack` raises on bytes that `pack` did not write."""


@dataclass(frozen=True)
class Dictionary:
    """What the turns of a session have in common."""

    data: bytes

    @classmethod
    def train(cls, samples: Sequence[bytes]) -> Dictionary | None:
        """From some turns; None when they are too few or too short to tell."""
        try:
            return cls(zstd.train_dict(samples, _DICTIONARY_SIZE).dict_content)
        except (zstd.ZstdError, ValueError):
            return None

    @property
    def id(self) -> int:
        """Stands in front of everything that needs this dictionary; never 0."""
        return self._loaded.dict_id

    @cached_property
    def _loaded(self) -> zstd.ZstdDict:
        return zstd.ZstdDict(self.data)

    @property
    def prepared(self) -> tuple[zstd.ZstdDict, int]:
        """As compressing wants it: digested once, not for every turn."""
        return self._loaded.as_digested_dict


def pack(line: bytes, dictionary: Dictionary | None = None) -> bytes:
    """Bytes compressed where that pays."""
    if dictionary is not None and len(line) >= _WORTH_A_DICTIONARY:
        return _WITH_DICTIONARY + zstd.compress(
            line, options=_OPTIONS, zstd_dict=dictionary.prepared
        )
    if len(line) < _WORTH_PACKING:
        return _PLAIN + line
    return _ZSTD + zstd.compress(line, options=_OPTIONS)


def unpack(data: bytes, dictionary: Dictionary | None = None) -> bytes:
    """The inverse of `pack`; raises one of `DAMAGE` on anything else."""
    kind, rest = data[:1], data[1:]
    if kind == _PLAIN:
        return rest
    if kind == _ZSTD:
        return zstd.decompress(rest)
    if kind == _WITH_DICTIONARY and dictionary is not None:
        return zstd.decompress(rest, zstd_dict=dictionary.prepared)
    if kind == _DEFLATED:  # written before zstd
        return zlib.decompress(rest)
    raise ValueError(
        "its dictionary is missing" if kind == _WITH_DICTIONARY else "unknown encoding"
    )


def dictionary_of(data: bytes) -> int:
    """The id of the dictionary that packed bytes need; 0 when they need none."""
    if data[:1] != _WITH_DICTIONARY:
        return 0
    try:
        return zstd.get_frame_info(data[1:]).dictionary_id
    except zstd.ZstdError:
        return 0  # damaged, as unpacking will say
