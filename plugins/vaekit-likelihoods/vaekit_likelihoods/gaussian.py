"""The Gaussian likelihood, with five ways to find its variance."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaekit import Likelihood, Shape, distributions, mask
from vaekit_likelihoods.density import Sizes
from vaekit_likelihoods.scale import Positive, Scale


class Gaussian(Likelihood):
    r"""$\log p(x \mid \theta) = -\sum_d \frac{(x_d - \mu_d)^2}{2 \sigma_d^2} + \log \sigma_d + \frac12 \log 2\pi$, in nats.

    θ (N, *in_shape) gives a density on all of the reals, over x of (N, *data_shape). in_shape is data_shape, with twice the
    features where the variance is predicted. Data of finitely many levels can have any density where σ may shrink to nothing:
    hence the floor.

    With `optimal`, training scores x with the variance that fits the whole batch best, $\sigma^2 = \overline{(x - \mu)^2}$
    (floored). That is a profile likelihood: it has looked at x, so it is no bound, and losses label it so. A running mean of
    the batches' σ² is what evaluation, sampling and everything else in evaluation mode use, which makes them a density again.

    Args:
        variance: `fixed`; `scalar`, one learned number; `pixel`, one learned number a dimension; `predicted` by the decoder; or
            `optimal`.
        std: the fixed standard deviation, or the one that learning starts from.
        floor: below every standard deviation that is not fixed.

    References:
        Simple and Effective VAE Training with Calibrated Decoders (Rybkin, Daniilidis, Levine; 2020),
        https://arxiv.org/abs/2006.13202, for `optimal`: the variance that is found analytically.
    """

    name = "gaussian"
    support = constraints.real
    base_measure = "lebesgue"

    def __init__(
        self,
        data_shape: Shape,
        *,
        variance: Literal["fixed", "scalar", "pixel", "predicted", "optimal"] = "scalar",
        std: Positive = 1.0,
        floor: Positive = 1e-3,
    ) -> None:
        super().__init__()
        self.optimal = variance == "optimal"
        self.floor = floor
        self.scale = Scale(data_shape, "fixed" if variance == "optimal" else variance, std, floor)
        if self.optimal:
            self.register_buffer("mean_square", torch.tensor(std**2))
            self.register_buffer("batches", torch.tensor(0))
        self.mean_square: Tensor
        self.batches: Tensor
        self.in_shape = self.scale.in_shape
        self.out_shape = data_shape

    @property
    def exact(self) -> bool:
        return not (self.optimal and self.training)

    def forward(self, theta: Tensor) -> Distribution:
        loc, scale = self.scale(theta)
        if not self.optimal:
            return distributions.normal(loc, scale)
        running = distributions.normal(loc, self.mean_square.sqrt().clamp(min=self.floor).to(loc.dtype).expand_as(loc))
        return _Profile(running, self.floor, self._remember) if self.training else running

    def _remember(self, variance: Tensor) -> None:
        with torch.no_grad():
            share = torch.where(self.batches == 0, 1.0, _SHARE)
            self.mean_square.lerp_(variance.to(self.mean_square.dtype), share.to(self.mean_square.dtype))
            self.batches += 1


_SHARE = 0.05  # of the newest batch in the running mean


class _Profile(Distribution):
    """A normal that scores with the variance that fits the scored values best, and samples with the running one."""

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, running: Distribution, floor: float, remember: Callable[[Tensor], None]) -> None:
        super().__init__(running.batch_shape, running.event_shape, validate_args=False)
        self.running, self.floor, self.remember = running, floor, remember

    @property
    def mean(self) -> Tensor:
        return self.running.mean

    def log_prob(self, value: Tensor) -> Tensor:
        there = mask(value)
        squares = torch.where(there, (value - self.mean).detach(), 0).square()
        variance = (squares.sum() / there.sum().clamp(min=1)).clamp(min=self.floor**2)
        self.remember(variance)
        return distributions.normal(self.mean, variance.sqrt().expand_as(self.mean)).log_prob(value)

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        return self.running.sample(sample_shape)
