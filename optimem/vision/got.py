"""GOT-OCR2: 256 vision tokens for a page of 1024 px, and prompts that read a part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from optimem.errors import InputError
from optimem.modes import Tier
from optimem.vision.encoder import Encoder, Layout, one_tensor, to_levels
from optimem.vision.frames import Frames

_MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's
_STD = (0.26862954, 0.26130258, 0.27577711)
_PX = 64
_END = "<|im_end|>"

FRAMES = Frames(
    start="",
    default="<|im_start|>system\nYou should follow the instructions carefully and explain your"
    " answers in detail.<|im_end|>",
    roles={
        "system": ("<|im_start|>system\n", _END),
        "user": ("<|im_start|>user\n", _END),
        "assistant": ("<|im_start|>assistant\n", _END),
        "tool": ("<|im_start|>user\n", _END),
    },
    answer="<|im_start|>assistant\n",
)
"""The conversation that GOT-OCR2 was trained on (arXiv 2409.01704): ChatML without line ends."""

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in thousandths of the page's sides."""


@dataclass(frozen=True, slots=True)
class GotOcr2(Encoder):
    """GOT-OCR2 (arXiv 2409.01704). `model` is GotOcr2ForConditionalGeneration."""

    name = "got-ocr2"
    reading = "OCR: "

    @property
    def layouts(self) -> Mapping[Tier, Layout]:
        """One mode: the size that the encoder was built for, 1024 px in the published model."""
        side = self.model.config.vision_config.image_size
        fitting = (t for t in (Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY) if t.side == side)
        return dict.fromkeys(fitting, ("<img>", (side // _PX) ** 2, "</img>"))

    def encode(self, views: Sequence[Tensor], tier: Tier) -> Tensor:
        """See `Encoder.encode`."""
        images = to_levels(views[0], self.model, _MEAN, _STD)
        found = self.model.get_image_features(images, return_dict=True)
        tokens: Tensor = found.pooler_output  # (b, 256, width)
        return tokens[:, None]

    def outputs(self, tokens: Sequence[Tensor]) -> object:
        """See `Encoder.outputs`; this model takes one tensor."""
        return one_tensor(tokens)


def part_prompt(
    box: Box | None = None, color: Literal["red", "green", "blue"] | None = None
) -> str:
    """Asks GOT-OCR2 for the text in a box, or inside a frame of a colour.

    Raises:
        InputError: a box that is none, or both at once.
    """
    if box is not None and color is not None:
        raise InputError("a part of a page is named by a box or by a colour, not by both")
    if color is not None:
        return f"[{color}] OCR: "
    if box is None:
        return "OCR: "
    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 <= 1000 and 0 <= y1 < y2 <= 1000):
        raise InputError(f"{box} is no box: x1 < x2 and y1 < y2, in thousandths of the page")
    return f"[{x1},{y1},{x2},{y2}] OCR: "
