"""Residual blocks, and the layers that they are made of."""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vaekit import Activation
from vaekit_conv.layers import finish

Enlarging = Literal["subpixel", "nearest"]


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, each after normalisation and activation; it begins as the shortcut alone.

    Args:
        before: channels that it takes.
        after: channels that it gives.
        layer: makes its first layer of a size of the filters, and the shortcut where there must be one.
        same: whether what it gives has the shape of what it takes, which then is the shortcut.
        norm: `batch`, `group` or `none`.
        activation: after each normalisation.
    """

    def __init__(
        self, before: int, after: int, layer: Callable[[int], nn.Module], same: bool, norm: str, activation: Activation
    ) -> None:
        super().__init__()
        self.enter = nn.Sequential(*finish(before, norm, activation))
        self.shortcut = None if same else layer(1)
        last = nn.Conv2d(after, after, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.layers = nn.Sequential(layer(3), *finish(after, norm, activation), last)

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x)
        kept = x if self.shortcut is None else self.shortcut(h)
        block: Tensor = kept + self.layers(h)
        return block


class Enlarge(nn.Module):
    """A convolution that makes a map larger, to a height and width of which each is at most `stride` times as large.

    Args:
        before: channels that it takes.
        after: channels that it gives.
        stride: how many times as large; what is beyond `size` is cut off.
        size: height and width of what it gives.
        how: `subpixel`, channels become pixels after the convolution; `nearest`, pixels are repeated before it.
        bias: whether the convolution has one.
        kernel: height and width of the filters.
    """

    def __init__(
        self, before: int, after: int, stride: int, size: tuple[int, int], how: Enlarging, bias: bool, kernel: int
    ) -> None:
        super().__init__()
        self.subpixel = how == "subpixel"
        self.conv_first = self.subpixel or kernel == 1  # a pixel alone is the same before it is repeated and after
        self.stride, self.size = stride, size
        self.conv = nn.Conv2d(before, after * (stride**2 if self.subpixel else 1), kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.conv_first:
            return self._enlarged(self.conv(x))
        h: Tensor = self.conv(self._enlarged(x))
        return h

    def _enlarged(self, x: Tensor) -> Tensor:
        times = self.stride
        large = F.pixel_shuffle(x, times) if self.subpixel else F.interpolate(x, scale_factor=times, mode="nearest")
        height, width = self.size
        return large[:, :, :height, :width]


def convolution(before: int, after: int, stride: int, bias: bool, kernel: int) -> nn.Module:
    """A convolution that divides height and width by its stride, rounded up."""
    return nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=bias)
