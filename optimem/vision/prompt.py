"""Pieces of a context as token ids, each tokenized on its own."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from optimem.attachments import image_size
from optimem.errors import InputError
from optimem.modes import Tier
from optimem.readers import ImageCost
from optimem.values import (
    Attachment,
    Json,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    dump_json,
)
from optimem.vision.encoder import Encoder, Layout
from optimem.vision.frames import Frames

_PAPER = (127, 127, 127)  # around an attachment: DeepSeek-OCR's own padding


@dataclass(frozen=True, slots=True)
class Picture:
    """An image to be encoded.

    Attributes:
        name: its hash.
        tier: the mode.
        draw: gives its pixels in the size of a tier: (1 or 3, side, side), uint8.
        page: the page's number, if it is one that is left to workers.
    """

    name: str
    tier: Tier
    draw: Callable[[Tier], npt.NDArray[np.uint8]]
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Token ids with placeholders, and the picture that stands at these, if any."""

    ids: tuple[int, ...]
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes prompts for one model.

    Attributes:
        tokenizer: transformers' fast tokenizer.
        frames: what stands around messages.
        encoder: what an image is in the prompt.
    """

    tokenizer: Any
    frames: Frames
    encoder: Encoder

    def start(self, has_system: bool) -> Piece:
        """What the prompt begins with; a template's own system message only without another."""
        return self._template(self.frames.start + ("" if has_system else self.frames.default))

    def tools(self, tools: Sequence[Mapping[str, Json]]) -> Iterator[Piece]:
        """Tool schemas, as a system message."""
        front, behind = self.frames.roles["system"]
        yield from (self._template(front), self.text(dump_json(list(tools))))
        yield self._template(behind)

    def open_block(self) -> Piece:
        """What stands in front of the pages, which are together one message of the user's."""
        return self._template(self.frames.roles["user"][0])

    def close_block(self) -> Piece:
        """What stands behind the pages."""
        return self._template(self.frames.roles["user"][1])

    def answer(self) -> Piece:
        """What the model's answer begins behind."""
        return self._template(self.frames.answer)

    def question(self, picture: Picture, words: str) -> Iterator[Piece]:
        """A prompt of one image and what is asked of it."""
        yield from (self.start(False), self.open_block(), self.image(picture))
        yield self._template(words)
        if self.frames.answer:  # without a template the model goes on where the words end
            yield from (self.close_block(), self.answer())

    def turn(self, turn: Turn) -> Iterator[Piece]:
        """A whole message: its frame, its words and its images."""
        front, behind = self.frames.roles[turn.role]
        yield self._template(front)
        words = [f"{turn.name}:"] if turn.name and turn.role == "user" else []
        for part in _parts(turn):
            if isinstance(part, Attachment) and _is_shown(part):
                if words:
                    yield self.line("\n".join(words))
                yield self.attachment(part.data or b"")
                words = []
            else:
                words.append(_words_of(part))
        yield self.text("\n".join(words))
        yield self._template(behind)

    def line(self, text: str) -> Piece:
        """Words and the end of their line."""
        return self.text(text + "\n")

    def text(self, text: str) -> Piece:
        """Words of a user, model or tool: what looks like a special token stays plain text."""
        return Piece(tuple(self._plain(text)))

    def attachment(self, data: bytes) -> Piece:
        """An image that is no page, in the smallest mode that holds it whole."""
        with Image.open(io.BytesIO(data)) as image:
            tier = self.image_tier(*image.size)
        name = hashlib.sha256(data).hexdigest()
        return self.image(Picture(name, tier, lambda view: square(data, view)))

    def image(self, picture: Picture) -> Piece:
        """An image and the end of its line; raises InputError for modes that are not read."""
        return Piece(self.image_ids(picture.tier), picture)

    def image_ids(self, tier: Tier) -> tuple[int, ...]:
        """The ids of an image in a mode, with the end of its line; raises InputError."""
        ids: list[int] = []
        for part in (*self.layout(tier), "\n"):
            if isinstance(part, str):
                ids += self._template(part).ids
            else:
                ids += [self.encoder.model.config.image_token_id] * part
        return tuple(ids)

    def layout(self, tier: Tier) -> Layout:
        """What an image is in a mode; raises InputError for modes that are not read."""
        layouts = self.encoder.layouts
        if tier not in layouts:
            known = ", ".join(mode.label for mode in layouts)
            raise InputError(f"{self.encoder.name} does not read {tier.label} pages: use {known}")
        return layouts[tier]

    def image_tier(self, width: int, height: int) -> Tier:
        """The smallest mode that holds an image whole, else the largest single view."""
        single = [t for t in self.encoder.layouts if len(self.encoder.views(t)) == 1]
        holding = [tier for tier in single if tier.side >= max(width, height)]
        return min(holding, key=lambda t: t.side) if holding else max(single, key=lambda t: t.side)

    def _template(self, text: str) -> Piece:
        """Words of a template, special tokens included."""
        return Piece(tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]))

    def _plain(self, text: str) -> list[int]:
        """Ids of text; where it spells the placeholder, those of the placeholder's letters."""
        ids = self._split(text)
        placeholder = self.encoder.model.config.image_token_id
        if placeholder not in ids:
            return ids
        word = self.tokenizer.convert_ids_to_tokens(placeholder)
        letters = self._split(word[:1]) + self._split(word[1:])
        return [i for token in ids for i in (letters if token == placeholder else [token])]

    def _split(self, text: str) -> list[int]:
        encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        ids: list[int] = encoded["input_ids"]
        return ids


