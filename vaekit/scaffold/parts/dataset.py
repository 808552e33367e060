"""Gratings of four directions, made as they are asked for."""

from math import pi
from pathlib import Path

import torch

from vaekit import DataSet, Examples, Raw

_SIDE = 12
_CYCLES = 2
_DIRECTIONS = ("vertical", "rising", "horizontal", "falling")


def _gratings(n: int, seed: int) -> Examples:
    """`n` images of a wave along the direction of their class, its phase drawn."""
    generator = torch.Generator().manual_seed(seed)  # leaves torch's own as it is
    y = torch.arange(n) % len(_DIRECTIONS)
    phase = 2 * pi * torch.rand(n, 1, 1, generator=generator)
    angle = (pi * y / len(_DIRECTIONS))[:, None, None]
    row, column = torch.arange(_SIDE)[:, None], torch.arange(_SIDE)
    along = column * torch.cos(angle) + row * torch.sin(angle)  # (n, side, side)
    x = 0.5 + 0.5 * torch.sin(2 * pi * _CYCLES / _SIDE * along + phase)
    return Examples.of((255 * x).round().to(torch.uint8), y)


def _load(path: str, root: Path) -> Raw:
    splits = {"train": _gratings(480, seed=0), "test": _gratings(120, seed=1)}
    return Raw(splits, _DIRECTIONS)


EXAMPLE = DataSet(
    "example",
    "600 gratings of four directions, 12x12 grey",
    _load,
)
