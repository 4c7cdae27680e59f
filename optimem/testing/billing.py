"""What a provider bills for a request: its image rule, and what its prompt cache had.

A cache keeps exact prefixes. Here a prefix ends behind a block, and is known by the hash of
all blocks up to there. The provider's `CacheRule` says how short it may be, whether it must
end at a breakpoint, how long it lives, and what becomes of it when images change.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate

from PIL import Image

from optimem.readers import ImageCost, Profile
from optimem.readers.dollars import CacheRule
from optimem.testing.exchange import Asked, Block, Rejected, Usage
from optimem.tokens import find_counter

FRAME_TOKENS = 4
"""What stands around each message."""


class Till:
    """Bills requests, and keeps what the provider's prompt cache would.

    Args:
        overcharge: images are billed so many times what the profile says.
        clock: says what time it is, in seconds.
    """

    def __init__(self, overcharge: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.overcharge = overcharge
        self._clock = clock
        self._kept: dict[bytes, float] = {}  # prefixes, with the time of their last use

    def cool(self) -> None:
        """Empty the cache, as time does."""
        self._kept.clear()

    def bill(self, asked: Asked, profile: Profile) -> Usage:
        """What a request costs; its prefix is in the cache from now on."""
        costs = [self._cost(block, profile) for block in asked.blocks]
        shown = [c for block, c in zip(asked.blocks, costs, strict=True) if block.kind == "image"]
        frames = profile.text_cost(FRAME_TOKENS * len({block.message for block in asked.blocks}))
        cached, written = self._cache(asked, costs, profile.cache or CacheRule())
        return Usage(sum(costs) + frames, cached, written, sum(shown))

    def _cost(self, block: Block, profile: Profile) -> int:
        if block.kind != "image":
            return profile.text_cost(count(block.text))
        return round(image_cost(block, profile).tokens * self.overcharge)

    def _cache(self, asked: Asked, costs: Sequence[int], rule: CacheRule) -> tuple[int, int]:
        """Tokens read from the cache, and tokens written to it at a price."""
        now = self._clock()
        prefixes = _prefixes(asked, rule)
        ends = [min(end, end - (end - rule.minimum) % rule.step) for end in accumulate(costs)]
        long = {number for number, end in enumerate(ends) if end >= rule.minimum}
        places = range(len(prefixes))
        writes = [n for n in places if rule.breakpoints is None or asked.blocks[n].breakpoint]
        reads = set(places)
        if rule.lookback is not None:
            reads = {n - step for n in writes for step in range(rule.lookback + 1)}
        elif rule.breakpoints is not None:  # OpenAI marks the end of each request by itself
            writes.append(places[-1])
        hits = [
            n for n in reads & long if now - self._kept.get(prefixes[n], -rule.life) < rule.life
        ]
        cached = max((ends[n] for n in hits), default=0)
        new = [number for number in writes if number in long]
        self._kept.update((prefixes[n], now) for n in (*new, *hits))
        written = max((ends[n] for n in new), default=0) - cached
        return cached, max(written, 0) if rule.write > 1 else 0


def image_cost(block: Block, profile: Profile) -> ImageCost:
    """What the profile's own rule says of an image; raises Rejected for what is none."""
    width, height = image_size(block.image)
    level = block.level or _native_level(profile, width, height)
    return profile.bill(width, height, level if level in profile.levels else profile.default)


def _native_level(profile: Profile, width: int, height: int) -> str | None:
    """The mode of a local model's page: its levels are modes, and no request names them."""
    found = (mode.label for mode in profile.modes if (mode.side, mode.side) == (width, height))
    return next((label for label in found if label in profile.levels), None)


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels; raises Rejected for what is no image."""
    return looked_at(data)[0]


def looked_at(data: bytes) -> tuple[tuple[int, int], str]:
    """Width and height in pixels, and the MIME type; raises Rejected for what is no image."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = "jpeg" if image.format == "MPO" else str(image.format).lower()
            return image.size, f"image/{kind}"
    except OSError:
        raise Rejected("Could not process image: its format is not known") from None


def _prefixes(asked: Asked, rule: CacheRule) -> list[bytes]:
    """For each block a hash of it and all blocks in front of it."""
    images = b"".join(map(_digest, asked.images)) if rule.images_matter else b""
    found, last = [], hashlib.sha256(asked.model.encode()).digest()
    for block in asked.blocks:
        if block.message >= 0:
            last, images = hashlib.sha256(last + images).digest(), b""
        last = hashlib.sha256(last + block.digest).digest()
        found.append(last)
    return found


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@lru_cache(maxsize=1 << 14)
def count(text: str) -> int:
    """Text tokens, in the best counter that is installed."""
    return find_counter().count(text)
