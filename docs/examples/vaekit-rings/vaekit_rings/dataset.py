"""Rings about the middle, drawn as they are asked for."""

from pathlib import Path

import torch
from vaekit import DataSet, Examples, Raw

_SIDE = 12


def _rings(n: int, seed: int) -> Examples:
    """`n` rings, the radius and the width of each drawn."""
    generator = torch.Generator().manual_seed(seed)  # leaves torch's own as it is
    radius = 1 + 4 * torch.rand(n, 1, 1, generator=generator)
    width = 1 + torch.rand(n, 1, 1, generator=generator)
    side = torch.arange(_SIDE) - (_SIDE - 1) / 2
    distance = torch.hypot(side, side[:, None])  # (side, side), from the middle
    return Examples.of((distance - radius).abs() < width / 2)


def _load(path: str, root: Path) -> Raw:
    return Raw({"train": _rings(600, seed=0), "test": _rings(120, seed=1)})


RINGS = DataSet("rings", "720 rings about the middle, 12x12 black and white", _load)
