"""Data as pictures: images side by side, and a file of them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaekit_runtime.arrays import Array

Pixels = NDArray[np.uint8]


def drawable(shape: tuple[int, ...]) -> bool:
    """Whether data of this shape can be shown: images of one or three channels, and sequences as grey images."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))


def grid(images: Array, columns: int, gap: int = 1) -> Pixels:
    """Images (N, C, H, W) or (N, T, F) side by side, row by row: (height, width, C); values are cut off outside [0, 1]."""
    shown = images if images.ndim == 4 else images[:, None]
    pixels = np.round(np.clip(np.nan_to_num(shown), 0, 1) * 255).astype(np.uint8)
    n, channels, height, width = pixels.shape
    rows = -(-n // columns)
    tiles = np.full((rows * columns, channels, height + gap, width + gap), 128, np.uint8)
    tiles[:n, :, :height, :width] = pixels
    laid = tiles.reshape(rows, columns, *tiles.shape[1:]).transpose(0, 3, 1, 4, 2)  # row, y, column, x, channel
    return laid.reshape(rows * (height + gap), columns * (width + gap), channels)[: -gap or None, : -gap or None]


def pairs(above: Array, below: Array, columns: int, gap: int = 1) -> Pixels:
    """Each row of images with a row of others under it."""
    strips = [
        grid(images[start : start + columns], columns, gap)
        for start in range(0, len(above), columns)
        for images in (above, below)
    ]
    between = np.full((gap, *strips[0].shape[1:]), 128, np.uint8)
    return np.concatenate([part for strip in strips for part in (between, strip)][1:])


def save(pixels: Pixels, path: Path, at_least: int = 400) -> None:
    """Write a PNG, each pixel repeated until the longer side has so many."""
    from PIL import Image

    times = max(1, -(-at_least // max(pixels.shape[:2])))
    large = pixels.repeat(times, 0).repeat(times, 1)
    Image.fromarray(large[..., 0] if large.shape[2] == 1 else large).save(path)  # as PNG, by its name
