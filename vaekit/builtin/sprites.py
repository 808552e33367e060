"""A small set in the manner of dSprites, drawn when it is asked for: a white shape on black, with five known factors."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vaekit import DataSet, Examples, Raw

Points = npt.NDArray[np.float64]

SHAPES = ("square", "ellipse", "heart")
FACTORS = {"shape": len(SHAPES), "scale": 4, "rotation": 12, "x": 12, "y": 12}


def _load(path: str, root: Path) -> Raw:
    images, factors, _ = sprites()
    every = replace(Examples.of(images, factors[:, 0]), factors=torch.from_numpy(factors))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    test, train = order.split([len(order) // 4, len(order) - len(order) // 4])
    return Raw({"train": every.take(train), "test": every.take(test)}, SHAPES)


def sprites() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], dict[str, int]]:
    r"""Every combination of five factors as an image, once; no chance is involved.

    - `shape`: square, ellipse (twice as long as wide) or heart, of the same area at the same scale.
    - `scale`: 4 lengths from a half to the whole, equally spaced.
    - `rotation`: 12 steps of 30° anticlockwise, a full turn for every shape. As in dSprites each shape keeps its own period, so
      a square looks the same after a quarter of a turn, an ellipse after a half and a heart after a whole.
    - `x`, `y`: the centre, in 12 steps of one pixel from left to right and from top to bottom; all of a sprite is in the
      image, and a moved one is the same pixel for pixel.

    Of the 20,736 images 12,096 are different: 1,728 squares, which are there four times each, 3,456 ellipses, which are there
    twice, and 6,912 hearts.

    Returns:
        The images (20736, 1, 32, 32) as bytes 0 and 255; the values of their factors (20736, 5), counted from 0, of which the
        last changes fastest; and how many values each factor has, by its name.

    References:
        dSprites: Disentanglement testing Sprites dataset (Matthey, Higgins, Hassabis, Lerchner; 2017),
        https://github.com/google-deepmind/dsprites-dataset.
    """
    counts = tuple(FACTORS.values())
    canvas = np.stack([_drawn(shape, fold) for shape, fold in _SHAPES])  # (shape, scale, rotation, 43, 43)
    windows = np.lib.stride_tricks.sliding_window_view(canvas, (_SIZE, _SIZE), axis=(3, 4))
    moved = windows[:, :, :, ::-1, ::-1].swapaxes(3, 4)  # the later a window begins, the nearer its sprite is to 0; x before y
    images = np.where(moved, np.uint8(255), np.uint8(0)).reshape(-1, 1, _SIZE, _SIZE)
    factors = np.indices(counts).reshape(len(counts), -1).T
    return images, np.ascontiguousarray(factors, dtype=np.int64), dict(FACTORS)


_SIZE = 32
_AREA = 174.0  # of the largest, in pixels; with it no pixel's centre lies on an edge, where rounding would decide


def _drawn(shape: Callable[[Points, Points, float], npt.NDArray[np.bool_]], fold: int) -> npt.NDArray[np.bool_]:
    """A shape at every scale and rotation in the middle of a canvas that holds a window for every position.

    Args:
        shape: whether points (u, v), in its own axes, are in it when its area is so much.
        fold: how many times it looks the same in one turn.
    """
    steps = FACTORS["rotation"]
    turns = np.arange(steps) * fold % steps  # whole numbers, so that a symmetric shape comes back exactly
    angle = (2 * math.pi / fold / steps * turns)[:, None, None]
    reach = (_SIZE + FACTORS["x"] - 2) // 2
    right = np.arange(-reach, reach + 1.0)
    up = right[::-1, None]
    u = np.cos(angle) * right + np.sin(angle) * up
    v = np.cos(angle) * up - np.sin(angle) * right
    return np.stack([shape(u, v, _AREA * length**2) for length in np.linspace(0.5, 1, FACTORS["scale"])])


def _square(u: Points, v: Points, area: float) -> npt.NDArray[np.bool_]:
    return np.maximum(np.abs(u), np.abs(v)) < math.sqrt(area) / 2


def _ellipse(u: Points, v: Points, area: float) -> npt.NDArray[np.bool_]:
    return np.hypot(u / 2, v) < math.sqrt(area / (2 * math.pi))


def _heart(u: Points, v: Points, area: float) -> npt.NDArray[np.bool_]:
    r"""The unit disc with either half sheared upwards, $u^2 + (v - 0.8\,|u|)^2 < 1$: its centre is at $0.8 \cdot 4 / 3\pi$."""
    unit = math.sqrt(area / math.pi)
    u, v = u / unit, v / unit + 0.8 * 4 / (3 * math.pi)
    return u**2 + (v - 0.8 * np.abs(u)) ** 2 < 1


_SHAPES = ((_square, 4), (_ellipse, 2), (_heart, 1))

SPRITES = DataSet("sprites", "20,736 drawn shapes of known position, size and rotation, 32x32 black and white", _load)
