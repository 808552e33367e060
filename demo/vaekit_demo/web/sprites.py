"""Pictures decoded all over a plane of codes beforehand, as one image file a class: a page blends the nearest four."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from vaekit_demo.engine.answers import places
from vaekit_demo.engine.pictures import Pictures
from vaekit_demo.engine.shown import Shown


@dataclass(frozen=True)
class Sprite:
    """A grid of pictures, at even steps over a rectangle of codes.

    Args:
        across: the least and the greatest z0.
        up: of z1.
        side: pictures a row, and rows; the first row is at the greatest z1.
        size: height, width and channels of a picture.
        files: one image a class, or one.
    """

    across: tuple[float, float]
    up: tuple[float, float]
    side: int
    size: tuple[int, int, int]
    files: tuple[bytes, ...]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(map(len, self.files))


SIDES = (41, 33, 27, 21, 17, 13, 9)
MOST = 150_000
"""Bytes that a sprite has, where that can be."""


def possible(shown: Shown) -> bool:
    """Whether a model's codes are all over a plane."""
    return shown.size == 2 and not shown.immovable and all(block.support == "real" for block in shown.room.blocks)


def sprite(shown: Shown, sides: Sequence[int] = SIDES) -> Sprite:
    """The finest grid whose files have no more than MOST bytes; else the coarsest."""
    across, up = _rectangle(shown)
    found = None
    for side in sides:
        if side * max(shown.pictures(torch.zeros(1, *shown.shape)).shape[1:3]) > _MOST_PIXELS and side != sides[-1]:
            continue
        grids = _decoded(shown, across, up, side)
        for lossless in (True, False):
            files = tuple(_file(grid, side, lossless) for grid in grids)
            height, width, channels = grids[0].shape[1:]
            found = Sprite(across, up, side, (height, width, channels), files)
            if found.bytes <= MOST:
                return found
    assert found is not None  # there is a side
    return found


_MOST_PIXELS = 4096  # of a side of an image


def _rectangle(shown: Shown) -> tuple[tuple[float, float], tuple[float, float]]:
    """What there is to see on the map, and what is drawn from the prior."""
    survey, prior = shown.survey, shown.axis_priors
    _, _, (left, right, bottom, top) = places(shown, None)
    found = []
    for i, (low, high) in enumerate(((left, right), (bottom, top))):
        centres = [(survey.mean[i], survey.sd[i])] + ([] if prior is None else [(prior[0][i], prior[1][i])])
        lows, highs = zip(*((float(mean - 3 * sd), float(mean + 3 * sd)) for mean, sd in centres), strict=True)
        found.append((round(min(low, *lows), 4), round(max(high, *highs), 4)))
    return found[0], found[1]


def _decoded(shown: Shown, across: tuple[float, float], up: tuple[float, float], side: int) -> list[Pictures]:
    v, u = torch.meshgrid(torch.linspace(up[1], up[0], side), torch.linspace(*across, side), indexing="ij")
    codes = torch.stack([u.flatten(), v.flatten()], 1)
    told = range(len(shown.classes)) if shown.model.conditional else [None]
    return [np.concatenate([shown.decode(some, y) for some in codes.split(shown.most)]) for y in told]


def _file(grid: Pictures, side: int, lossless: bool) -> bytes:
    _, height, width, channels = grid.shape
    rows = grid.reshape(side, side, height, width, channels).transpose(0, 2, 1, 3, 4)
    whole = rows.reshape(side * height, side * width, channels)
    file = io.BytesIO()
    Image.fromarray(whole[..., 0] if channels == 1 else whole).save(file, "WEBP", lossless=lossless, quality=80, method=4)
    return file.getvalue()
