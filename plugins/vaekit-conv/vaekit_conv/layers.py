"""What encoders and decoders share: how wide and how large each layer is, normalisation, activation."""

from math import gcd, prod
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vaekit import Activation, ConfigError, Shape, ShapeError, activation

Plan = list[tuple[int, int]]
"""Channels and stride of each layer, the one nearest the image first."""

Width = Annotated[int, Field(ge=1, le=4096)]
Depth = Annotated[int, Field(ge=1, le=8)]
Channels = Annotated[tuple[Width, ...], Field(max_length=16, strict=False)]
Strides = Annotated[tuple[Annotated[int, Field(ge=1, le=4)], ...], Field(max_length=16, strict=False)]
Kernel = Literal[1, 3, 5, 7]
Norm = Literal["batch", "group", "none"]


def check_image(shape: Shape) -> None:
    """Refuse what is not an image.

    Raises:
        ShapeError: where `shape` is not (C, H, W).
    """
    if len(shape) != 3:
        raise ShapeError(f"it is for images (channels, height, width), not {shape}: mlp and lstm take other data")


def plan(width: int, depth: int, channels: tuple[int, ...], strides: tuple[int, ...]) -> Plan:
    """What the options say of each layer.

    Raises:
        ConfigError: where channels and strides are not one each.
    """
    wide = channels or tuple(width * 2**i for i in range(depth))
    step = strides or (2,) * len(wide)
    if len(wide) != len(step):
        raise ConfigError(f"{len(wide)} layers have {len(step)} strides: give one each")
    if max(wide) > 65536:
        raise ConfigError(f"width {width} doubled {depth - 1} times is {max(wide):,} channels: at most 65,536")
    return list(zip(wide, step, strict=True))


def sizes(image: Shape, planned: Plan) -> list[tuple[int, int]]:
    """Height and width of an image (C, H, W) and after each layer: each is divided by the stride, rounded up."""
    found = [(image[1], image[2])]
    for _, stride in planned:
        found.append((-(-found[-1][0] // stride), -(-found[-1][1] // stride)))
    return found


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that uses its running statistics where there is one value a channel, which has no variance."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


class GroupNorm(nn.GroupNorm):
    """Group normalisation that takes nothing from a value that is a group by itself: it would become zero, whatever it was.

    There are up to eight groups, of four channels at least where there are so many: narrower ones say little of a small map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(gcd(channels, min(8, max(1, channels // 4))), channels)

    def forward(self, x: Tensor) -> Tensor:
        if prod(x.shape[1:]) == self.num_groups:
            return x * self.weight[:, None, None] + self.bias[:, None, None]
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def finish(channels: int, norm: str, name: Activation) -> list[nn.Module]:
    """What follows a convolution: the normalisation, then the activation."""
    normalisation: dict[str, list[nn.Module]] = {
        "batch": [BatchNorm(channels)],
        "group": [GroupNorm(channels)],
        "none": [],
    }
    return [*normalisation[norm], activation(name)]
