"""Loading: the right family, every key accounted for, nobody's code, and clear refusals."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import vision_models
from safetensors.torch import load_file, save_file

import optimem.vision
from optimem import Tier
from optimem.errors import ReaderError
from optimem.values import Role
from optimem.vision import LocalReader, checkpoint
from optimem.vision.frames import find_frames

V1_KEYS = Path(__file__).parent / "data" / "deepseek_ocr_v1_keys.txt.gz"
PATCHES = "model.vision_model.embeddings.patch_embedding.weight"
V1: dict[str, Any] = {  # the published config.json, as far as sizes go
    "architectures": ["DeepseekOCRForCausalLM"],
    "auto_map": {"AutoModel": "modeling_deepseekocr.DeepseekOCRForCausalLM"},
    "model_type": "deepseek_vl_v2",
    "language_config": {
        "bos_token_id": 0,
        "eos_token_id": 1,
        "first_k_dense_replace": 1,
        "hidden_size": 1280,
        "intermediate_size": 6848,
        "lm_head": True,
        "max_position_embeddings": 8192,
        "moe_intermediate_size": 896,
        "n_group": 1,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "num_attention_heads": 10,
        "num_experts_per_tok": 6,
        "num_hidden_layers": 12,
        "num_key_value_heads": 10,
        "topk_group": 1,
        "topk_method": "greedy",
        "use_mla": False,
        "vocab_size": 129280,
    },
    "vision_config": {
        "image_size": 1024,
        "width": {
            "clip-l-14-224": {"heads": 16, "image_size": 224, "layers": 24, "width": 1024},
            "sam_vit_b": {
                "downsample_channels": [512, 1024],
                "global_attn_indexes": [2, 5, 8, 11],
                "heads": 12,
                "layers": 12,
                "width": 768,
            },
        },
    },
}


def narrow(config: dict[str, Any]) -> dict[str, Any]:
    """As many layers and experts, so as many keys, each of them tiny."""
    text = config["language_config"] | {"hidden_size": 16, "intermediate_size": 8}
    text |= {"moe_intermediate_size": 4, "num_attention_heads": 2, "num_key_value_heads": 2}
    text |= {"vocab_size": 320}
    towers = config["vision_config"]["width"]
    clip = towers["clip-l-14-224"] | {"width": 16, "heads": 2}
    sam = towers["sam_vit_b"] | {"width": 8, "heads": 1, "downsample_channels": [8, 8]}
    vision = {"width": {"clip-l-14-224": clip, "sam_vit_b": sam}}
    return config | {"language_config": text, "vision_config": vision, "image_token_id": 3}


@pytest.fixture(scope="module")
def v1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with every key of the published one, and traps that nothing may touch."""
    folder = tmp_path_factory.mktemp("DeepSeek-OCR")
    config = narrow(V1)
    arguments = checkpoint.FAMILIES["DeepseekOCRForCausalLM"].rename(config)
    torch.manual_seed(3)
    model = transformers.UnlimitedOcrForConditionalGeneration(
        transformers.UnlimitedOcrConfig(**arguments)
    )
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {**weights, PATCHES: torch.zeros(16, 3, 14, 14)},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_deepseekocr.py").write_text("raise SystemExit('remote code ran')")
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    vision_models.save_tokenizer(folder, None)
    return folder


def test_a_v1_checkpoint_is_read_key_by_key(v1: Path) -> None:
    published = set(gzip.decompress(V1_KEYS.read_bytes()).decode().split())
    weights = load_file(v1 / "model.safetensors")
    assert len(published) == 2710 and set(weights) == published
    reader = LocalReader.load(str(v1), device="cpu", dtype=torch.float32)
    assert reader.profile.name == f"local:deepseek-ocr/{v1.name}"
    assert reader.profile.window == 8192
    assert list(reader.profile.modes) == [
        *(Tier.GUNDAM, Tier.LARGE, Tier.BASE, Tier.SMALL, Tier.TINY)
    ]
    assert set(reader.model.config.text_config.layer_types) == {"full_attention"}
    layer = "model.layers.11.mlp.experts.63.down_proj.weight"
    experts = reader.model.model.language_model.layers[11].mlp.experts
    assert torch.equal(experts.down_proj[63], weights[layer])
    newline = reader.model.model.image_newline
    assert torch.equal(newline, weights["model.image_newline"])


def test_the_published_size_is_the_published_model() -> None:
    arguments = checkpoint.FAMILIES["DeepseekOCRForCausalLM"].rename(V1)
    with torch.device("meta"):
        model = transformers.UnlimitedOcrForConditionalGeneration(
            transformers.UnlimitedOcrConfig(**arguments)
        )
    assert sum(weight.numel() for weight in model.parameters()) == 3_335_504_128


