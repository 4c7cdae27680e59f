"""Vision tokens as bytes: small, close to what they were, and never taken for others."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from optimem import Tier
from optimem.errors import StoreError
from optimem.vision.tokens import Precision, TokenKey, pack, unpack

WIDTH = 1280  # DeepSeek-OCR's
KEY = TokenKey("deepseek-ocr", "0123456789abcdef", Tier.TINY, "ab" * 32, "bf16")


def random_tokens(planes: int = 1, count: int = 73, width: int = WIDTH, seed: int = 0) -> Tensor:
    """As features are: most values small, a few channels far larger."""
    source = torch.Generator().manual_seed(seed)
    tokens = torch.randn(planes, count, width, generator=source)
    tokens[..., ::97] *= 30
    return tokens


def keyed(precision: Precision) -> TokenKey:
    return replace(KEY, precision=precision)


def round_trip(tokens: Tensor, precision: Precision) -> Tensor:
    key = keyed(precision)
    planes, count, width = tokens.shape
    return unpack(pack(tokens, key), key, (planes, count, width)).float()


def test_fp32_and_a_bf16_models_tokens_are_exact() -> None:
    tokens = random_tokens(planes=3)
    assert torch.equal(round_trip(tokens, "fp32"), tokens)
    assert torch.equal(round_trip(tokens.bfloat16(), "bf16"), tokens.bfloat16().float())


@given(seed=st.integers(0, 1000), scale=st.floats(1e-6, 1e6))
def test_errors_stay_within_their_bounds(seed: int, scale: float) -> None:
    """bf16: 2^-8 of each value. int8: half a step of 1/127 of the token's largest value."""
    tokens = random_tokens(count=5, width=64, seed=seed) * scale
    assert ((round_trip(tokens, "bf16") - tokens).abs() <= tokens.abs() * 2**-8).all()
    step = tokens.abs().amax(-1, keepdim=True) / 127
    assert ((round_trip(tokens, "int8") - tokens).abs() <= step * 0.501).all()


def test_a_token_of_zeros_stays_one() -> None:
    tokens = random_tokens(count=2, width=8)
    tokens[0, 1] = 0
    assert not round_trip(tokens, "int8")[0, 1].any()


@pytest.mark.parametrize("count", [73, 111, 273, 421, 693])
def test_int8_takes_half_of_bf16(count: int) -> None:
    tokens = random_tokens(count=count)
    small, large = (len(pack(tokens, keyed(kind))) for kind in ("int8", "bf16"))
    assert small <= 0.51 * large
    assert large <= 1.01 * count * WIDTH * 2


def test_same_tokens_same_bytes() -> None:
    assert len({pack(random_tokens(), keyed("int8")) for _ in range(20)}) == 1
    first = pack(random_tokens(), keyed("int8"))
    assert pack(random_tokens(seed=1), keyed("int8")) != first


def test_a_key_says_everything_that_the_values_depend_on() -> None:
    others = [
        replace(KEY, encoder="got-ocr2"),
        replace(KEY, weights="f" * 16),
        replace(KEY, tier=Tier.BASE),
        replace(KEY, image="cd" * 32),
        replace(KEY, precision="int8"),
    ]
    assert len({str(key) for key in (KEY, *others)}) == 6
    data = pack(random_tokens(), KEY)
    for other in others[:4]:
        with pytest.raises(StoreError, match="holds other vision tokens"):
            unpack(data, other, (1, 73, WIDTH))
    with pytest.raises(StoreError, match="holds other vision tokens"):
        unpack(data, others[4], (1, 73, WIDTH))


@pytest.mark.parametrize("shape", [(1, 111, WIDTH), (2, 73, WIDTH), (1, 73, 1024)])
def test_another_shape_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(StoreError, match=r"not \("):
        unpack(pack(random_tokens(), KEY), KEY, shape)


def test_another_type_and_missing_scales_are_refused() -> None:
    with pytest.raises(StoreError, match=r"float32.*not \(1, 73, 1280\) in bf16"):
        unpack(saved({"tokens": random_tokens()}, KEY), KEY, (1, 73, WIDTH))
    with pytest.raises(StoreError, match="is None"):
        unpack(saved({"features": random_tokens()}, KEY), KEY, (1, 73, WIDTH))
    key = keyed("int8")
    values = torch.zeros(1, 73, WIDTH, dtype=torch.int8)
    with pytest.raises(StoreError, match="no scale for each token"):
        unpack(saved({"tokens": values}, key), key, (1, 73, WIDTH))


def saved(tensors: dict[str, Tensor], key: TokenKey) -> bytes:
    """Tensors under a key, with the right checksum."""
    total = 0
    for values in tensors.values():
        total = zlib.crc32(values.view(torch.uint8).numpy().data, total)
    return save(tensors, {"optimem": f"{key} {total:08x}"})


@given(data=st.binary(max_size=64))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match="damaged"):
        unpack(data, KEY, (1, 73, WIDTH))


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(place: int, bit: int) -> None:
    key = keyed("int8")
    data = bytearray(pack(random_tokens(count=3, width=8), key))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(StoreError):
        unpack(bytes(data), key, (1, 3, 8))


def test_bytes_without_a_key_are_refused() -> None:
    with pytest.raises(StoreError, match="damaged"):
        unpack(save({"tokens": random_tokens().bfloat16()}), KEY, (1, 73, WIDTH))
    header = json.dumps({"__metadata__": {"optimem": "x"}}).encode()
    with pytest.raises(StoreError, match="other vision tokens"):
        unpack(len(header).to_bytes(8, "little") + header, KEY, (1, 73, WIDTH))
