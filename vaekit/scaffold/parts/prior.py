"""A normal prior whose mean and scale are learned."""

from math import log
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Posterior, Prior, Shape, ShapeError, Space, distributions


class ExamplePrior(Prior):
    r"""$p(z) = \mathcal N(z; \mu, \operatorname{diag} \sigma^2)$, μ and σ learned, whatever c is.

    c (N, C) gives a distribution of batch (N,) and event root.shape, whose density is in
    nats per example. It starts with mean 0; log σ is held within ±10.

    Args:
        std: the standard deviation that learning starts from.

    References:
        VAE with a VampPrior (Tomczak, Welling; 2017),
        https://arxiv.org/abs/1705.07120, section 2.
    """

    name = "example"

    def __init__(
        self,
        root: Space,
        data_shape: Shape,
        context: int,
        *,
        std: Annotated[float, Field(ge=1e-3, le=1e3)] = 1.0,
    ) -> None:
        super().__init__()
        if root.support != "real":
            raise ShapeError(f"it lives on a real space, not on one of {root.support}")
        self.mean = nn.Parameter(torch.zeros(root.shape))
        self.log_std = nn.Parameter(torch.full(root.shape, log(std)))
        self.out_shape = root.shape

    def forward(self, c: Tensor, posterior: Posterior) -> Distribution:
        mean, log_std = distributions.promote(self.mean, self.log_std)
        shape = (c.shape[0], *self.out_shape)
        std = log_std.clamp(-10, 10).exp()
        return distributions.normal(mean.expand(shape), std.expand(shape))
