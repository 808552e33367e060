"""The scale of a likelihood, or another positive parameter: fixed, learned, or predicted by the decoder."""

from math import expm1, log
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vaekit import ConfigError, Shape, feature_axis, widen

Mode = Literal["fixed", "scalar", "pixel", "predicted"]
Positive = Annotated[float, Field(ge=1e-6, le=1e6)]


class Scale(nn.Module):
    r"""Splits θ into location and scale. Scales that are not fixed are $s_0 + \log(1 + e^r)$, never below the floor $s_0$.

    Args:
        data_shape: of one example.
        mode: `fixed`; `scalar`, one learned number; `pixel`, one learned number a dimension; `predicted`, by the decoder, which
            then gives twice as many features.
        initial: the fixed scale, or the one that learning starts from.
        floor: below every scale that is not fixed.
    """

    def __init__(self, data_shape: Shape, mode: Mode, initial: float, floor: float) -> None:
        super().__init__()
        if mode != "fixed" and floor >= initial:
            raise ConfigError(f"a scale that starts at {initial} must start above its floor of {floor}")
        self.mode, self.fixed, self.floor = mode, initial, floor
        self.at_start = 0.0 if mode == "fixed" else log(expm1(initial - floor)) if initial - floor < 30 else initial - floor
        self.in_shape = widen(data_shape, times=2) if mode == "predicted" else data_shape
        shape = {"scalar": (), "pixel": data_shape}.get(mode)
        self.raw = nn.Parameter(torch.full(shape, self.at_start)) if shape is not None else None

    def forward(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Location and scale, both (N, *data_shape), in float32 or better."""
        loc, scale = with_scales(theta, self)
        return loc, scale

    def of(self, raw: Tensor | None, like: Tensor) -> Tensor:
        """The scale, of the shape of `like`; `raw` is what the decoder says of it, where it is predicted."""
        if raw is not None:
            return self.floor + F.softplus(raw + self.at_start)
        if self.raw is None:
            return torch.full_like(like, self.fixed)
        return (self.floor + F.softplus(self.raw)).expand_as(like)


def with_scales(theta: Tensor, *scales: Scale) -> tuple[Tensor, ...]:
    """The first parameter that θ holds of each dimension, and then every scale: each (N, *data_shape), in float32 or better."""
    theta = theta if theta.dtype == torch.float64 else theta.float()
    first, *raw = apart(theta, features(*scales)).unbind(-1)
    left = iter(raw)
    return first, *(scale.of(next(left) if scale.mode == "predicted" else None, first) for scale in scales)


def features(*scales: Scale) -> int:
    """How many numbers θ holds of each dimension: one, and one for each scale that is predicted."""
    return 1 + sum(scale.mode == "predicted" for scale in scales)


def apart(theta: Tensor, k: int) -> Tensor:
    """θ whose feature axis holds k numbers for each feature, with those k on an axis of their own at the end."""
    axis = 1 + feature_axis(tuple(theta.shape[1:]))
    numbers: Tensor = theta.unflatten(axis, (-1, k))
    return numbers.movedim(axis + 1, -1)
