"""Every limit of every profile: one below, at and one above, by what we send and by the server.

A limit is met on our side when nothing is sent that exceeds it, and when nothing that keeps to
it is changed; the reading server takes what keeps to it and rejects the rest.
"""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from PIL import Image

from optimem.modes import Tier
from optimem.readers import Profile, find_reader, reader_names
from optimem.readers.carry import page_bytes, page_images
from optimem.readers.fit import Allowed, fitted
from optimem.readers.table import table
from optimem.testing import Asked, Block, ReadingServer, Usage, limits
from optimem.testing.exchange import Rejected
from optimem.values import Attachment, Segment, Text, Turn

HOSTED = ("bedrock:claude-opus-5.5", "vertex:claude-opus-5.5", "google-openai:gemini-4-argon")
NAMES = (*reader_names(), *HOSTED)
STEPS = (-1, 0, 1)
KINDS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
ROLES = ("user", "tool", "assistant", "system")


def cases(*keys: str) -> list[tuple[str, str]]:
    """Each reader of images with each of its limits, or of those that are named."""
    return [
        (name, key)
        for name in NAMES
        if find_reader(name).reads_images
        for key in sorted(find_reader(name).limits)
        if key in (keys or CHECKS)
    ]


@cache
def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()


def padded(encoded: int) -> bytes:
    """The smallest image with at least so many bytes in base64, which come in fours."""
    whole = encoded // 4 * 3 + (encoded % 4 > 0)
    return png(8, 8).ljust(whole, b"\0")


def rejects(profile: Profile, *images: bytes, role: str = "user") -> bool:
    """Whether the server rejects a request with these images."""
    blocks = tuple(Block(role, "image", image=image, message=0) for image in images)
    asked = Asked(profile.model, blocks)
    try:
        limits.check_images(asked, profile)
        limits.check_roles(asked, profile)
    except Rejected as rejected:
        assert rejected.status == 400
        return True
    return False


def changed(profile: Profile, *images: bytes) -> bool:
    """Whether we send something else in place of these images, so that all is taken."""
    parts = tuple(Attachment("image", "image/png", image, "", "", {}) for image in images)
    turn = Turn("", "user", parts, "", None, "langchain", {})
    (segment,) = fitted([Segment("turn", 0, turn=turn)], profile, profile.format)
    assert segment.turn is not None
    sent = [part for part in segment.turn.parts if isinstance(part, Attachment)]
    assert len(segment.turn.parts) == len(images), "a line stands for what is left out"
    assert len(sent) <= profile.limits.get("images", len(sent))
    assert not rejects(profile, *(part.data or b"" for part in sent[:30]))
    return segment.turn is not turn


# One image


def image_of(profile: Profile, key: str, step: int) -> Iterator[list[bytes]]:
    """Requests' images that are below, at or above a limit of one image."""
    most = profile.limits[key] + step
    if key == "image_bytes":
        yield [padded(most)]
    elif key == "side":
        yield from ([png(most, 8)], [png(8, most)])
    elif key == "patches":
        yield from ([png(32, 32 * most)], [png(32, 32 * most - 31)])
    elif key == "many_images_side":
        yield [png(most, most)] * (profile.limits["many_images"] + 1)
    elif key == "many_images":
        side = profile.limits["many_images_side"] + 1
        yield [png(side, 8)] * most
    else:
        yield [png(8, 8)] * most


CHECKS = {"image_bytes", "side", "patches", "many_images_side", "many_images", "images"}


@pytest.mark.parametrize(("name", "key"), cases())
def test_images_below_at_and_above(name: str, key: str) -> None:
    profile = find_reader(name)
    profile = replace(
        profile, limits={k: v for k, v in profile.limits.items() if k != "request_bytes"}
    )
    for step in STEPS:
        for images in image_of(profile, key, step):
            assert rejects(profile, *images) == (step > 0), step
            if key == "images" or step < 1:
                assert changed(profile, *images) == (step > 0), step
            else:
                taken = Allowed(profile, len(images)).takes(
                    Image.open(io.BytesIO(images[0])).size, len(images[0]), "image/png"
                )
                assert not taken


@pytest.mark.parametrize("name", [n for n in NAMES if not find_reader(n).reads_images])
def test_readers_of_text_alone_take_no_image(name: str) -> None:
    profile = find_reader(name)
    assert rejects(profile, png(8, 8)) and changed(profile, png(8, 8))


def test_every_limit_has_a_test() -> None:
    known = CHECKS | {"request_bytes"}
    rows = table()
    listed = [*rows["providers"].values(), *rows["images"].values(), *rows["models"].values()]
    listed += rows["hosts"].values()
    assert {key for row in listed for key in row.get("limits", {})} == known
    assert {key for name in NAMES for key in find_reader(name).limits} == known


