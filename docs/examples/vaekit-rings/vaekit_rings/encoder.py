"""Images read by the distance from their middle."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from vaekit import Encoder, Shape, ShapeError, join


class RadialEncoder(Encoder):
    r"""$h = \tanh(W [r, c] + b)$, where $r_k$ is the mean of x over its k-th ring.

    Rings of equal width lie about the middle and reach to the corners. Each channel of x has its
    own means, $r_k = \sum_{p \in R_k} x_p / |R_k|$; that of a ring without pixels is 0.
    x (N, channels, height, width) and c (N, C) give h (N, features).

    Args:
        rings: how many there are from the middle to the corners.
        features: width of the layer.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013),
        https://arxiv.org/abs/1312.6114, eq. 12, of the means in place of x.
    """

    name = "radial"
    average: Tensor

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        rings: Annotated[int, Field(ge=1, le=256)] = 8,
        features: Annotated[int, Field(ge=1, le=65536)] = 64,
    ) -> None:
        super().__init__()
        if len(in_shape) != 3:
            raise ShapeError(f"it is for images (channels, height, width), not for {in_shape}")
        channels, height, width = in_shape
        row = torch.arange(height) - (height - 1) / 2
        column = torch.arange(width) - (width - 1) / 2
        distance = torch.hypot(row[:, None], column).flatten()
        ring = (rings * distance / (distance.max() + 0.5)).long()
        member = (ring[:, None] == torch.arange(rings)).float()  # (height * width, rings)
        self.register_buffer("average", member / member.sum(0).clamp(min=1))
        self.layer = nn.Linear(channels * rings + context, features)
        self.out_shape = (features,)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        means = x.flatten(2) @ self.average  # (N, channels, rings)
        return torch.tanh(self.layer(join(means.flatten(1), c)))