def test_a_key_too_few_or_too_many_is_named(tmp_path: Path) -> None:
    path = vision_models.save_checkpoint("deepseek-ocr", tmp_path) / "model.safetensors"
    weights = load_file(path)
    newline = "model.image_newline"
    less = {name: weight for name, weight in weights.items() if name != newline}
    save_file(less, path, {"format": "pt"})
    with pytest.raises(ReaderError, match=r"1 weights are missing: model\.image_newline"):
        LocalReader.load(str(tmp_path))
    save_file({**weights, "model.adapter": torch.zeros(1)}, path, {"format": "pt"})
    with pytest.raises(ReaderError, match=r"1 weights are unknown: model\.adapter"):
        LocalReader.load(str(tmp_path))
    save_file({**weights, newline: torch.zeros(17)}, path, {"format": "pt"})
    with pytest.raises(ReaderError, match="cannot be loaded as Unlimited-OCR"):
        LocalReader.load(str(tmp_path))
    path.write_bytes(b"no tensors at all")
    with pytest.raises(ReaderError, match="cannot be loaded as Unlimited-OCR"):
        LocalReader.load(str(tmp_path))


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    """Its ids would mean other words, or none."""
    vision_models.save_checkpoint("deepseek-ocr", tmp_path)
    path = tmp_path / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"].append(
        dict(tokenizer["added_tokens"][0], id=320, content="<one more>")
    )
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(ReaderError, match="tokenizer has 321 tokens and its model 320"):
        LocalReader.load(str(tmp_path))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"config\.json cannot be read"),
        ({"config.json": "{"}, r"config\.json cannot be read"),
        ({"config.json": "[]"}, "is no JSON object"),
        ({"config.json": "{}"}, "says that it is nothing, which takes no pages"),
        (
            {"config.json": '{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}'},
            "LlamaForCausalLM or llama, which takes no pages here. Use DeepSeek-OCR, optimem-nano,"
            " Unlimited-OCR, deepseek-community/DeepSeek-OCR-2, GOT-OCR2, Qwen2.5-VL, Qwen3-VL,"
            " InternVL, SmolVLM, LLaVA",
        ),
        (
            {"config.json": '{"architectures": ["DeepseekOCR2ForCausalLM"]}'},
            "DeepseekOCR2ForCausalLM, which takes no pages here.*deepseek-community",
        ),
        (
            {"config.json": '{"model_type": "got_ocr2"}', "pytorch_model.bin": "x"},
            "pickled weights are not loaded",
        ),
        (
            {"config.json": '{"model_type": "got_ocr2"}', "model.safetensors": "x"},
            "has no tokenizer.json",
        ),
        (
            {
                "config.json": '{"model_type": "got_ocr2"}',
                "model.safetensors": "x",
                "tokenizer.json": "{}",
            },
            "its tokenizer cannot be loaded",
        ),
    ],
)
def test_what_cannot_be_loaded_is_said(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ReaderError, match=message):
        LocalReader.load(str(tmp_path))


def test_a_name_that_is_not_on_the_hub_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def offline(name: str, allow_patterns: list[str]) -> str:
        asked[name] = allow_patterns
        raise ConnectionError("no network")

    monkeypatch.setattr(checkpoint, "snapshot_download", offline)
    with pytest.raises(ReaderError, match="someone/model is no folder here and cannot be fetched"):
        LocalReader.load("someone/model")
    assert not any(re.search(r"\.(py|bin|pt|pkl)$", p) for p in asked["someone/model"])


def test_models_that_share_an_encoder_share_its_tokens(tmp_path: Path) -> None:
    """Unlimited-OCR is DeepSeek-OCR with another decoder; GOT-OCR2 is not."""
    found = []
    for kind in ("deepseek-ocr", "unlimited-ocr", "got-ocr2"):
        folder = tmp_path / kind
        vision_models.save_checkpoint(kind, folder)
        found.append(LocalReader.load(str(folder), device="cpu"))
    v1, unlimited, got = found
    assert v1.key("page", Tier.BASE) == unlimited.key("page", Tier.BASE)
    assert v1.weights != got.weights
    assert list(unlimited.profile.modes) == [Tier.GUNDAM, Tier.BASE]
    with torch.no_grad():
        unlimited.model.model.image_newline[0] += 1
    again = LocalReader(
        checkpoint.Checkpoint("x", unlimited.encoder, unlimited.tokenizer, unlimited.write.frames)
    )
    assert again.weights != v1.weights


