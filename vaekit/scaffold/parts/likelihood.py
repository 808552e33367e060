"""A Gaussian likelihood of one learned standard deviation."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from vaekit import Likelihood, Shape, distributions


class ExampleLikelihood(Likelihood):
    r"""$\log p(x \mid \theta) = \sum_d \log \mathcal N(x_d; \theta_d, \sigma^2)$, in nats.

    θ (N, *data_shape) gives a density over x (N, *data_shape) on all of the reals; its
    logarithm is in nats per example. One learned $\sigma = \sigma_0 + \log(1 + e^r)$ serves
    every dimension; without the floor $\sigma_0$ the density could grow without end.

    Args:
        floor: below the standard deviation.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013),
        https://arxiv.org/abs/1312.6114, eq. 12.
    """

    name = "example"
    support = constraints.real
    base_measure = "lebesgue"

    def __init__(
        self,
        data_shape: Shape,
        *,
        floor: Annotated[float, Field(ge=1e-6, le=1e3)] = 1e-2,
    ) -> None:
        super().__init__()
        self.floor = floor
        self.raw = nn.Parameter(torch.zeros(()))
        self.in_shape = data_shape
        self.out_shape = data_shape

    def forward(self, theta: Tensor) -> Distribution:
        mean, raw = distributions.promote(theta, self.raw)
        std = self.floor + F.softplus(raw)
        return distributions.normal(mean, std.expand_as(mean))
