"""Turns as a reader takes them: images where and as large as it allows, calls in one message.

What a reader takes as it is goes out as it came. An image in a role that may carry none moves
to a user message behind its exchange; one that is too large is shrunk, one of another format
redrawn; where neither can be, or where a request would have too many images or too many bytes of
them, a line of text stands for it (for the oldest first), never nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import inf

from optimem.attachments import fade_image, image_size
from optimem.errors import InputError
from optimem.readers.carry import most_bytes, page_bytes
from optimem.readers.profile import Format, Profile
from optimem.values import Attachment, Part, Segment, Text, Thinking, ToolResult, Turn, dump_json

_SMALLER = 0.75  # of a side, while an image has too many bytes
_LEAST = 32  # px; smaller ones are given up
_AROUND = 1 << 18  # bytes of a request around its words and images: frames, captions, tools


def fitted(segments: Iterable[Segment], profile: Profile, format: Format) -> list[Segment]:
    """Segments whose turns this reader takes in this format; most come back as they are."""
    turns = list(_merged(segments, format))
    images = sum(1 if each.is_image else _count(each.turn) for each in turns)
    allowed = Allowed(profile, images)
    room = _room(turns, profile)
    found: list[Segment] = []
    lifted: list[Attachment] = []
    for segment, kept in zip(turns, room, strict=True):
        answers = segment.turn is not None and bool(segment.turn.answers)
        if lifted and not answers:  # results follow their calls at once
            found.append(_lifted(lifted))
            lifted = []
        if segment.turn is None or not segment.turn.attachments:
            found.append(segment)
            continue
        turn, moved = _turn(segment.turn, allowed, format, _count(segment.turn) - kept)
        lifted += moved
        found.append(segment if turn is segment.turn else replace(segment, turn=turn))
    return [*found, _lifted(lifted)] if lifted else found


@dataclass(frozen=True, slots=True)
class Allowed:
    """The images that a reader takes in a request of so many.

    Attributes:
        profile: the reader's.
        images: how many the request has.
    """

    profile: Profile
    images: int

    @property
    def side(self) -> int | None:
        """The most px along a side."""
        limits = self.profile.limits
        many = self.images > limits.get("many_images", self.images)
        sides = [limits.get("side"), limits.get("many_images_side") if many else None]
        return min((side for side in sides if side is not None), default=None)

    def takes(self, size: tuple[int, int], bytes: int, media_type: str) -> bool:
        """Whether an image of a size, of so many bytes, is taken as it is."""
        limits = self.profile.limits
        encoded = _encoded(bytes)
        patches = -(-size[0] // 32) * -(-size[1] // 32)
        return (
            media_type in self.profile.image_formats
            and (self.side is None or max(size) <= self.side)
            and encoded <= limits.get("image_bytes", encoded)
            and patches <= limits.get("patches", patches)
        )

    def fit(self, part: Attachment) -> Attachment | Text:
        """The image as this reader takes it, or a line that stands for it."""
        if not self.profile.reads_images:
            return Text(f"[image{_named(part)} left out: this model reads no images]")
        if part.data is None:
            return part  # what a URL leads to is never looked at
        size = image_size(part) or (0, 0)
        if self.takes(size, len(part.data), part.media_type):
            return part
        if size == (0, 0):
            if part.media_type in self.profile.image_formats:
                return part  # not to be read here: the server may know better
            return Text(f"[image{_named(part)} left out: {part.media_type or 'of unknown type'}]")
        return self._redrawn(part, size)

    def _redrawn(self, part: Attachment, size: tuple[int, int]) -> Attachment | Text:
        scale = 1.0 if self.side is None else min(1.0, self.side / max(size))
        while True:
            width, height = (max(1, int(length * scale)) for length in size)
            try:
                data = fade_image(part, (width, height))
            except InputError:
                return Text(f"[image{_named(part)} left out: it cannot be read]")
            media_type = "image/jpeg" if data.startswith(b"\xff\xd8") else "image/png"
            if self.takes((width, height), len(data), media_type):
                return replace(part, media_type=media_type, data=data, url="")
            if max(width, height) <= _LEAST:
                return Text(f"[image{_named(part)} left out: it is too large]")
            scale *= _SMALLER


def _room(segments: Sequence[Segment], profile: Profile) -> list[int]:
    """Of how many images of each segment's turn, from the last on, a request has room for."""
    turns = [each.turn for each in segments]
    if not any(turn is not None and turn.attachments for turn in turns):
        return [0] * len(turns)
    limits = profile.limits
    pages = [each for each in segments if each.is_image]
    images: float = limits.get("images", inf) - len(pages)
    bytes: float = limits.get("request_bytes", inf) - _AROUND
    bytes -= _encoded(min(page_bytes(profile), sum(map(most_bytes, pages))))
    bytes -= sum(len(dump_json(turn.text).encode()) for turn in turns if turn is not None)
    found: list[int] = []
    for turn in reversed(turns):
        parts = () if turn is None else turn.attachments
        found.append(0)
        for part in reversed([part for part in parts if part.kind == "image"]):
            size = min(_encoded(len(part.data or b"")), limits.get("image_bytes", inf))
            images, bytes = images - 1, bytes - size
            found[-1] += images >= 0 and bytes >= 0
    return found[::-1]


