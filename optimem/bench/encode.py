"""How fast pages become vision tokens, against the matrix products that the machine can do.

    optimem bench encode                  # a small DeepEncoder on a CPU, the full one on a GPU
    optimem bench encode --size full --batch 16 --modes tiny base

Weights are random: speed does not depend on them. The ceiling is one large matrix product in
the same data type, timed in the same run. The plain loop encodes one page at a time, as
DeepSeek-OCR's own code does; on a GPU, batches are also run compiled, with CUDA graphs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from optimem.bench.report import Check, print_report
from optimem.errors import MissingExtraError
from optimem.modes import Tier

if TYPE_CHECKING:
    from torch import Tensor

    from optimem.vision.deepseek import DeepseekOcr

_SMALL = {
    "sam_config": {
        "hidden_size": 192,
        "num_hidden_layers": 4,
        "num_attention_heads": 3,
        "global_attn_indexes": [1, 3],
        "output_channels": 64,
        "mlp_dim": 768,
        "downsample_channels": [128, 256],
    },
    "encoder_config": {
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    },
}
_DECODER = {  # of no use here, so as small as it can be; its width is that of the vision tokens
    "vocab_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 10,
    "num_key_value_heads": 10,
}

_BOUNDS = (
    ("base", "ceiling_percent", 20, "% of the matmul ceiling"),
    ("base", "times_the_loop", 2, "x the plain loop"),
    ("tiny", "times_the_loop", 5, "x the plain loop"),
)


def main() -> None:
    """Measure, print, and end with one JSON line."""
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise MissingExtraError("optimem bench encode", "vision")
    import torch

    has_gpu = torch.cuda.is_available()
    options = _options(sys.argv[1:], has_gpu)
    encoder = _encoder(options.size, "cuda" if has_gpu else "cpu")
    ceiling = _ceiling(encoder.model.device, encoder.model.dtype, options.seconds)
    print(f"ceiling: {ceiling:.3g} TFLOP/s in {_name(encoder.model.dtype)} matrix products")
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if has_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "dtype": _name(encoder.model.dtype),
        "size": options.size,
        "batch": options.batch,
        "ceiling_tflops": round(ceiling, 3),
    }
    if not has_gpu:
        results["note"] = "no GPU here: the bounds are for one of the H200 class"
    for label in options.modes:
        found = _measure(encoder, Tier.parse(label), options, ceiling)
        results[label] = found
        print(
            f"{label}: {found['pages_per_second']} pages/s in batches of {options.batch},"
            f" {found['loop_pages_per_second']} one at a time,"
            f" {found['ceiling_percent']} % of the ceiling"
        )
    results["kept"] = _kept(encoder)
    print_report("encode", results, _checks(results))


def _options(arguments: Sequence[str], has_gpu: bool) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "optimem bench encode", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--size", choices=("small", "full"), default="full" if has_gpu else "small")
    parser.add_argument("--batch", type=int, default=16 if has_gpu else 4, help="pages at once")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=has_gpu,
        help="batches compiled too (on a CPU minutes for each mode)",
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="shortest time of a measurement")
    modes = [tier.label for tier in (Tier.TINY, Tier.SMALL, Tier.BASE, Tier.LARGE, Tier.GUNDAM)]
    parser.add_argument("--modes", nargs="+", choices=modes, default=["tiny", "small", "base"])
    return parser.parse_args(arguments)


def _encoder(size: str, device: str) -> DeepseekOcr:
    """A DeepEncoder with random weights: bf16 on a GPU, fp32 on a CPU."""
    import torch
    from transformers import UnlimitedOcrConfig, UnlimitedOcrForConditionalGeneration

    from optimem.vision.deepseek import DeepseekOcr

    layers = {"layer_types": ["full_attention"]}
    config = UnlimitedOcrConfig(
        vision_config=_SMALL if size == "small" else None,
        text_config={**_DECODER, **layers},
    )
    torch.manual_seed(0)
    model: Any = UnlimitedOcrForConditionalGeneration(config)
    model.eval()
    return DeepseekOcr(model.to(device, torch.bfloat16 if device == "cuda" else torch.float32))


def _measure(
    encoder: DeepseekOcr, tier: Tier, options: argparse.Namespace, ceiling: float
) -> dict[str, float]:
    """Pages a second in batches and one at a time, and the share of the ceiling."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    pages = [torch.randint(0, 256, (1, view.side, view.side)) for view in encoder.views(tier)]
    one = [page[None].to(torch.uint8) for page in pages]  # (1, 1, side, side) for each view
    many = [page.expand(options.batch, -1, -1, -1).contiguous() for page in one]
    found: dict[str, float] = {}
    with torch.inference_mode():
        # Fused attention is not counted everywhere; written out, it has the same products.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            encoder.encode(one, tier)
        alone = 1 / _seconds(lambda: encoder.encode(one, tier), options.seconds)
    best = options.batch / _seconds(lambda: encoder.run(many, tier), options.seconds)
    if options.compile:
        found["eager_pages_per_second"] = round(best, 3)
        best = max(best, _compiled(encoder, many, tier, options.seconds))
    tera = counter.get_total_flops() / 1e12
    return {
        "pages_per_second": round(best, 3),
        "loop_pages_per_second": round(alone, 3),
        "times_the_loop": round(best / alone, 2),
        "tflop_a_page": round(tera, 4),
        "ceiling_percent": round(100 * best * tera / ceiling, 1),
        **found,
    }


