"""The continuous Bernoulli likelihood."""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaekit import Likelihood, Shape, distributions
from vaekit_likelihoods.density import Factorized, Sizes


class ContinuousBernoulli(Likelihood):
    r"""$\log p(x \mid \theta) = \sum_d \theta_d x_d - \log \frac{e^{\theta_d} - 1}{\theta_d}$, in nats per example.

    θ (N, *data_shape), the logits, gives a density on [0, 1]: what a Bernoulli's formula needs to be one for grey values.
    The normaliser is $\theta/2 + \log \frac{\sinh(\theta/2)}{\theta/2}$, with a series near 0, exact however large the logits.

    References:
        The continuous Bernoulli: fixing a pervasive error in variational autoencoders (Loaiza-Ganem, Cunningham; 2019),
        https://arxiv.org/abs/1907.06845, section 3.
    """

    name = "continuous-bernoulli"
    support = constraints.unit_interval
    base_measure = "lebesgue"

    def __init__(self, data_shape: Shape) -> None:
        super().__init__()
        self.in_shape = self.out_shape = data_shape

    def forward(self, theta: Tensor) -> Distribution:
        return _ContinuousBernoulli(*distributions.promote(theta))


class _ContinuousBernoulli(Factorized):
    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.shape)
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        """1 / (1 - exp(-l)) - 1 / l; by the size of l, so that nothing overflows, in the gradient neither."""
        small, logit = _away_from_zero(self.logits)
        series = 0.5 + self.logits / 12 - self.logits**3 / 720
        size = logit.abs()
        from_the_high_end = 1 / size + torch.exp(-size) / torch.expm1(-size)
        return torch.where(small, series, torch.where(logit > 0, 1 - from_the_high_end, from_the_high_end))

    def log_terms(self, value: Tensor) -> Tensor:
        return self.logits * value - log_normaliser(self.logits)

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        """By inverting the distribution function, from the side where the density is high."""
        with torch.no_grad():
            u = self.uniform(sample_shape, self.logits)
            small, logit = _away_from_zero(self.logits)
            size = logit.abs()
            from_the_high_end = -torch.log(u + (1 - u) * torch.exp(-size)) / size
            x = torch.where(logit > 0, 1 - from_the_high_end, from_the_high_end)
            return torch.where(small, u, x).clamp(0, 1)


def log_normaliser(logits: Tensor) -> Tensor:
    """log of the integral of exp(l x) over [0, 1]."""
    small, logit = _away_from_zero(logits)
    half = logit.abs() / 2
    large = half + torch.log1p(-torch.exp(-2 * half)) - torch.log(2 * half)  # log (sinh(a) / a)
    square = (logits / 2) ** 2
    series = square / 6 - square**2 / 180
    return logits / 2 + torch.where(small, series, large)


def _away_from_zero(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Where the series is used, and the logits with 1 in those places, so that no gradient is NaN there."""
    small = logits.abs() < 0.1
    return small, torch.where(small, 1.0, logits)
