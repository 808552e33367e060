"""A residual encoder, and its mirror as a decoder."""

from functools import partial
from math import prod
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from vaekit import Activation, Decoder, Shape, join
from vaekit_conv.layers import Channels, Depth, Norm, Strides, Width, check_image, finish, plan, sizes
from vaekit_conv.maps import Joined, MapEncoder
from vaekit_conv.residual import Enlarge, Enlarging, ResidualBlock, convolution

Blocks = Annotated[int, Field(ge=1, le=32)]


class ResNetEncoder(MapEncoder):
    r"""Residual blocks in stages, of which each divides height and width by its stride (rounded up): $x_{l+1} = x_l + f(x_l)$.

    f is normalisation, activation and a convolution, twice, the last one zero at first, so that a block begins as its
    shortcut. Where a stage begins, the shortcut is a convolution of 1 by 1. x (N, C, H, W) and c (N, K) give a map
    h (N, channels, height, width) of any height and width from 1 by 1.

    Args:
        width: channels of the first stage; each further one has twice as many.
        depth: how many stages.
        channels: of each stage, in place of `width` and `depth`.
        strides: of each stage; 2 unless given.
        blocks: residual blocks of each stage.
        norm: `group` (up to eight groups), `batch` or `none`.
        activation: after each normalisation.
        join: where the context comes in: `input`, as further channels of the image, or `features`, as further channels of h.

    References:
        Identity Mappings in Deep Residual Networks (He, Zhang, Ren, Sun; 2016), https://arxiv.org/abs/1603.05027,
        figure 4e.
        Group Normalization (Wu, He; 2018), https://arxiv.org/abs/1803.08494, eq. 7.
    """

    name = "resnet"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        width: Width = 32,
        depth: Depth = 2,
        channels: Channels = (),
        strides: Strides = (),
        blocks: Blocks = 1,
        norm: Norm = "group",
        activation: Activation = "relu",
        join: Joined = "input",
    ) -> None:
        super().__init__()
        planned = plan(width, depth, channels, strides)
        before = planned[0][0]
        layers: list[nn.Module] = [nn.Conv2d(self.wire(in_shape, context, planned, join), before, 3, padding=1)]
        bias = norm == "none"
        for after, stride in planned:
            smaller = partial(convolution, before, after, stride, bias)
            layers.append(ResidualBlock(before, after, smaller, False, norm, activation))
            within = partial(convolution, after, after, 1, bias)
            layers += [ResidualBlock(after, after, within, True, norm, activation) for _ in range(blocks - 1)]
            before = after
        self.layers = nn.Sequential(*layers, *finish(before, norm, activation))


class ResNetDecoder(Decoder):
    r"""A small map from z, then residual blocks in stages up to the image: the mirror of the `resnet` encoder.

    A stage of stride s makes a side of $\lceil n / s \rceil$ s times as large and cuts it to n, so that every height and width
    from 1 by 1 comes out right. A block begins as its shortcut. z (N, *in_shape) and c (N, C) give θ (N, *out_shape). A z of
    rank 3 whose height and width are those of the small map becomes it by a convolution, any other by a dense layer. `width`,
    `depth`, `channels` and `strides` are written as for the encoder, nearest the image first.

    Args:
        width: channels of the stage nearest the image; each further one has twice as many.
        depth: how many stages.
        channels: of each stage, in place of `width` and `depth`.
        strides: of each stage; 2 unless given.
        blocks: residual blocks of each stage.
        upsample: `subpixel`, a convolution to $s^2$ times the channels, which become pixels; or `nearest`, each pixel repeated
            and then a convolution, which leaves no pattern of squares.
        norm: `group` (up to eight groups), `batch` or `none`.
        activation: after each normalisation.

    References:
        Identity Mappings in Deep Residual Networks (He, Zhang, Ren, Sun; 2016), https://arxiv.org/abs/1603.05027,
        figure 4e.
        For `subpixel`: Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
        Network (Shi et al.; 2016), https://arxiv.org/abs/1609.05158, eq. 4.
        For `nearest`: Deconvolution and Checkerboard Artifacts (Odena, Dumoulin, Olah; 2016),
        https://doi.org/10.23915/distill.00003.
    """

    name = "resnet"

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context: int,
        *,
        width: Width = 32,
        depth: Depth = 2,
        channels: Channels = (),
        strides: Strides = (),
        blocks: Blocks = 1,
        upsample: Enlarging = "subpixel",
        norm: Norm = "group",
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        check_image(out_shape)
        planned = plan(width, depth, channels, strides)
        sides = sizes(out_shape, planned)
        before = planned[-1][0]
        self.start = (before, *sides[-1])
        self.grid = len(in_shape) == 3 and tuple(in_shape[1:]) == sides[-1]
        self.enter: nn.Module
        if self.grid:
            self.enter = nn.Conv2d(in_shape[0] + context, before, 3, padding=1)
        else:
            self.enter = nn.Linear(prod(in_shape) + context, prod(self.start))
        layers: list[nn.Module] = []
        bias = norm == "none"
        for i in reversed(range(len(planned))):
            after, stride = planned[max(i - 1, 0)][0], planned[i][1]
            larger = partial(Enlarge, before, after, stride, sides[i], upsample, bias)
            layers.append(ResidualBlock(before, after, larger, False, norm, activation))
            within = partial(convolution, after, after, 1, bias)
            layers += [ResidualBlock(after, after, within, True, norm, activation) for _ in range(blocks - 1)]
            before = after
        head = nn.Conv2d(before, out_shape[0], 3, padding=1)
        self.layers = nn.Sequential(*layers, *finish(before, norm, activation), head)
        self.out_shape = out_shape

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        h = self.enter(join(z if self.grid else z.flatten(1), c))
        theta: Tensor = self.layers(h.reshape(-1, *self.start))
        return theta
