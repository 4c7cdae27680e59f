"""Compression: zstd, with a dictionary of what conversations have in common.

Turns are short, so most of what repeats in a session repeats between turns. The dictionary
comes with the package and was trained on public text: it holds no word of any user, helps
from the first turn on, and stays as it is when a turn is forgotten. Each frame names the
one that it needs.
"""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

from optimem.errors import StoreError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PLAIN, _DEFLATED, _ZSTD, _WITH_DICTIONARY = b"j", b"z", b"s", b"d"
_WORTH_PACKING = 40  # bytes
_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.checksum_flag: 1,  # a damaged turn must not look like another
}

DAMAGE = (ValueError, TypeError, LookupError, zlib.error, zstd.ZstdError)
"""What `unpack` raises on bytes that `pack` did not write."""


@dataclass(frozen=True)
class Dictionary:
    """What texts have in common, as zstd trains it."""

    data: bytes

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


@cache
def shipped() -> Dictionary:
    """The dictionary that comes with the package, read when it is first needed."""
    return Dictionary((resources.files("optimem") / "data" / "dictionary.zstd").read_bytes())


def pack(line: bytes) -> bytes:
    """Bytes compressed where that pays."""
    if len(line) < _WORTH_PACKING:
        return _PLAIN + line
    packed = zstd.compress(line, options=_OPTIONS, zstd_dict=shipped().prepared)
    return _WITH_DICTIONARY + packed if len(packed) < len(line) else _PLAIN + line


def unpack(data: bytes, earlier: Dictionary | None = None) -> bytes:
    """The inverse of `pack`; raises one of `DAMAGE` on anything else.

    Args:
        data: what was packed, by this version or an earlier one.
        earlier: the dictionary of a session that an earlier version gave one.

    Raises:
        StoreError: the bytes need a dictionary that is neither of these.
    """
    kind, rest = data[:1], data[1:]
    if kind == _PLAIN:
        return rest
    if kind == _WITH_DICTIONARY:
        return zstd.decompress(rest, zstd_dict=_dictionary(rest, earlier).prepared)
    if kind == _ZSTD:  # written before there was a dictionary for all
        return zstd.decompress(rest)
    if kind == _DEFLATED:  # written before zstd
        return zlib.decompress(rest)
    raise ValueError("unknown encoding")


def earlier_dictionary(data: bytes) -> int:
    """The id of the session's own dictionary that packed bytes need; 0 when they need none."""
    if data[:1] != _WITH_DICTIONARY:
        return 0
    try:
        id = zstd.get_frame_info(data[1:]).dictionary_id
    except zstd.ZstdError:
        return 0  # damaged, as unpacking will say
    return 0 if id == shipped().id else id


def _dictionary(frame: bytes, earlier: Dictionary | None) -> Dictionary:
    id = zstd.get_frame_info(frame).dictionary_id
    for known in (shipped(), earlier):
        if known is not None and known.id == id:
            return known
    if not id:
        raise ValueError("it names no dictionary")
    raise StoreError(
        f"a turn needs dictionary {id}, which this version of optimem lacks: pip install -U optimem"
    )
