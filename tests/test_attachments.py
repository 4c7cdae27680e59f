"""Attachments: as they came while their turn is text, then fading beside its pages."""

from __future__ import annotations

import base64
import io
import json
import random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from optimem import InputError, Memory
from optimem.attachments import fade_image, faded_size, file_tokens, image_size
from optimem.context import Context
from optimem.modes import MODES, Tier
from optimem.policies import AgeDecay, Epochs
from optimem.values import Attachment, Segment

READER = "openai:gpt-6-astra"


def picture(size: tuple[int, int], format: str = "PNG", mode: str = "RGB", **save: Any) -> bytes:
    """A picture whose quarters have different colours."""
    image = Image.new("RGB", size, (200, 30, 30))
    image.paste((30, 30, 200), (0, 0, size[0] // 2, size[1] // 2))
    out = io.BytesIO()
    image.convert(mode).save(out, format, **save)
    return out.getvalue()


def attached(data: bytes | None, kind: Any = "image", block: Any = None) -> Attachment:
    return Attachment(kind, "image/png", data, "", "", block or {})


def say(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def words(count: int, seed: int) -> str:
    choose = random.Random(seed)
    return " ".join(f"w{choose.randrange(9973)}" for _ in range(count))


def openai_image(data: bytes, media_type: str = "image/png") -> dict[str, Any]:
    url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def anthropic_image(data: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    source = {"type": "base64", "media_type": "image/png", "data": encoded}
    return {"type": "image", "source": source}


def ladder(tier: Tier) -> Epochs:
    """Every page in one tier, and only the newest turns as text."""
    return Epochs((AgeDecay(ladder=((tier, 1),)),))


def faded(context: Context) -> list[Segment]:
    return [segment for segment in context.segments if segment.kind == "attachment"]


# Sizes


def test_the_size_of_a_picture_and_of_what_is_none() -> None:
    assert image_size(attached(picture((30, 20)))) == (30, 20)
    assert image_size(attached(picture((30, 20), "JPEG"))) == (30, 20)
    assert image_size(attached(b"words", "file")) is None
    assert image_size(attached(None)) == (0, 0)
    assert file_tokens(attached(b"x" * 640, "file")) == 10
    assert file_tokens(attached(b"x" * 640)) == 0


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_a_damaged_picture_is_of_unknown_size(format: str) -> None:
    """Its head may be whole; what cannot be decoded must not fail when it is to be shrunk."""
    whole = picture((300, 200), format)
    assert image_size(attached(whole)) == (300, 200)
    for length in (0, 1, 8, 20, len(whole) // 2):
        assert image_size(attached(whole[:length])) == (0, 0)
    choose = random.Random(5)
    for _ in range(100):
        damaged = bytearray(whole)
        for _ in range(8):
            damaged[choose.randrange(len(damaged))] = choose.randrange(256)
        size = image_size(attached(bytes(damaged)))
        assert size is not None
        if size != (0, 0):
            assert fade_image(attached(bytes(damaged)), (16, 16))


@pytest.mark.parametrize(
    ("size", "tier", "expected"),
    [
        ((2560, 1280), Tier.LARGE, (1280, 640)),
        ((2560, 1280), Tier.SMALL, (640, 320)),
        ((300, 200), Tier.BASE, (300, 200)),
        ((20_000, 1), Tier.SMALL, (640, 1)),
        ((2560, 1280), Tier.TINY, None),
        ((2560, 1280), Tier.FORGOTTEN, None),
        ((2560, 1280), Tier.TEXT, None),
        ((0, 0), Tier.LARGE, None),
        (None, Tier.LARGE, None),
    ],
)
def test_faded_sizes(
    size: tuple[int, int] | None, tier: Tier, expected: tuple[int, int] | None
) -> None:
    assert faded_size(size, tier) == expected


def test_sizes_shrink_with_the_modes() -> None:
    sides = [max(faded_size((5000, 3000), tier) or (0, 0)) for tier in MODES]
    assert sides == sorted(sides, reverse=True) and sides[-1] == 0


# Bytes


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK"])
def test_pictures_of_every_kind_are_shrunk(mode: str) -> None:
    format = "JPEG" if mode == "CMYK" else "PNG"
    if mode == "I;16":
        out = io.BytesIO()
        Image.new("I;16", (200, 100)).save(out, "PNG")
        data = out.getvalue()
    else:
        data = picture((200, 100), format, mode)
    with Image.open(io.BytesIO(fade_image(attached(data), (50, 25)))) as shrunk:
        assert (shrunk.size, shrunk.format) == ((50, 25), format)
        if mode in ("RGB", "RGBA", "P", "CMYK"):
            pixels = np.asarray(shrunk.convert("RGB"))
            first, last = pixels[0, 0], pixels[-1, -1]
            assert first[2] > first[0] and last[0] > last[2]


def test_a_photograph_stays_the_right_way_up() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    data = picture((200, 100), "JPEG", exif=exif)
    with Image.open(io.BytesIO(fade_image(attached(data), (50, 25)))) as shrunk:
        kept = shrunk.getexif()
        assert kept[0x0112] == 6 and 0x010F not in kept


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        fade_image(attached(b"words"), (10, 10))


# In contexts


@pytest.mark.parametrize("reader", [READER, "anthropic:claude-opus-5.5"])
def test_as_it_came_while_its_turn_is_text(reader: str) -> None:
    data = picture((900, 700), "JPEG")
    made = openai_image(data, "image/jpeg") if reader == READER else anthropic_image(data)
    message = {"role": "user", "content": [{"type": "text", "text": "look"}, made]}
    with Memory.open("memory://") as memory:
        memory.append(message)
        context = memory.context(reader, 50_000)
        (sent,) = context.messages()
        sent["content"][-1].pop("cache_control", None)  # the end of the prompt is marked
        assert sent == message and not faded(context)
        price = context.reader.image_cost(900, 700)
        assert price < context.tokens < price + 60


@pytest.mark.parametrize("tier", [Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY])
@pytest.mark.parametrize("reader", [READER, "anthropic:claude-opus-5.5"])
def test_on_pages_it_fades_beside_its_marker(reader: str, tier: Tier) -> None:
    first, second = picture((1600, 900)), picture((1500, 1500), "JPEG")
    message = {
        "role": "user",
        "content": [openai_image(first), openai_image(second, "image/jpeg")],
    }
    with Memory.open("memory://", policy=ladder(tier)) as memory:
        turn = memory.append(message)
        memory.extend([say(words(500, number)) for number in range(12)])
        context = memory.context(reader, 60_000)
        assert context.plan.tiers[0] == tier
        page = memory.page(0).text
        assert "<image#0.0 image/png" in page and "<image#0.1 image/jpeg" in page
        sent = faded(context)
        assert len(sent) == (0 if tier == Tier.TINY else 2)
        for segment, size, format in zip(
            sent, ((1600, 900), (1500, 1500)), ("PNG", "JPEG"), strict=False
        ):
            media_type, data = context.image(segment)
            assert media_type == f"image/{format.lower()}"
            with Image.open(io.BytesIO(data)) as image:
                assert image.format == format and max(image.size) == tier.side
                assert image.size == faded_size(size, tier)
                assert segment.tokens == context.reader.image_cost(*image.size)
            assert base64.b64encode(data).decode() in json.dumps(context.messages())
        assert memory.turn(turn).message == message
        assert [found.data for found in memory.turn(turn).attachments] == [first, second]
        assert memory.export()[0] == message


def test_a_damaged_picture_leaves_its_marker_and_breaks_no_context() -> None:
    broken = picture((1600, 900))[:200]
    message = {"role": "user", "content": [openai_image(broken)]}
    with Memory.open("memory://", policy=ladder(Tier.LARGE)) as memory:
        memory.append(message)
        memory.extend([say(words(500, number)) for number in range(12)])
        context = memory.context(READER, 60_000)
        assert context.messages() and not faded(context)
        assert "<image#0.0 image/png" in memory.page(0).text
        assert memory.export()[0] == message


def test_urls_and_files_are_kept_named_and_never_fetched() -> None:
    url = {"type": "image_url", "image_url": {"url": "https://nowhere.invalid/a.png"}}
    file = {"type": "file", "file": {"filename": "plan.pdf", "file_data": "data:a/pdf;base64,AAAA"}}
    message = {"role": "user", "content": [url, file]}
    with Memory.open("memory://", policy=ladder(Tier.LARGE)) as memory:
        memory.append(message)
        assert memory.context(READER, 60_000).messages() == [message]
        memory.extend([say(words(500, number)) for number in range(12)])
        context = memory.context(READER, 60_000)
        assert context.messages() and not faded(context)
        page = memory.page(0).text
        assert "<image#0.0" in page and "plan.pdf" in page
        assert memory.export()[0] == message


def test_a_picture_in_a_tool_result_fades_too() -> None:
    data = picture((1000, 1000))
    use = {"type": "tool_use", "id": "t", "name": "shoot", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [anthropic_image(data)]}
    messages = [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    with Memory.open("memory://", policy=ladder(Tier.SMALL)) as memory:
        memory.extend(messages)
        memory.extend([say(words(500, number)) for number in range(12)])
        (segment,) = faded(memory.context("anthropic:claude-opus-5.5", 60_000))
        assert segment.mark is not None and (segment.mark.position, segment.mark.index) == (1, 0)
        assert memory.export()[:2] == messages


def test_a_faded_picture_that_no_plan_shows_any_longer_leaves_the_store() -> None:
    steps = ((Tier.LARGE, 1.0), (Tier.SMALL, 20.0), (Tier.TINY, 40.0))
    message = {"role": "user", "content": [openai_image(picture((1600, 900)))]}
    with Memory.open(
        "memory://", policy=Epochs((AgeDecay(ladder=steps),), saving=0, horizon=10**9)
    ) as memory:
        memory.append(message)
        sizes: list[set[bytes]] = []
        for number in range(60):
            memory.append(say(words(250, number)))
            memory.context(READER, 200_000).messages()
            if number % 19 == 18:
                names = (
                    name for place, name in memory.store.stored(memory.scope) if place == "blob"
                )
                sizes.append({name.rpartition(b"/")[2] for name in names if name[:6] == b"image/"})
        assert sizes == [{b"large"}, {b"small"}, set()]
        assert memory.export()[0] == message
