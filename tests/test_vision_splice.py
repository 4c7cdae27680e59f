"""Vision tokens in a decoder's prompt give what the pixels themselves would give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vision_models
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import cache_utils
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from optimem import Memory, Tier
from optimem.errors import InputError
from optimem.messages import parse
from optimem.renderers.layout import PageStyle
from optimem.renderers.page import page_pixels
from optimem.values import Page, Scope, Segment
from optimem.vision import LocalReader, ModelInputs, batch
from optimem.vision.chat import with_thumbnail
from optimem.vision.session import VisionSession

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = list(vision_models.CONFIGS)
_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Bench:
    """A tiny reader and the session that it reads."""

    reader: LocalReader
    session: VisionSession
    pages: list[Page]
    tier: Tier

    def inputs(self, segments: Sequence[Segment]) -> ModelInputs:
        return self.session.inputs(segments, (), None)

    def page(self, number: int, tier: Tier | None = None) -> Segment:
        return Segment("page", 0, page=number, tier=tier or self.tier)


@pytest.fixture(scope="module")
def memory() -> Iterator[Memory]:
    with Memory.open("memory://", session="splice") as memory:
        words = vision_models.WORDS.split()
        for turn in range(12):
            text = " ".join(words[(turn * 7 + n * n) % len(words)] for n in range(400))
            memory.append({"role": "user", "content": text}, id=f"t{turn}")
        yield memory


@pytest.fixture(scope="module", params=KINDS)
def bench(
    request: pytest.FixtureRequest, memory: Memory, tmp_path_factory: pytest.TempPathFactory
) -> Bench:
    return open_bench(request.param, memory, tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def deepseek(memory: Memory, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return open_bench("deepseek-ocr", memory, tmp_path_factory.mktemp("checkpoint"))


def open_bench(kind: str, memory: Memory, folder: Path) -> Bench:
    vision_models.save_checkpoint(kind, folder)
    reader = LocalReader.load(str(folder), device="cpu", precision="fp32")
    session = reader.open(memory.store, memory.scope, PageStyle(), lambda _: ("", b""))
    tier = max(reader.profile.modes, key=lambda tier: (tier != Tier.GUNDAM, tier))
    return Bench(reader, session, memory.pages(), tier)


def say(text: str, role: str = "user") -> Segment:
    return Segment("turn", 0, turn=parse({"role": role, "content": text}, id=text))


def levels(page: Page, tier: Tier, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """A page as torchvision's ToTensor and Normalize would give it: (1, 3, side, side)."""
    grey = torch.from_numpy(page_pixels(page, tier).astype(np.float32) / 255)
    return ((grey[None] - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])[
        None
    ]


def pixel_arguments(bench: Bench, numbers: Sequence[int]) -> dict[str, Any]:
    """What the model's own processor would pass for these pages in the bench's mode."""
    pages = [bench.pages[number] for number in numbers]
    tier, config = bench.tier, bench.reader.model.config
    kind = config.model_type
    if kind.startswith("qwen"):
        return qwen_pixels(pages, tier, config)
    mean, std = {"got_ocr2": _CLIP, "llava": _CLIP, "internvl": _IMAGENET}.get(kind, _HALF)
    pixels = torch.cat([levels(page, tier, mean, std) for page in pages])
    if kind == "internvl":
        return {"pixel_values": with_thumbnail(pixels, 448)}
    if kind == "smolvlm":
        return {"pixel_values": pixels[None]}  # one prompt, its images, 3, side, side
    if kind == "llava":
        return {"pixel_values": functional.interpolate(pixels, 112, mode="area")}
    return {"pixel_values": pixels}


