"""Image attachments: their size, and their shrinking beside the pages that name them."""

from __future__ import annotations

import io

from optimem.errors import InputError
from optimem.modes import Tier
from optimem.values import Attachment

_BYTES_A_TOKEN = 64  # of files that no rule prices; an estimate that errs on the high side
_ORIENTATION = 0x0112  # the Exif tag that says which way up a photograph is


def image_size(attachment: Attachment) -> tuple[int, int] | None:
    """Width and height in pixels; (0, 0) when unknown, None for what is no image.

    Known means that the whole image can be decoded, so that it can be shrunk later.
    """
    if attachment.kind != "image":
        return None
    if attachment.data is None:
        return (0, 0)
    from PIL import Image

    try:
        with Image.open(io.BytesIO(attachment.data)) as image:
            size = image.size
            image.draft(None, (1, 1))  # JPEG decodes faster to an eighth of its size
            image.load()
            return size
    except Exception:  # Pillow's decoders raise all kinds of errors on damaged files
        return (0, 0)


def file_tokens(attachment: Attachment) -> int:
    """An estimate of what a file that is no image costs."""
    if attachment.kind == "image":
        return 0
    return len(attachment.data or b"") // _BYTES_A_TOKEN


def faded_size(size: tuple[int, int] | None, tier: Tier) -> tuple[int, int] | None:
    """Size of an attachment beside a page in this tier: within the page's side, never larger.

    None where only its marker on the page is left: at Tiny, and for what cannot be shrunk.
    """
    if size is None or size == (0, 0) or not tier.is_mode or tier == Tier.TINY:
        return None
    scale = min(1.0, tier.side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def fade_image(attachment: Attachment, size: tuple[int, int]) -> bytes:
    """The bytes of an image at another size: JPEG for photographs, else PNG.

    Raises:
        InputError: the bytes are no image that Pillow reads.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(attachment.data or b"")) as image:
            is_photo = image.format in ("JPEG", "MPO")
            mode = "RGB" if is_photo or image.mode not in ("L", "RGBA", "RGB") else image.mode
            shrunk = image.convert(mode).resize(size, Image.Resampling.LANCZOS)
            turned = Image.Exif()
            turned[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # Pillow's decoders raise all kinds of errors on damaged files
        raise InputError(f"the image attachment cannot be read: {error}") from None
    out = io.BytesIO()
    if is_photo:
        shrunk.save(out, "JPEG", quality=85, exif=turned)
        return out.getvalue()
    shrunk.save(out, "PNG", compress_level=6)
    return out.getvalue()
