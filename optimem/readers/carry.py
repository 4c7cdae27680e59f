"""What a request may carry of images: how many, and in how many bytes.

Pages get three quarters of it, and what the newest turns bring along the rest: so the plan
of the pages does not change with each picture that a user sends.
"""

from __future__ import annotations

from optimem.readers.profile import Profile
from optimem.values import Segment

_BYTES_A_PIXEL = 0.28  # random letters at Small, and Chinese, take 0.265 in a PNG of ours
_PHOTO_BYTES_A_PIXEL = 3.0  # an attachment at worst


def page_images(profile: Profile) -> int | None:
    """The most images that pages and what stands beside them may be; None without a limit."""
    images = profile.limits.get("images")
    return None if images is None else max(1, images * 3 // 4)


def page_bytes(profile: Profile) -> int:
    """The most bytes of those images, before they are encoded as text."""
    most = min(profile.request_bytes, profile.limits.get("request_bytes", profile.request_bytes))
    return most * 9 // 16  # three quarters, in base64


def most_bytes(segment: Segment) -> int:
    """The most bytes that an image of a context can have, told without drawing it."""
    if segment.sheet is not None:
        width, height = segment.sheet.size
        return int(width * height * _BYTES_A_PIXEL)
    side = segment.tier.side
    return int(side * side * (_BYTES_A_PIXEL if segment.mark is None else _PHOTO_BYTES_A_PIXEL))
