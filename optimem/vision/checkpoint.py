"""Finding and loading a checkpoint: safetensors only, nobody's code, every key accounted for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from safetensors import SafetensorError

from optimem.errors import ReaderError
from optimem.vision.chat import InternVL, Llava, QwenVL, SmolVLM
from optimem.vision.deepseek import DeepseekOcr, DeepseekOcr2
from optimem.vision.encoder import Encoder
from optimem.vision.frames import Frames, find_frames
from optimem.vision.got import FRAMES, GotOcr2
from optimem.vision.nano import NanoForConditionalGeneration, NanoOcr
from optimem.vision.quantize import QUANTIZED, load_int8

_FILES = ["*.json", "*.jinja", "*.safetensors"]
_NANO = Path(__file__).parent / "optimem-nano"


@dataclass(frozen=True, slots=True)
class Family:
    """How checkpoints of one kind are loaded.

    Attributes:
        title: what people call it.
        model: the class, or the name of transformers'; its configuration class goes with it.
        encoder: the adapter.
        rename: turns a published config.json into arguments of the configuration class.
        unused: pattern of keys that a checkpoint may have beyond the model's.
        frames: what stands around messages; the tokenizer's chat template by default.
    """

    title: str
    model: str | type[Any]
    encoder: Callable[[Any], Encoder]
    rename: Callable[[dict[str, Any]], dict[str, Any]] = lambda config: config
    unused: str = r"(?!)"
    frames: Frames | None = None


def _deepseek_config(config: dict[str, Any]) -> dict[str, Any]:
    """DeepSeek-OCR v1's config.json in the words of transformers' `unlimited_ocr`.

    The two are one architecture (2,709 of v1's 2,710 keys, the last being CLIP's patch
    embedding, which SAM's output replaces); v1's decoder attends to everything.
    """
    text = dict(config["language_config"])
    text["layer_types"] = ["full_attention"] * text["num_hidden_layers"]
    towers = config.get("vision_config", {}).get("width", {})
    return {
        "text_config": text,
        "vision_config": {
            "sam_config": _tower(towers.get("sam_vit_b", {}), "mlp_dim"),
            "encoder_config": _tower(towers.get("clip-l-14-224", {}), "intermediate_size"),
        },
        "image_token_id": config.get("image_token_id", 128815),
    }


def _tower(tower: Mapping[str, Any], hidden: str) -> dict[str, Any]:
    """A tower's sizes; those that are not named are the published model's."""
    names = {"width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads"}
    sizes = {names.get(name, name): size for name, size in tower.items()}
    return sizes | ({hidden: 4 * sizes["hidden_size"]} if "hidden_size" in sizes else {})


_V1 = Family(
    "DeepSeek-OCR",
    "UnlimitedOcrForConditionalGeneration",
    DeepseekOcr,
    _deepseek_config,
    unused=r"model\.vision_model\.embeddings\.patch_embedding\.weight",
)
_UNLIMITED = Family(
    "Unlimited-OCR",
    "UnlimitedOcrForConditionalGeneration",
    DeepseekOcr,
    unused=r"model\.vision_model\.embeddings\.patch_embedding\.weight",
)
_OCR2 = Family(  # the original's config.json needs its remote code; this one has transformers' own
    "deepseek-community/DeepSeek-OCR-2", "DeepseekOcr2ForConditionalGeneration", DeepseekOcr2
)

FAMILIES: Mapping[str, Family] = {
    "DeepseekOCRForCausalLM": _V1,
    "NanoForConditionalGeneration": Family("optimem-nano", NanoForConditionalGeneration, NanoOcr),
    "unlimited_ocr": _UNLIMITED,
    "deepseek_ocr2": _OCR2,
    "got_ocr2": Family("GOT-OCR2", "GotOcr2ForConditionalGeneration", GotOcr2, frames=FRAMES),
    "qwen2_5_vl": Family("Qwen2.5-VL", "Qwen2_5_VLForConditionalGeneration", QwenVL),
    "qwen3_vl": Family("Qwen3-VL", "Qwen3VLForConditionalGeneration", QwenVL),
    "internvl": Family("InternVL", "InternVLForConditionalGeneration", InternVL),
    "smolvlm": Family("SmolVLM", "SmolVLMForConditionalGeneration", SmolVLM),
    "llava": Family("LLaVA", "LlavaForConditionalGeneration", Llava),
}
"""By the architecture or model type that a checkpoint's config.json names."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded model with what belongs to it.

    Attributes:
        name: the checkpoint's own name.
        encoder: its eyes; `encoder.model` is the whole model.
        tokenizer: transformers' fast tokenizer.
        frames: what stands around messages in its prompt.
    """

    name: str
    encoder: Encoder
    tokenizer: Any
    frames: Frames


def load_checkpoint(name_or_path: str, device: str | None, dtype: Any) -> Checkpoint:
    """Load a checkpoint from a folder or from the Hugging Face hub.

    Raises:
        ReaderError: it cannot be had, is of no known kind, has no safetensors, or its keys
            are not the model's.
    """
    folder = _folder(name_or_path)
    config = _read_json(folder / "config.json")
    family = _family(config, name_or_path)
    if not list(folder.glob("*.safetensors")):
        raise ReaderError(
            f"{name_or_path} has no .safetensors files: pickled weights are not loaded"
        )
    tokenizer = _load_tokenizer(folder)
    model = _load_model(family, folder, config, dtype)
    words = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > words:
        raise ReaderError(
            f"{folder}: its tokenizer has {len(tokenizer)} tokens and its model {words}: they are"
            " of different models"
        )
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    frames = family.frames or find_frames(tokenizer)
    return Checkpoint(folder.name, family.encoder(model), tokenizer, frames)


def weights_hash(model: Any) -> str:
    """Hash of all weights but the decoder's: models that share an encoder share its tokens.

    Names are left out, so that the same weights hash alike in each release that renames them.
    """
    others = [model.get_decoder(), model.get_output_embeddings()]
    decoder = {id(weight) for part in others for weight in part.parameters()}
    found = hashlib.sha256()
    for weight in model.parameters():
        if id(weight) not in decoder:
            found.update(f"{weight.dtype}{tuple(weight.shape)}".encode())
            found.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def _folder(name_or_path: str) -> Path:
    if name_or_path == "nano":
        if not (_NANO / "config.json").exists():
            raise ReaderError("this installation carries no optimem-nano: name another checkpoint")
        return _NANO
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    try:
        return Path(snapshot_download(name_or_path, allow_patterns=_FILES))
    except Exception as error:  # the hub's client raises its own and its transport's errors
        why, _, _ = str(error).partition("\n")
        raise ReaderError(
            f"{name_or_path} is no folder here and cannot be fetched: {why}"
        ) from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReaderError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ReaderError(f"{path} is no JSON object")
    return found


def _family(config: Mapping[str, Any], name: str) -> Family:
    kinds = [*(config.get("architectures") or ()), config.get("model_type")]
    for kind in kinds:
        if kind in FAMILIES:
            return FAMILIES[kind]
    known = ", ".join(dict.fromkeys(family.title for family in FAMILIES.values()))
    found = " or ".join(str(kind) for kind in kinds if kind) or "nothing"
    raise ReaderError(f"{name} says that it is {found}, which takes no pages here. Use {known}")


def _load_tokenizer(folder: Path) -> Any:
    if not (folder / "tokenizer.json").exists():
        raise ReaderError(f"{folder} has no tokenizer.json")
    try:
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    except Exception as error:  # tokenizers raises nothing narrower on damaged files
        raise ReaderError(f"{folder}: its tokenizer cannot be loaded: {error}") from None
    template = folder / "chat_template.json"  # where processors kept it before 2025
    if tokenizer.chat_template is None and template.exists():
        tokenizer.chat_template = _read_json(template).get("chat_template")
    return tokenizer


def _load_model(family: Family, folder: Path, config: dict[str, Any], dtype: Any) -> Any:
    kind: Any = family.model
    if isinstance(kind, str):
        kind = getattr(transformers, kind)
    quantized = load_int8(folder, config) if QUANTIZED in config else None
    try:
        arguments = family.rename({key: config[key] for key in config if key != QUANTIZED})
        model, report = kind.from_pretrained(
            folder if quantized is None else None,
            config=kind.config_class(**arguments),
            state_dict=quantized,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise ReaderError(f"{folder} cannot be loaded as {family.title}: {error}") from None
    unexpected = [k for k in report["unexpected_keys"] if not re.fullmatch(family.unused, k)]
    for trouble, keys in (("missing", report["missing_keys"]), ("unknown", unexpected)):
        if keys:
            some = ", ".join(sorted(map(str, keys))[:5])
            raise ReaderError(f"{folder}: {len(keys)} weights are {trouble}: {some}")
    return model
