"""Tiny models of every family that `LocalReader` reads, with random weights.

Each is saved as a checkpoint of its kind and loaded through the front door. Position tables
are drawn anew, since transformers begins them at zero, which would hide where a pixel is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = [
    *("<bos>", "<eos>", "<pad>", "<image>", "<img>", "</img>", "<imgpad>", "<IMG_CONTEXT>"),
    *("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"),
    *("<|video_pad|>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"),
    *(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)),
]
IDS = {token: number for number, token in enumerate(SPECIAL)}
CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe good.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for p in m['content'] %}{{ p['text'] }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOL = (
    "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}: "
    "{% for p in m['content'] %}{{ p['text'] }}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
LLAVA = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('none') }}"
    "{% elif m['role'] == 'user' %}USER: {{ m['content'] }} "
    "{% else %}ASSISTANT: {{ m['content'] }}<eos>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
WORDS = "the quick brown fox jumps over the lazy dog while pages fade and words stay exact"

_SAM: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "output_channels": 8,
    "mlp_dim": 16,
    "global_attn_indexes": [1],
    "initializer_range": 0.05,
}
_TEXT: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 16384,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
_EXPERTS: dict[str, Any] = {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}
_SMALL_EYES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def unlimited(layers: str = "full_attention") -> Any:
    """DeepSeek-OCR's shape; `layers` says what its decoder attends to."""
    return transformers.UnlimitedOcrConfig(
        image_token_id=IDS["<image>"],
        vision_config={
            "sam_config": {**_SAM, "downsample_channels": [16, 32]},
            "encoder_config": _SMALL_EYES,
        },
        text_config={**_TEXT, **_EXPERTS, "layer_types": [layers] * 2, "sliding_window": 8},
    )


def deepseek2() -> Any:
    return transformers.DeepseekOcr2Config(
        image_token_id=IDS["<image>"],
        vision_config={
            "sam_config": {**_SAM, "downsample_channels": [16, 32]},
            "encoder_config": {**_SMALL_EYES, "num_key_value_heads": 2},
        },
        text_config={
            **_TEXT,
            **_EXPERTS,
            "n_group": 1,
            "topk_group": 1,
            "mlp_layer_types": ["dense", "sparse"],
        },
    )


def got() -> Any:
    return transformers.GotOcr2Config(
        image_token_index=IDS["<imgpad>"],
        vision_config={**_SAM, "image_size": 512, "patch_size": 16},
        text_config={"model_type": "qwen2", **_TEXT},
    )


def qwen25() -> Any:
    return transformers.Qwen2_5_VLConfig(
        image_token_id=IDS["<|image_pad|>"],
        video_token_id=IDS["<|video_pad|>"],
        vision_start_token_id=IDS["<|vision_start|>"],
        vision_end_token_id=IDS["<|vision_end|>"],
        vision_config={
            **_heads(_SMALL_EYES),
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
            "window_size": 112,
        },
        text_config={**_TEXT, "rope_parameters": _mrope()},
    )


def qwen3() -> Any:
    return transformers.Qwen3VLConfig(
        image_token_id=IDS["<|image_pad|>"],
        video_token_id=IDS["<|video_pad|>"],
        vision_start_token_id=IDS["<|vision_start|>"],
        vision_end_token_id=IDS["<|vision_end|>"],
        vision_config={
            **_heads(_SMALL_EYES),
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        text_config={**_TEXT, "head_dim": 16, "rope_parameters": _mrope()},
    )


def internvl() -> Any:
    return transformers.InternVLConfig(
        image_token_id=IDS["<IMG_CONTEXT>"],
        vision_config={**_SMALL_EYES, "image_size": [448, 448], "patch_size": [28, 28]},
        text_config={"model_type": "qwen2", **_TEXT},
        image_seq_length=64,
    )


def smolvlm() -> Any:
    return transformers.SmolVLMConfig(
        image_token_id=IDS["<image>"],
        vision_config={**_SMALL_EYES, "image_size": 512, "patch_size": 32},
        text_config={"model_type": "llama", **_TEXT},
        scale_factor=4,
    )


def llava() -> Any:
    eyes = {**_SMALL_EYES, "image_size": 112, "patch_size": 14, "projection_dim": 32}
    return transformers.LlavaConfig(
        image_token_index=IDS["<image>"],
        vision_config={"model_type": "clip_vision_model", **eyes},
        text_config={"model_type": "llama", **_TEXT},
        image_seq_length=64,
    )


CONFIGS = {
    "deepseek-ocr": unlimited,
    "unlimited-ocr": lambda: unlimited("reference_sliding_attention"),
    "deepseek-ocr-2": deepseek2,
    "got-ocr2": got,
    "qwen2.5-vl": qwen25,
    "qwen3-vl": qwen3,
    "internvl": internvl,
    "smolvlm": smolvlm,
    "llava": llava,
}
TEMPLATES = {
    "qwen2.5-vl": CHATML,
    "qwen3-vl": CHATML,
    "internvl": CHATML,
    "smolvlm": SMOL,
    "llava": LLAVA,
}


def random_model(kind: str) -> Any:
    """A model of this kind, seeded, whose position tables say where they are."""
    config = CONFIGS[kind]()
    architecture = next(
        family.model for key, family in _families().items() if key == config.model_type
    )
    torch.manual_seed(7)
    model = getattr(transformers, architecture)(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if any(part in name for part in ("pos_embed", "rel_pos", "newline", "separator")):
                weight.normal_(0, 0.1)
    return model


def save_checkpoint(kind: str, folder: Path) -> Path:
    """A tiny checkpoint of this kind, as `save_pretrained` writes it, with a tokenizer."""
    random_model(kind).save_pretrained(folder)
    save_tokenizer(folder, TEMPLATES.get(kind))
    return folder


def save_tokenizer(folder: Path, template: str | None) -> None:
    """A byte-level BPE of 320 tokens, trained here."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([WORDS] * 3, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "chat_template": template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _families() -> Any:
    from optimem.vision.checkpoint import FAMILIES

    return FAMILIES


def _heads(sizes: dict[str, Any]) -> dict[str, Any]:
    """Qwen's own names for the sizes of its eyes."""
    return {
        "hidden_size": sizes["hidden_size"],
        "intermediate_size": sizes["intermediate_size"],
        "depth": sizes["num_hidden_layers"],
        "num_heads": sizes["num_attention_heads"],
    }


def _mrope() -> dict[str, Any]:
    return {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [2, 3, 3],
        "mrope_interleaved": True,
    }
