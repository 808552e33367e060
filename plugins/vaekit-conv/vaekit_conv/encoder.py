"""A convolutional encoder."""

from typing import Literal

from torch import Tensor, nn

from vaekit import Activation, Encoder, Shape, join, widen
from vaekit_conv.layers import Channels, Depth, Kernel, Norm, Strides, Width, check_image, finish, plan, sizes


class ConvEncoder(Encoder):
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
        join: Literal["input", "features"] = "input",
    ) -> None:
        super().__init__()
        check_image(in_shape)
        self.at_input = join == "input"
        before = in_shape[0] + (context if self.at_input else 0)
        layers: list[nn.Module] = []
        planned = plan(width, depth, channels, strides)
        for after, stride in planned:
            layers.append(nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=norm == "none"))
            layers += finish(after, norm, activation)
            before = after
        self.layers = nn.Sequential(*layers)
        height, width = sizes(in_shape, [stride for _, stride in planned])[-1]
        self.out_shape = widen((before, height, width), plus=0 if self.at_input else context)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        if self.at_input:
            h: Tensor = self.layers(join(x, c))
            return h
        return join(self.layers(x), c)