@pytest.mark.parametrize("name", [name for name, _ in cases("images")])
def test_pages_leave_room_for_other_images(name: str) -> None:
    """Three quarters of the images are the pages'; turns' own fill the rest and no more."""
    profile = find_reader(name)
    pages = page_images(profile)
    assert pages is not None and pages <= profile.limits["images"]
    shown = [Segment("page", 0, page=number, tier=Tier.TINY) for number in range(pages)]
    part = Attachment("image", "image/png", png(8, 8), "", "", {})
    for step in STEPS:
        own = profile.limits["images"] - pages + step
        turn = Turn("", "user", (part,) * own, "", None, "langchain", {})
        free = replace(profile, limits={"images": profile.limits["images"]})
        *_, last = fitted([*shown, Segment("turn", 0, turn=turn)], free, profile.format)
        assert last.turn is not None
        left = [each for each in last.turn.parts if isinstance(each, Text)]
        assert len(left) == max(step, 0)
        assert all("no room" in each.text for each in left)
        assert isinstance(last.turn.parts[-1], Attachment), "the newest stay"


# Formats and roles


@pytest.mark.parametrize("name", NAMES)
def test_formats(name: str) -> None:
    profile = find_reader(name)
    for kind in KINDS:
        out = io.BytesIO()
        Image.new("RGB", (9, 9)).save(out, kind)
        media_type = f"image/{kind.lower()}"
        taken = media_type in profile.image_formats
        assert rejects(profile, out.getvalue()) != taken
        part = Attachment("image", media_type, out.getvalue(), "", "", {})
        fitting = Allowed(profile, 1).fit(part)
        assert (fitting is part) == taken
        if isinstance(fitting, Attachment):
            assert not rejects(profile, fitting.data or b"")
        else:
            assert not profile.reads_images


@pytest.mark.parametrize("name", NAMES)
def test_roles(name: str) -> None:
    profile = find_reader(name)
    for role in ROLES:
        assert rejects(profile, png(9, 9), role=role) == (role not in profile.image_roles)
        part = Attachment("image", "image/png", png(9, 9), "", "", {})
        turn = Turn("", role, (Text("look"), part), "", None, "langchain", {})  # type: ignore[arg-type]
        for segment in fitted([Segment("turn", 0, turn=turn)], profile, profile.format):
            assert segment.turn is not None
            carries = bool(segment.turn.attachments)
            assert not carries or segment.turn.role in profile.image_roles


# Windows and requests


@pytest.mark.parametrize("name", [n for n in NAMES if find_reader(n).window])
def test_windows(name: str) -> None:
    profile = find_reader(name)
    for step in STEPS:
        usage = Usage((profile.window or 0) + step)
        if step > 0:
            with pytest.raises(Rejected):
                limits.check_window(usage, profile)
        else:
            limits.check_window(usage, profile)


@pytest.mark.parametrize("name", [n for n in NAMES if "request_bytes" in find_reader(n).limits])
def test_bytes_of_a_request(name: str) -> None:
    """By the server's own check, at the real size."""
    profile, key = find_reader(name), "request_bytes"
    for step in STEPS:
        if step > 0:
            with pytest.raises(Rejected) as caught:
                limits.check_body(profile.limits[key] + step, profile)
            assert caught.value.status == 413
        else:
            limits.check_body(profile.limits[key] + step, profile)
    assert page_bytes(profile) * 4 // 3 <= profile.limits[key] * 3 // 4
    for step in STEPS:  # pages keep to the smaller of ours and the provider's
        most = profile.request_bytes + step
        lower = replace(profile, limits={key: most})
        assert page_bytes(lower) == min(most, profile.request_bytes) * 9 // 16


def words(size: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "Go on. " * size}]


ASKED = {"max_tokens": 9}
BODIES: dict[str, tuple[str, str, Callable[[], dict[str, Any]]]] = {
    "chat": ("gpt-6-astra", "/v1/chat/completions", lambda: {"messages": words(9)}),
    "responses": ("gpt-6-astra", "/v1/responses", lambda: {"input": words(9)}),
    "messages": (
        "claude-opus-5-5",
        "/v1/messages",
        lambda: {"messages": words(9), "max_tokens": 9},
    ),
    "gemini": (
        "gemini-4-argon",
        "/v1beta/models/gemini-4-argon:generateContent",
        lambda: {"contents": [{"parts": [{"text": "Go on. " * 9}]}]},
    ),
    "deepseek": ("deepseek-flash", "/v1/chat/completions", lambda: {"messages": words(9)}),
}