class Positions:
    """Counts what prompts take of a decoder: what `Profile` asks of a model that runs here.

    Args:
        write: writes its prompts.
    """

    def __init__(self, write: Writer) -> None:
        self._write = write

    def text(self, text: str) -> int:
        """Positions of a line of text beside pages."""
        return len(self._write.line(text).ids)

    def turn(self, turn: Turn) -> int:
        """Positions of a whole message, its images included."""
        return sum(len(piece.ids) for piece in self._write.turn(turn))

    def tools(self, tools: Sequence[Mapping[str, Json]]) -> int:
        """Positions of tool schemas."""
        return sum(len(piece.ids) for piece in self._write.tools(tools))

    def frame(self, *, has_system: bool, has_pages: bool) -> int:
        """Positions of what stands around everything else."""
        pieces = [self._write.start(has_system), self._write.answer()]
        if has_pages:
            pieces += [self._write.open_block(), self._write.close_block()]
        return sum(len(piece.ids) for piece in pieces)

    def image(self, width: int, height: int, *, mode: Tier | None = None) -> ImageCost:
        """Positions of an image, in the smallest mode that holds it unless one is named."""
        tier = self._write.image_tier(width, height) if mode is None else mode
        return ImageCost(len(self._write.image_ids(tier)), (tier.side, tier.side))


def square(data: bytes, tier: Tier) -> npt.NDArray[np.uint8]:
    """An image attachment within a grey square of a tier's size: (3, side, side).

    Raises:
        InputError: the bytes are no image that Pillow reads.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:  # Pillow's decoders raise all kinds of errors on damaged files
        raise InputError(f"the image attachment cannot be read: {error}") from None
    upright.thumbnail((tier.side, tier.side), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (tier.side, tier.side), _PAPER)
    canvas.paste(upright, ((tier.side - upright.width) // 2, (tier.side - upright.height) // 2))
    return np.asarray(canvas).transpose(2, 0, 1).copy()


def _parts(turn: Turn) -> Iterator[Text | Thinking | ToolCall | Attachment]:
    for part in turn.parts:
        if isinstance(part, ToolResult):
            yield from part.parts
        else:
            yield part


def _is_shown(attachment: Attachment) -> bool:
    """Whether an attachment is an image whose pixels are at hand."""
    return image_size(attachment) not in (None, (0, 0))


def _words_of(part: Text | Thinking | ToolCall | Attachment) -> str:
    if isinstance(part, ToolCall):
        return f"{part.name} {part.arguments}"
    if isinstance(part, Attachment):
        return f"[{part.kind} {part.name or part.url or part.media_type or 'attached'}]"
    return part.text
