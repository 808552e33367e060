"""A convolutional encoder."""

from torch import nn

from vaekit import Activation, Shape
from vaekit_conv.layers import Channels, Depth, Kernel, Norm, Strides, Width, finish, plan
from vaekit_conv.maps import Joined, MapEncoder


class ConvEncoder(MapEncoder):
    """Convolutions, each dividing height and width by its stride (rounded up), with normalisation and activation.

    x (N, C, H, W) and c (N, K) give a map h (N, channels, height, width) of any height and width from 1 by 1.

    Args:
        width: channels of the first layer; each further one has twice as many.
        depth: how many layers.
        channels: of each layer, in place of `width` and `depth`.
        strides: of each layer; 2 unless given.
        kernel: height and width of the filters.
        norm: `batch`, `group` (up to eight groups) or `none`.
        activation: after each normalisation.
        join: where the context comes in: `input`, as further channels of the image, or `features`, as further channels of h.

    References:
        Unsupervised Representation Learning with DCGAN (Radford, Metz, Chintala; 2015), https://arxiv.org/abs/1511.06434,
        section 3.
    """

    name = "conv"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        width: Width = 32,
        depth: Depth = 2,
        channels: Channels = (),
        strides: Strides = (),
        kernel: Kernel = 3,
        norm: Norm = "batch",
        activation: Activation = "relu",
        join: Joined = "input",
    ) -> None:
        super().__init__()
        planned = plan(width, depth, channels, strides)
        before = self.wire(in_shape, context, planned, join)
        layers: list[nn.Module] = []
        for after, stride in planned:
            layers.append(nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=norm == "none"))
            layers += finish(after, norm, activation)
            before = after
        self.layers = nn.Sequential(*layers)