@pytest.mark.parametrize(
    ("kind", "positions"),
    [  # as each model's paper and processor have it, for images of these sizes
        ("deepseek-ocr-2", {"base": 257, "px768": 145}),
        ("got-ocr2", {"base": 256}),
        ("qwen2.5-vl", {"large": 2116, "base": 1369, "px896": 1024, "px768": 784}),
        ("qwen3-vl", {"large": 1600, "base": 1024, "px896": 784, "px768": 576}),
        ("internvl", {"px896": 1280}),
        ("smolvlm", {"base": 320, "tiny": 64}),
        ("llava", {"tiny": 576}),
    ],
)
def test_positions_of_the_published_sizes(kind: str, positions: dict[str, int]) -> None:
    configs: dict[str, Callable[[], Any]] = {
        "deepseek-ocr-2": transformers.DeepseekOcr2Config,
        "got-ocr2": transformers.GotOcr2Config,
        "qwen2.5-vl": transformers.Qwen2_5_VLConfig,
        "qwen3-vl": transformers.Qwen3VLConfig,
        "internvl": transformers.InternVLConfig,
        "smolvlm": lambda: transformers.SmolVLMConfig(
            vision_config={"image_size": 512, "patch_size": 16}, scale_factor=4
        ),
        "llava": transformers.LlavaConfig,
    }
    config = configs[kind]()

    class Model:
        def __init__(self) -> None:
            self.config = config

    encoder = checkpoint.FAMILIES[config.model_type].encoder(Model())
    counts = {
        tier.label: sum(part for part in layout if isinstance(part, int))
        for tier, layout in encoder.layouts.items()
    }
    assert {label: counts[label] for label in positions} == positions


def test_nano_is_looked_for_in_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checkpoint, "_NANO", tmp_path)
    with pytest.raises(ReaderError, match="carries no optimem-nano"):
        LocalReader.load("nano")
    vision_models.save_checkpoint("deepseek-ocr", tmp_path)
    assert LocalReader.load("nano", device="cpu").encoder.name == "deepseek-ocr"


# Frames


class Template:
    """A tokenizer's chat template without its tokenizer."""

    def __init__(self, template: str | None, bos: str | None = None) -> None:
        self.chat_template = template
        self.bos_token = bos

    def apply_chat_template(
        self, messages: list[dict[str, Any]], tokenize: bool, add_generation_prompt: bool
    ) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        assert self.chat_template is not None and not tokenize
        rendered = render_jinja_template(
            [messages],
            chat_template=self.chat_template,
            add_generation_prompt=add_generation_prompt,
            bos_token=self.bos_token,
        )
        return str(rendered[0][0])


def test_frames_of_chatml_put_a_message_together_again() -> None:
    tokenizer = Template(vision_models.CHATML)
    frames = find_frames(tokenizer)
    roles: tuple[Role, ...] = ("system", "user", "assistant")
    messages = [{"role": role, "content": role * 2} for role in roles]
    whole = tokenizer.apply_chat_template(messages, False, True)
    framed = [f"{frames.roles[role][0]}{role * 2}{frames.roles[role][1]}" for role in roles]
    pieces = [frames.start, *framed]
    assert "".join(pieces) + frames.answer == whole
    alone = tokenizer.apply_chat_template(messages[1:2], False, True)
    front, behind = frames.roles["user"]
    assert frames.start + frames.default + front + "useruser" + behind + frames.answer == alone


def test_templates_that_want_parts_are_given_parts() -> None:
    frames = find_frames(Template(vision_models.SMOL))
    assert frames.start == "<|im_start|>" and frames.answer == "Assistant:"
    assert frames.roles["user"] == ("User: ", "<end_of_utterance>\n")
    assert frames.roles["system"] == ("System: ", "<end_of_utterance>\n")


def test_without_a_system_role_its_words_are_the_users() -> None:
    frames = find_frames(Template(vision_models.LLAVA))
    assert frames.roles["system"] == frames.roles["user"] == ("USER: ", " ")
    assert frames.roles["assistant"] == ("ASSISTANT: ", "<eos>")


@pytest.mark.parametrize("template", [None, "{{ raise_exception('no') }}", "fixed words"])
def test_without_a_usable_template_lines_are_plain(template: str | None) -> None:
    frames = find_frames(Template(template, "<bos>"))
    assert frames.start == "<bos>" and frames.answer == ""
    assert frames.roles["user"] == frames.roles["assistant"] == ("", "\n")


# Importing


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_no_torch() -> None:
    loaded = run("import sys, optimem, optimem.vision; print(*sys.modules)").split()
    assert "optimem.vision" in loaded
    assert not {"torch", "transformers", "safetensors", "numpy"} & set(loaded)


def test_without_torch_the_pip_line_is_said() -> None:
    out = run(
        "import sys; sys.modules['torch'] = None\n"
        "import optimem.vision\n"
        "from optimem.errors import MissingExtraError\n"
        "try: optimem.vision.LocalReader\n"
        "except MissingExtraError as error: print(error)"
    )
    assert out.strip().endswith("pip install 'optimem[vision]'")


def test_every_public_name_can_be_imported() -> None:
    assert optimem.vision.__all__ == sorted(optimem.vision.__all__)
    for name in optimem.vision.__all__:
        assert getattr(optimem.vision, name).__name__ == name
        assert name in dir(optimem.vision)
    with pytest.raises(AttributeError, match="no attribute 'Reader'"):
        _ = optimem.vision.Reader
