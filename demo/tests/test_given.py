"""Drawings and files as a model sees them."""

import base64
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from vaekit_demo.engine import given
from vaekit_demo.engine.shown import Shown

from vaekit import VAE, ConfigError, DataError, Examples


def _file(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def zero() -> np.ndarray:
    """A ring in a corner, bright on dark."""
    down, across = np.mgrid[:120, :160]
    far = np.hypot((down - 50) / 30, (across - 40) / 20)
    return (255 * (abs(far - 1) < 0.2)).astype(np.uint8)


def test_a_drawing_is_centred_scaled_and_made_black_and_white(deep: Shown, zero: np.ndarray) -> None:
    x = given.drawn(deep, torch.from_numpy(zero / 255.0).float()[None]).x
    assert x.shape == (1, 1, 8, 8)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    down, across = x[0, 0].nonzero().float().mean(0).tolist()
    assert (down, across) == pytest.approx((3.5, 3.5), abs=0.6)
    moved = np.roll(zero, (20, 60), (0, 1))
    assert torch.equal(given.drawn(deep, torch.from_numpy(moved / 255.0).float()[None]).x, x)


def test_dark_on_bright_is_turned_and_said(deep: Shown, zero: np.ndarray) -> None:
    plain, turned = given.uploaded(deep, _file(zero)), given.uploaded(deep, _file(255 - zero))
    assert torch.equal(plain.x, turned.x)
    assert not any("black" in note for note in plain.notes)
    assert any("black" in note for note in turned.notes)


def test_a_grey_photograph_of_ink_on_paper(deep: Shown, zero: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 6, zero.shape)
    paper = np.clip(200 - 0.6 * zero + noise, 0, 255).astype(np.uint8)
    assert float((given.uploaded(deep, _file(paper)).x != given.uploaded(deep, _file(zero)).x).float().mean()) < 0.05


def test_an_image_of_the_size_of_the_data_is_left_where_it_is(deep: Shown) -> None:
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0, 0] = 255
    found = given.uploaded(deep, _file(pixels))
    assert found.x.flatten().tolist() == [1.0] + [0.0] * 63
    assert not found.notes


def test_nothing_to_see(deep: Shown) -> None:
    for pixels in (np.zeros((50, 50), np.uint8), np.full((50, 50), 200, np.uint8)):
        with pytest.raises(DataError, match="one colour"):
            given.uploaded(deep, _file(pixels))


def test_colour_is_kept_where_data_have_it(untrained: Callable[..., VAE], several: Callable[..., Examples]) -> None:
    shown = Shown("colour", "colour", untrained((3, 6, 6)), lambda: several(shape=(3, 6, 6)))
    red = np.zeros((60, 60, 3), np.uint8)
    red[..., 0] = 255
    for x in (
        given.uploaded(shown, _file(red)).x,
        given.drawn(shown, torch.from_numpy(red / 255.0).float().permute(2, 0, 1)).x,
    ):
        torch.testing.assert_close(x[0, :, 3, 3], torch.tensor([1.0, 0.0, 0.0]))


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 8, 8)])
def test_what_is_not_drawn(shape: tuple[int, ...], untrained: Callable[..., VAE], several: Callable[..., Examples]) -> None:
    shown = Shown("other", "other", untrained(shape), lambda: several(shape=shape))
    with pytest.raises(DataError, match="test example"):
        given.drawn(shown, torch.ones(1, 9, 9))
    with pytest.raises(DataError, match="test example"):
        given.uploaded(shown, _file(np.zeros((8, 8), np.uint8)))


def test_a_source_is_one_thing() -> None:
    with pytest.raises(ConfigError, match="0 were given"):
        given.Source()
    assert given.Source.model_validate({"random": 1, "of_class": 2}).of_class == 2


def test_too_much_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(DataError, match="more than"):
        given.decoded(base64.b64encode(bytes(100)).decode(), 99)
