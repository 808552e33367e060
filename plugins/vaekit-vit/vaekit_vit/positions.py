"""Where a token is, as waves of different lengths."""

import torch
from torch import Tensor


def waves(places: tuple[int, ...], width: int) -> Tensor:
    r"""Sine and cosine of each coordinate at wavelengths from $2\pi$ to $20000\pi$: (places, width) for a grid of places.

    Each axis has its own equal share of the width, which must be a multiple of twice the number of axes.
    """
    each = width // (2 * len(places))
    frequencies = 10000 ** (-torch.arange(each) / each)
    grid = torch.meshgrid(*(torch.arange(n) for n in places), indexing="ij")
    angles = torch.stack(grid, -1).flatten(0, -2)[:, :, None] * frequencies  # (places, axes, each)
    return torch.cat([angles.sin(), angles.cos()], 2).flatten(1)