def statuses(server: ReadingServer, path: str, body: dict[str, Any], most: int) -> list[int]:
    """What is replied to a request of exactly one byte less, as many, and one more."""
    host = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    data = json.dumps(body).encode()
    found = []
    for step in STEPS:
        connection.request("POST", path, data.ljust(most + step), {"Connection": "keep-alive"})
        reply = connection.getresponse()
        reply.read()
        found.append(reply.status)
    connection.close()
    return found


@pytest.mark.parametrize("api", BODIES)
def test_bytes_of_a_request_over_the_wire(api: str) -> None:
    model, path, body = BODIES[api]
    low = replace(find_reader(model), limits={"request_bytes": 2_000})
    with ReadingServer(low) as server:
        assert statuses(server, path, {"model": model, **body()}, 2_000) == [200, 200, 413]


def test_bytes_of_a_request_at_their_real_size() -> None:
    model, path, body = BODIES["gemini"]
    most = find_reader(model).limits["request_bytes"]
    with ReadingServer(keep=0) as server:
        assert statuses(server, path, body(), most) == [200, 200, 413]


@pytest.mark.parametrize(("name", "key"), cases("request_bytes"))
def test_images_of_turns_keep_within_a_requests_bytes(name: str, key: str) -> None:
    """The newest have the room that is left, to the byte; a line stands for each older one."""
    whole = find_reader(name)
    data = padded(40_000)
    part = Attachment("image", "image/png", data, "", "", {})
    turn = Turn("", "user", (part,) * 5, "", None, "langchain", {})
    room = -(-len(data) // 3) * 4 * 5 + (1 << 18) + len('""')
    for step in STEPS:
        profile = replace(whole, limits={**whole.limits, key: room + step})
        (segment,) = fitted([Segment("turn", 0, turn=turn)], profile, profile.format)
        assert segment.turn is not None
        kept = [each is part for each in segment.turn.parts]
        assert kept == [step >= 0, *[True] * 4]


# What a price rule sees unshrunk

UNITS = {"openai_patches": 32, "claude": 28, "mistral": 1}
"""Pixels along a patch, where the rule's parameters do not say."""
SEEN = {"side", "patches", "tokens", "most"}
"""Parameters that say from where on an image is shrunk: a side in pixels, or an area."""


def seen_limits() -> list[Any]:
    """Each limit of what an image rule sees: row, level of detail, name."""
    found = []
    for row, image in table()["images"].items():
        if image["rule"] in (*UNITS, "smart_resize"):
            for level, own in image.get("levels", {"": {}}).items():
                keys = SEEN & {*image.get("parameters", {}), *own}
                found += [pytest.param(row, level, key, id=f"{row}-{level}-{key}") for key in keys]
    return sorted(found, key=lambda case: str(case.id))


def rectangle(patches: int, unit: int, most: int) -> tuple[int, int] | None:
    """A size of so many patches, as square as can be; None where a side has more than `most`."""
    rows = next(n for n in range(int(patches**0.5), 0, -1) if patches % n == 0)
    return (patches // rows * unit, rows * unit) if patches // rows <= most else None


@pytest.mark.parametrize(("row", "level", "key"), seen_limits())
def test_what_is_seen_unshrunk_below_at_and_above(row: str, level: str, key: str) -> None:
    models = table()["models"]
    profile = find_reader(next(name for name, model in models.items() if model["image"] == row))
    own = {**profile.parameters, **profile.levels.get(level, {})}
    unit: int = own.get("patch") or UNITS[profile.rule.__name__]
    limit = own[key] // unit**2 if key == "most" else own[key]
    if key == "side":
        above, *kept = [(limit + step, unit) for step in (1, 0, -1)]
    else:
        # The nearest sizes that the other limit allows.
        most = own.get("side", 1000 * unit) // unit
        if most**2 < limit:  # the limit of the sides comes first
            assert profile.bill(most * unit, most * unit, level).seen == (most * unit, most * unit)
            return
        ranges = (range(limit + 1, 2 * limit), range(limit, limit + 1), range(limit - 1, 0, -1))
        sizes = [
            next(filter(None, (rectangle(n, unit, most) for n in counts)), None)
            for counts in ranges
        ]
        above, *kept = [size for size in sizes if size is not None]
        assert len(kept) == 2
    for width, height in (above, above[::-1]):
        wide, high = profile.bill(width, height, level).seen
        assert wide < width or high < height, (width, height)
    for width, height in (*kept, *(size[::-1] for size in kept)):
        wide, high = profile.bill(width, height, level).seen
        assert wide >= width and high >= height, (width, height)
