"""Bilinear scaling that looks at every pixel when it makes smaller, as vaekit brings images to a size.

It is done in the numbers and the order of torch's `interpolate(antialias=True)`, so that what is rounded to bytes afterwards is
the same but for the rarest of ties.
"""

import numpy as np
from numpy.typing import NDArray

from vaekit_runtime.arrays import Array


def resize(pixels: NDArray[np.uint8], size: tuple[int, int]) -> Array:
    """An image (C, H, W) brought to this height and width: each new pixel is a mean of old ones, weighted by a triangle."""
    return np.stack([_along(_along(channel.astype(np.float32), size[1]).T, size[0]).T for channel in pixels])


def _along(values: Array, length: int) -> Array:
    """(H, W) to (H, length)."""
    old = values.shape[1]
    if old == length:
        return values
    first, weights = _weights(old, length)
    scaled = np.zeros((len(values), length), np.float32)
    for tap in range(weights.shape[1]):
        product = values[:, np.minimum(first + tap, old - 1)].astype(np.float64) * weights[:, tap]
        scaled = (scaled + product).astype(np.float32)  # rounded once, as a fused multiply-add is
    return scaled


def _weights(old: int, new: int) -> tuple[NDArray[np.int64], Array]:
    """For each new pixel the first old one that it is made of, and the weights of that and those after it, which sum to 1."""
    scale, half = np.float32(old / new), np.float32(0.5)
    reach = max(np.float32(1), scale)
    centre = (np.arange(new, dtype=np.float32) + half) * scale
    first = np.maximum(np.trunc(centre - reach + half), 0).astype(np.int64)
    last = np.minimum(np.trunc(centre + reach + half), old).astype(np.int64)
    place = first[:, None] + np.arange((last - first).max())
    away = (place.astype(np.float32) - centre[:, None] + half) * (1 / reach)
    weights = np.maximum(0, 1 - np.abs(away)) * (place < last[:, None])
    return first, weights / np.cumsum(weights, 1, dtype=np.float32)[:, -1:]
