"""The spatial broadcast decoder."""

from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from vaekit import Activation, Decoder, Shape, join
from vaekit_conv.layers import Kernel, Norm, Width, check_image, finish


class SpatialBroadcastDecoder(Decoder):
    r"""z at every pixel beside the pixel's place, then convolutions that keep the size: $\theta = f([z, c, u, v])$.

    The place $(u, v)$ of row i and column j is the pixel's centre, $((2i + 1) / H - 1, (2j + 1) / W - 1)$, where -1 and 1 are
    the edges of the image; in the paper they are the centres of its outermost pixels. The first layer is a convolution of 1 by
    1, whatever the kernel: $A [z, c] + B [u, v] + b$, of which the part of z and c is computed once for all pixels, and the
    other once for all examples. A wider filter could do no more, but where it reaches beyond the edges: z and c are the same
    at every pixel, and places are linear. z (N, *in_shape) and c (N, C) give θ (N, *out_shape), of any height and width from
    1 by 1.

    Args:
        width: channels of each layer but the last.
        depth: how many layers, the last one not counted.
        kernel: height and width of the filters of all layers but the first.
        norm: `none`, `batch` or `group` (up to eight groups).
        activation: after each normalisation.

    References:
        Spatial Broadcast Decoder: A Simple Architecture for Learning Disentangled Representations in VAEs (Watters, Matthey,
        Burgess, Lerchner; 2019), https://arxiv.org/abs/1901.07017, algorithm 1.
    """

    name = "spatial-broadcast"
    places: Tensor

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context: int,
        *,
        width: Width = 32,
        depth: Annotated[int, Field(ge=1, le=32)] = 3,
        kernel: Kernel = 3,
        norm: Norm = "none",
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        check_image(out_shape)
        self.latent = nn.Linear(prod(in_shape) + context, width)
        self.place = nn.Conv2d(2, width, 1, bias=False)
        layers = finish(width, norm, activation)
        for _ in range(depth - 1):
            layers.append(nn.Conv2d(width, width, kernel, padding=kernel // 2, bias=norm == "none"))
            layers += finish(width, norm, activation)
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, out_shape[0], kernel, padding=kernel // 2))
        places = torch.meshgrid(*((2 * torch.arange(n) + 1) / n - 1 for n in out_shape[1:]), indexing="ij")
        self.register_buffer("places", torch.stack(places)[None], persistent=False)
        self.out_shape = out_shape

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        h = self.latent(join(z.flatten(1), c))[:, :, None, None] + self.place(self.places)
        theta: Tensor = self.layers(h)
        return theta
