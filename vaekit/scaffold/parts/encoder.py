"""One dense layer over the data and the context."""

from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from vaekit import Encoder, Shape, join


class ExampleEncoder(Encoder):
    r"""$h = \tanh(W [x, c] + b)$, over the flattened data and the context.

    x (N, *in_shape) and c (N, C) give h (N, features).

    Args:
        features: width of the layer.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013),
        https://arxiv.org/abs/1312.6114, eq. 12.
    """

    name = "example"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        features: Annotated[int, Field(ge=1, le=65536)] = 256,
    ) -> None:
        super().__init__()
        self.layer = nn.Linear(prod(in_shape) + context, features)
        self.out_shape = (features,)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return torch.tanh(self.layer(join(x.flatten(1), c)))