def _compiled(encoder: DeepseekOcr, pages: list[Tensor], tier: Tier, seconds: float) -> float:
    """Pages a second once compiled; the encoder itself stays as it is."""
    from copy import deepcopy

    copied = type(encoder)(deepcopy(encoder.model))
    copied.compile()
    for _ in range(3):  # compiles, records graphs, and runs them for the first time
        copied.run(pages, tier)
    return len(pages[0]) / _seconds(lambda: copied.run(pages, tier), seconds)


def _ceiling(device: Any, dtype: Any, seconds: float) -> float:
    """TFLOP/s of one large square matrix product."""
    import torch

    side = 8192 if device.type == "cuda" else 1536
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / _seconds(lambda: left @ right, seconds) / 1e12


def _seconds(run: Callable[[], Tensor], least: float) -> float:
    """Median time of a run, after a first one that is not counted."""
    import torch

    def once() -> float:
        begun = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    once()
    times: list[float] = []
    while sum(times) < least or len(times) < 2:
        times.append(once())
    return statistics.median(times)


def _kept(encoder: DeepseekOcr) -> dict[str, dict[str, float]]:
    """What keeping a Base page's tokens costs: bytes, and error relative to the tokens' norm."""
    import torch

    from optimem.vision.tokens import Precision, TokenKey, pack, unpack

    with torch.inference_mode():
        side = Tier.BASE.side
        pixels = torch.randint(0, 256, (1, 1, side, side)).to(torch.uint8)
        tokens = encoder.encode([pixels], Tier.BASE)[0].float().cpu()  # (1, 273, 1280)
    planes, count, width = tokens.shape
    found: dict[str, dict[str, float]] = {}
    kinds: tuple[Precision, ...] = ("bf16", "int8")
    for precision in kinds:
        key = TokenKey(encoder.name, "random", Tier.BASE, "random", precision)
        data = pack(tokens, key)
        wrong = unpack(data, key, (planes, count, width)).float() - tokens
        error = 100 * float(wrong.norm() / tokens.norm())
        worst = 100 * float((wrong.abs().amax(-1) / tokens.abs().amax(-1)).max())
        found[precision] = {
            "bytes": len(data),
            "error_percent": round(error, 3),
            "worst_percent": round(worst, 4),
        }
        print(f"{precision}: {len(data):,} bytes for a Base page, {error:.2g} % off")
    return found


def _checks(results: dict[str, Any]) -> list[Check]:
    """The bounds, as far as they were measured."""
    kept = results["kept"]
    share = round(100 * kept["int8"]["bytes"] / kept["bf16"]["bytes"], 2)
    worst = kept["int8"]["worst_percent"]
    checks = [
        Check("int8 beside bf16", share, "<=", 51, "% of the bytes"),
        Check("int8, worst value", worst, "<=", 0.3938, "% of its token's largest"),
    ]
    on_gpu = results["device"] != "cpu"  # the bounds are for one
    for label, figure, bound, unit in _BOUNDS:
        value = results[label][figure] if on_gpu and label in results else None
        checks.append(Check(f"{label} in batches on a GPU", value, ">=", bound, unit))
    return checks


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    main()
