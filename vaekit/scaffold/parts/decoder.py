"""One hidden layer between the latent and the data."""

from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from vaekit import Decoder, Shape, join


class ExampleDecoder(Decoder):
    r"""$\theta = W_2 \tanh(W_1 [z, c] + b_1) + b_2$, over the flattened z and the context.

    z (N, *in_shape) and c (N, C) give θ (N, *out_shape), which the likelihood takes.

    Args:
        hidden: width of the hidden layer.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013),
        https://arxiv.org/abs/1312.6114, eq. 11.
    """

    name = "example"

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context: int,
        *,
        hidden: Annotated[int, Field(ge=1, le=65536)] = 256,
    ) -> None:
        super().__init__()
        self.hidden = nn.Linear(prod(in_shape) + context, hidden)
        self.head = nn.Linear(hidden, prod(out_shape))
        self.out_shape = out_shape

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        h = torch.tanh(self.hidden(join(z.flatten(1), c)))
        theta: Tensor = self.head(h)
        return theta.reshape(-1, *self.out_shape)