def _encoded(bytes: int) -> int:
    """In base64."""
    return -(-bytes // 3) * 4


def _named(part: Attachment) -> str:
    return f" {part.name}" if part.name else ""


def _count(turn: Turn | None) -> int:
    return 0 if turn is None else sum(part.kind == "image" for part in turn.attachments)


def _turn(
    turn: Turn, allowed: Allowed, format: Format, left_out: int
) -> tuple[Turn, list[Attachment]]:
    """The turn as it may be sent, and the images that have to stand elsewhere.

    Args:
        turn: which one.
        allowed: the images that the reader takes.
        format: of the request.
        left_out: how many of its images, from the first on, the request has no room for.
    """
    drawn = turn.role == "assistant" and turn.dialect == format  # the API knows its own images
    may = drawn or turn.role in allowed.profile.image_roles
    moved: list[Attachment] = []
    images = count()

    def fit(part: Text | Attachment) -> Text | Attachment:
        if not isinstance(part, Attachment) or part.kind != "image":
            return part
        if next(images) < left_out:
            return Text(f"[image{_named(part)} left out: the request has no room for it]")
        fitting = allowed.fit(part)
        if may or isinstance(fitting, Text):
            return fitting
        moved.append(fitting)
        return Text(f"[image {len(moved)}{_named(part)}: below]")

    parts: list[Part] = []
    for part in turn.parts:
        if isinstance(part, ToolResult):
            inner = tuple(fit(item) for item in part.parts)
            same = all(one is other for one, other in zip(inner, part.parts, strict=True))
            parts.append(part if same else replace(part, parts=inner))
        else:
            parts.append(fit(part) if isinstance(part, Attachment) else part)
    if all(one is other for one, other in zip(parts, turn.parts, strict=True)):
        return turn, []
    return replace(turn, parts=tuple(parts), dialect="langchain"), moved


def _lifted(images: Sequence[Attachment]) -> Segment:
    words = Text("Images of the messages above, in order:")
    parts: tuple[Part, ...] = (words, *images)
    return Segment("turn", 0, turn=Turn("", "user", parts, "", None, "langchain", {}))


def _merged(segments: Iterable[Segment], format: Format) -> Iterator[Segment]:
    """One message for what the Responses API says in several items, where another API reads it."""
    held: Segment | None = None
    for segment in segments:
        turn = segment.turn
        loose = turn is not None and turn.role == "assistant" and turn.dialect == "responses"
        if format == "responses" or not loose or turn is None:
            if held is not None:
                yield from _said(held)
                held = None
            yield segment
        elif held is None or held.turn is None:
            held = segment
        else:
            one = replace(held.turn, parts=held.turn.parts + turn.parts)
            held = replace(held, turn=one, tokens=held.tokens + segment.tokens)
    if held is not None:
        yield from _said(held)


def _said(segment: Segment) -> Iterator[Segment]:
    """The segment, unless it is nothing but reasoning, which no other API takes."""
    turn = segment.turn
    if turn is None or not turn.parts or any(not isinstance(p, Thinking) for p in turn.parts):
        yield segment
