"""What a decoder is given: ids with placeholders, vision tokens to put there, positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from optimem.errors import InputError
from optimem.modes import Tier
from optimem.values import Segment
from optimem.vision.encoder import Encoder


@dataclass(frozen=True, slots=True)
class Span:
    """Which positions a piece of the context takes.

    Attributes:
        start: its first position.
        stop: the position behind its last.
        segment: the piece: its `page` and `tier`, or its `turn`. None for the template's
            own words in front of and behind the context.
    """

    start: int
    stop: int
    segment: Segment | None


@dataclass(frozen=True, slots=True)
class Placed:
    """An image's vision tokens in a prompt.

    Attributes:
        key: names the tokens.
        tier: the mode.
        start: position of its first placeholder.
        stop: position behind its last; markers may stand between them.
        tokens: (planes, placeholders, width).
    """

    key: str
    tier: Tier
    start: int
    stop: int
    tokens: Tensor


@dataclass(frozen=True, slots=True)
class Past:
    """A decoder's keys and values, and which prompt they are of. See `ModelInputs.past`."""

    names: tuple[int | str, ...]
    cache: Any


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt.

    Attributes:
        ids: token ids, placeholders included.
        images: the images in order.
        spans: what stands where.
    """

    ids: tuple[int, ...]
    images: tuple[Placed, ...]
    spans: tuple[Span, ...]

    @property
    def names(self) -> tuple[int | str, ...]:
        """What stands at each position: a token's id, or an image's key."""
        found: list[int | str] = list(self.ids)
        for image in self.images:
            for position in range(image.start, image.stop):
                if self.ids[position] == self.ids[image.start]:
                    found[position] = image.key
        return tuple(found)


class ModelInputs(Mapping[str, Any]):
    """Keyword arguments for a model's `forward` and `generate`.

    `input_ids`, `attention_mask` and `position_ids` cover every position; vision tokens go
    in as `mm_encoder_outputs`, which the model puts at the placeholders. `generate` answers
    with the ids of the prompt and what comes behind them.

    Attributes:
        rows: the prompts of the batch.
        spans: what stands at which positions, for a single prompt.
    """

    def __init__(self, encoder: Encoder, rows: Sequence[Row], pad: int = 0) -> None:
        self.rows = tuple(rows)
        self._encoder = encoder
        self._pad = pad
        length = max(len(row.ids) for row in rows)
        device = encoder.model.device
        room = [length - len(row.ids) for row in rows]
        ids = [[pad] * left + list(row.ids) for left, row in zip(room, rows, strict=True)]
        mask = [[0] * left + [1] * len(row.ids) for left, row in zip(room, rows, strict=True)]
        self._arguments: dict[str, Any] = {
            "input_ids": torch.tensor(ids, device=device),  # (batch, length)
            "attention_mask": torch.tensor(mask, device=device),
        }
        images = [image for row in rows for image in row.images]
        self._arguments["position_ids"] = encoder.position_ids(
            self._arguments["input_ids"],
            self._arguments["attention_mask"],
            [image.tier for image in images],
        )
        if images:
            self._arguments["mm_encoder_outputs"] = self._outputs(images)

    @property
    def spans(self) -> tuple[Span, ...]:
        """What stands at which positions of a single prompt."""
        return self._only.spans

    def at(self, position: int) -> Segment | None:
        """The piece of the context that stands at a position of a single prompt."""
        for span in self.spans:
            if span.start <= position < span.stop:
                return span.segment
        raise InputError(f"no position {position} in a prompt of {len(self._only.ids)}")

    def past(self, cache: Any) -> Past:
        """What to hand to the next context, once the model has run: `output.past_key_values`."""
        return Past(self._only.names, cache)

    def after(self, past: Past) -> ModelInputs:
        """The same inputs without the positions that the decoder still has in its cache.

        What both prompts have in common at their beginning is kept; `past` itself stays as it
        is and can be used again. The attention mask still covers everything, as transformers
        wants it. A cache that forgets (sliding windows, as in Unlimited-OCR) or that has a
        fixed size cannot be shared so: then the prompt is given whole.
        """
        row = self._only
        if any(type(layer) is not DynamicLayer for layer in past.cache.layers):
            return self
        kept = min(_common(past.names, row.names), past.cache.get_seq_length(), len(row.ids) - 1)
        for image in row.images:  # an image is never cut in two
            if image.start < kept < image.stop:
                kept = image.start
        if kept == 0:
            return self
        found = ModelInputs(self._encoder, self.rows, self._pad)
        arguments = found._arguments
        arguments["input_ids"] = arguments["input_ids"][:, kept:]
        arguments["position_ids"] = arguments["position_ids"][..., kept:]
        arguments["past_key_values"] = _first(past.cache, kept)
        arguments.pop("mm_encoder_outputs", None)
        new = [image for image in row.images if image.start >= kept]
        if new:
            arguments["mm_encoder_outputs"] = self._outputs(new)
        return found

    def _outputs(self, images: Sequence[Placed]) -> dict[str, Any]:
        model = self._encoder.model
        tokens = [image.tokens.to(model.device, model.dtype) for image in images]
        return {"image": self._encoder.outputs(tokens)}

    @property
    def _only(self) -> Row:
        if len(self.rows) != 1:
            raise InputError(f"this is a batch of {len(self.rows)} prompts: ask each for its own")
        return self.rows[0]

    def __getitem__(self, name: str) -> Any:
        return self._arguments[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arguments)

    def __len__(self) -> int:
        return len(self._arguments)


def batch(inputs: Sequence[ModelInputs]) -> ModelInputs:
    """Several prompts as one batch, padded on the left, so that all their answers begin together.

    Raises:
        InputError: there are none, or they are for different models.
    """
    if not inputs or len({id(each._encoder.model) for each in inputs}) != 1:
        raise InputError("a batch needs at least one prompt, and one model for all of them")
    rows = [row for each in inputs for row in each.rows]
    return ModelInputs(inputs[0]._encoder, rows, inputs[0]._pad)


def _common(first: Sequence[object], second: Sequence[object]) -> int:
    """How many items two sequences have in common at their beginning."""
    pairs = zip(first, second, strict=False)
    differs = (n for n, (one, other) in enumerate(pairs) if one != other)
    return next(differs, min(len(first), len(second)))


def _first(cache: Any, length: int) -> Any:
    """The first positions of a cache, as one of its own that shares their memory."""
    found = copy(cache)
    found.layers = [copy(layer) for layer in cache.layers]  # a layer replaces its tensors
    found.crop(length - cache.get_seq_length())
    return found