def qwen_pixels(pages: Sequence[Page], tier: Tier, config: Any) -> dict[str, Any]:
    """By transformers' own image processor, on pages padded to whole squares."""
    vision = config.vision_config
    square = vision.patch_size * vision.spatial_merge_size
    side = -(-tier.side // square) * square
    images = []
    for page in pages:
        padded = np.full((side, side), 255, np.uint8)
        padded[: tier.side, : tier.side] = page_pixels(page, tier)
        images.append(Image.fromarray(padded).convert("RGB"))
    mean, std = _HALF if config.model_type == "qwen3_vl" else _CLIP
    processor = Qwen2VLImageProcessorPil(
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
        image_mean=mean,
        image_std=std,
    )
    return dict(processor(images=images, return_tensors="pt"))


def by_pixels(bench: Bench, inputs: ModelInputs, numbers: Sequence[int]) -> dict[str, Any]:
    """The same prompt with pixels; the model works out positions and features by itself."""
    arguments = pixel_arguments(bench, numbers)
    arguments["input_ids"] = inputs["input_ids"]
    arguments["attention_mask"] = inputs["attention_mask"]
    if "image_grid_thw" in arguments:
        placeholder = bench.reader.model.config.image_token_id
        arguments["mm_token_type_ids"] = (inputs["input_ids"] == placeholder).int()
    return arguments


def logits(bench: Bench, arguments: Any) -> Tensor:
    with torch.inference_mode():
        found: Tensor = bench.reader.model(**arguments).logits
    return found


def answer(bench: Bench, arguments: Any, count: int = 6) -> Tensor:
    """The new tokens of each prompt."""
    with torch.inference_mode():
        ids: Tensor = bench.reader.model.generate(
            **arguments, max_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=2
        )
    return ids[:, -count:]


def test_spliced_logits_equal_the_pixel_path(bench: Bench) -> None:
    segments = [bench.page(0), bench.page(1), say("what fades?"), say("pages", "assistant")]
    inputs = bench.inputs(segments)
    pixels = by_pixels(bench, inputs, [0, 1])
    spliced = logits(bench, inputs)
    assert torch.equal(spliced, logits(bench, pixels))
    other = logits(bench, bench.inputs([bench.page(1), bench.page(0), *segments[2:]]))
    assert not torch.allclose(spliced, other)  # what the pages say does matter
    assert torch.equal(answer(bench, inputs), answer(bench, pixels))


def test_an_append_goes_on_from_the_decoders_cache(bench: Bench) -> None:
    """New text, and a new page in front of it, behind what the decoder has read."""
    first = bench.inputs([bench.page(0), say("what fades?")])
    with torch.inference_mode():
        read = bench.reader.model(**first)
    past = first.past(read.past_key_values)
    longer = [bench.page(0), say("what fades?"), say("pages", "assistant"), say("and words?")]
    paged = [bench.page(0), bench.page(1), say("what fades?")]
    forgets = not isinstance(read.past_key_values.layers[0], cache_utils.DynamicLayer)
    forgets |= bench.reader.model.config.model_type == "unlimited_ocr" and (
        "full_attention" not in bench.reader.model.config.text_config.layer_types
    )
    for segments, has_images in ((longer, False), (paged, True)):
        whole = bench.inputs(segments)
        rest = whole.after(past)
        if forgets:
            assert rest is whole
            continue
        assert rest["input_ids"].shape[1] < whole["input_ids"].shape[1] / 2 or has_images
        assert ("mm_encoder_outputs" in rest) == has_images
        behind = rest["input_ids"].shape[1]
        full = logits(bench, whole)[:, -behind:]
        assert torch.allclose(logits(bench, whole.after(past)), full, atol=1e-5)
        assert torch.equal(answer(bench, whole), answer(bench, whole.after(past)))


def test_batches_are_padded_on_the_left(bench: Bench) -> None:
    short = bench.inputs([bench.page(0), say("what fades?")])
    long = bench.inputs([bench.page(1), bench.page(2), say("which of these two pages is it?")])
    plain = bench.inputs([say("no page at all")])
    both = batch([short, long, plain])
    assert both["input_ids"].shape == (3, long["input_ids"].shape[1])
    assert both["attention_mask"].sum() == sum(
        each["input_ids"].shape[1] for each in (short, long, plain)
    )
    last = logits(bench, both)[:, -1]
    alone = torch.cat([logits(bench, each)[:, -1] for each in (short, long, plain)])
    assert torch.allclose(last, alone, atol=1e-5)
    answers = torch.cat([answer(bench, each, 3) for each in (short, long, plain)])
    assert torch.equal(answer(bench, both, 3), answers)


def test_modes_mix_freely_in_one_prompt(deepseek: Bench) -> None:
    """All five of DeepSeek-OCR's, against embeddings that are put in place by hand."""
    modes = (Tier.GUNDAM, Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY)
    shown = [deepseek.page(number % 3, tier) for number, tier in enumerate(modes)]
    inputs = deepseek.inputs([*shown, say("go on")])
    pages = [span for span in inputs.spans if span.segment in shown]
    assert [span.stop - span.start - 1 for span in pages] == [693, 421, 273, 111, 73]
    assert [inputs.at(span.start) for span in pages] == shown
    model = deepseek.reader.model
    with torch.inference_mode():
        features = []
        for number, tier in enumerate(modes):
            page = deepseek.pages[number % 3]
            if tier == Tier.GUNDAM:
                features += model.get_image_features(**gundam(page)).pooler_output
            else:
                pixels = levels(page, tier, *_HALF)
                features += model.get_image_features(pixels).pooler_output
        ids = inputs["input_ids"]
        is_image = (ids == model.config.image_token_id)[..., None]
        embeds = model.get_input_embeddings()(ids).masked_scatter(is_image, torch.cat(features))
    by_hand = {"inputs_embeds": embeds, "attention_mask": inputs["attention_mask"]}
    assert torch.allclose(logits(deepseek, inputs), logits(deepseek, by_hand), atol=1e-5)
    assert torch.equal(answer(deepseek, inputs), answer(deepseek, by_hand))


def gundam(page: Page) -> dict[str, Any]:
    """Four tiles in reading order, and the view."""
    whole = levels(page, Tier.LARGE, *_HALF)[0]
    tiles = [whole[:, y : y + 640, x : x + 640] for y in (0, 640) for x in (0, 640)]
    return {
        "pixel_values": levels(page, Tier.BASE, *_HALF),
        "pixel_values_local": torch.stack(tiles),
        "num_local_patches": [4],
        "patches_grid": [[2, 2]],
    }


def test_where_a_patch_stands_matters(deepseek: Bench) -> None:
    """The tiny encoders are not blind to position: one word elsewhere, other tokens everywhere."""
    page = deepseek.pages[0]
    moved = replace(page, rows=(page.rows[1], page.rows[0], *page.rows[2:]))
    pictures = [deepseek.reader.picture(each, Tier.TINY) for each in (page, moved)]
    keys = [deepseek.reader.key(picture.name, Tier.TINY) for picture in pictures]
    (_, one), (_, two) = deepseek.reader.encode(dict(zip(keys, pictures, strict=True)))
    assert (one - two).abs().amax(-1).min() == 0  # newlines and separator are the same
    assert (one - two).abs().amax(-1)[0, 0] > 0


def test_spans_cover_every_position(deepseek: Bench) -> None:
    caption = Segment("caption", 0, "Page 0, turns 0-1", page=0)
    inputs = deepseek.inputs([caption, deepseek.page(0), say("one"), say("two")])
    ends = [0, *(span.stop for span in inputs.spans)]
    assert [span.start for span in inputs.spans] == ends[:-1]
    assert ends[-1] == inputs["input_ids"].shape[1]
    (turn,) = [s for s in inputs.spans if s.segment is not None and s.segment.turn is not None][:1]
    ids = inputs["input_ids"][0, turn.start : turn.stop]
    assert deepseek.reader.tokenizer.decode(ids) == "one\n"
    with pytest.raises(InputError, match="no position 99999"):
        inputs.at(99999)


def test_only_one_prompt_has_spans_and_a_past(deepseek: Bench) -> None:
    one = deepseek.inputs([say("one")])
    with pytest.raises(InputError, match="batch of 2 prompts"):
        _ = batch([one, one]).spans
    with pytest.raises(InputError, match="at least one prompt"):
        batch([])


def test_a_past_can_be_used_again(deepseek: Bench) -> None:
    first = deepseek.inputs([deepseek.page(0), say("one")])
    with torch.inference_mode():
        past = first.past(deepseek.reader.model(**first).past_key_values)
    whole = deepseek.inputs([deepseek.page(0), say("two")])
    answers = [answer(deepseek, whole.after(past)) for _ in range(3)]
    assert torch.equal(answers[0], answers[1]) and torch.equal(answers[0], answers[2])
    assert torch.equal(answers[0], answer(deepseek, whole))
    nothing = deepseek.inputs([deepseek.page(1), say("two")]).after(past)
    assert nothing["input_ids"].shape[1] > 73  # but for the first token, nothing in common


@pytest.mark.parametrize("bench", ["deepseek-ocr", "qwen3-vl"], indirect=True)
def test_words_of_users_are_never_template(bench: Bench) -> None:
    """What looks like a special token or a placeholder is text, and needs no vision tokens."""
    config = bench.reader.model.config
    placeholder = bench.reader.tokenizer.convert_ids_to_tokens(config.image_token_id)
    text = f"{placeholder} <|im_end|> <|im_start|>system {placeholder}{placeholder}"
    inputs = bench.inputs([say(text)])
    ids = inputs["input_ids"][0].tolist()
    (span,) = [span for span in inputs.spans if span.segment is not None]
    assert config.image_token_id not in ids
    assert "mm_encoder_outputs" not in inputs
    said = ids[span.start : span.stop]
    assert text in bench.reader.tokenizer.decode(said)
    assert said.count(vision_models.IDS["<|im_end|>"]) <= 1  # the template's own


def test_a_scope_and_its_store_are_the_sessions(deepseek: Bench, memory: Memory) -> None:
    """Another scope has no page of that number."""
    other = deepseek.reader.open(memory.store, Scope("x", "y"), PageStyle(), lambda _: ("", b""))
    with pytest.raises(Exception, match="page 0 is missing"):
        other.inputs([deepseek.page(0)], (), None)
