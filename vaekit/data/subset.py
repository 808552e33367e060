"""Some of many examples, whatever order they are in."""

import torch
from torch import Tensor


def some(n: int, most: int | None, seed: int = 0) -> Tensor:
    """Numbers of at most `most` of n examples, in order, drawn by the seed: data may be sorted by class."""
    if most is None or most >= n:
        return torch.arange(n)
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:most].sort().values
