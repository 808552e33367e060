"""Dense networks that say how a flow moves a vector, in float32 or better whatever autocast and the model's dtype say."""

from itertools import pairwise
from math import sqrt
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vaekit import Widths, distributions

Hidden = Annotated[Widths, Field(min_length=1)]
"""An option: the width of each hidden layer, of which there is one at least."""


class Net(nn.Module):
    """Dense layers with ELU between them; what is told of each example is added to what the first one gives.

    It begins by giving zeros.

    Args:
        before: numbers that it takes.
        after: numbers that it gives.
        hidden: width of each hidden layer.
        autoregressive: whether the numbers given, `after / before` for each taken, see only those taken before theirs.
    """

    def __init__(self, before: int, after: int, hidden: tuple[int, ...], *, autoregressive: bool = False) -> None:
        super().__init__()
        widths = (before, *hidden, after)
        masks = _masks(before, hidden, after) if autoregressive else [None] * (len(hidden) + 1)
        layers = [Dense(a, b, mask) for (a, b), mask in zip(pairwise(widths), masks, strict=True)]
        nn.init.zeros_(layers[-1].weight)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        h: Tensor = self.layers[0](x) + told
        for layer in self.layers[1:]:
            h = layer(F.elu(h))
        return h


class Dense(nn.Module):
    """A dense layer, whose weights are masked where there is a mask."""

    mask: Tensor | None

    def __init__(self, before: int, after: int, mask: Tensor | None) -> None:
        super().__init__()
        bound = 1 / sqrt(max(1, before))
        self.weight = nn.Parameter(nn.init.uniform_(torch.empty(after, before), -bound, bound))
        self.bias = nn.Parameter(torch.zeros(after))
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = distributions.promote(self.weight, self.bias)
        return F.linear(x, weight if self.mask is None else weight * self.mask, bias)


def _masks(before: int, hidden: tuple[int, ...], after: int) -> list[Tensor]:
    """Of each layer: a hidden unit of degree d sees the inputs before the d-th, and an output for the i-th degrees up to i."""
    degrees = [torch.arange(width) * before // width for width in hidden]
    first = degrees[0][:, None] > torch.arange(before)
    return [first, *(b[:, None] >= a for a, b in pairwise([*degrees, torch.arange(after) % before]))]
