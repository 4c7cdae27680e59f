"""A PNG gives back the pixels that went in."""

import io
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from optimem.errors import InputError
from optimem.renderers.png import encode

sizes = st.integers(1, 40)


def decode(data: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "L"
        return np.asarray(image)


@settings(deadline=None)
@given(sizes, sizes, st.integers(0, 2**32 - 1), st.sampled_from([4, 8]))
def test_pillow_reads_the_same_pixels(
    height: int, width: int, seed: int, bits: Literal[4, 8]
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    expected = pixels if bits == 8 else (np.round(pixels / 17) * 17).astype(np.uint8)
    assert np.array_equal(decode(encode(pixels, bits)), expected)


def test_four_bits_keep_multiples_of_17_and_need_less_room() -> None:
    pixels = (np.random.default_rng(0).integers(0, 16, (64, 64)) * 17).astype(np.uint8)
    assert np.array_equal(decode(encode(pixels)), pixels)
    assert len(encode(pixels)) < len(encode(pixels, 8))


def test_pixels_need_not_be_contiguous() -> None:
    pixels = np.arange(0, 256, dtype=np.uint8).reshape(16, 16) // 17 * 17
    for view in (pixels.T, pixels[::2, ::3], pixels[::-1, ::-1]):
        assert np.array_equal(decode(encode(view)), view)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.int64),
        np.zeros((4, 4), np.float32),
        np.zeros(16, np.uint8),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_other_types_and_shapes_are_refused(pixels: npt.NDArray[Any]) -> None:
    with pytest.raises(InputError, match="uint8 pixels of shape"):
        encode(pixels)


def test_other_bits_are_refused() -> None:
    with pytest.raises(InputError, match="not 2"):
        encode(np.zeros((4, 4), np.uint8), 2)  # type: ignore[arg-type]
