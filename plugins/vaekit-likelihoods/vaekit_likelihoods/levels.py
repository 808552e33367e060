"""Data of finitely many levels, evenly spread over [0, 1]: bytes divided by 255."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions.constraints import Constraint

Levels = Annotated[int, Field(ge=2, le=65536)]


class OnLevels(Constraint):
    """One of `levels` values from 0 to 1, evenly apart."""

    is_discrete = True

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.top = levels - 1

    def check(self, value: Tensor) -> Tensor:
        scaled = value * self.top
        return ((scaled - scaled.round()).abs() < 1e-2) & (value >= 0) & (value <= 1)

    def __str__(self) -> str:
        return f"{self.top + 1} levels from 0 to 1"


def number(value: Tensor, levels: int) -> Tensor:
    """The number of the level nearest to each value."""
    return (value * (levels - 1)).round().clamp(0, levels - 1).long()


def values(levels: int, like: Tensor) -> Tensor:
    """All of them, (levels,)."""
    return torch.linspace(0, 1, levels, device=like.device, dtype=like.dtype)
