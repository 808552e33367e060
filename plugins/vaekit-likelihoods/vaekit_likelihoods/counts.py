"""Likelihoods of counts: Poisson and negative binomial."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Gamma, constraints

from vaekit import Likelihood, Shape, distributions
from vaekit_likelihoods.density import Factorized, Sizes
from vaekit_likelihoods.scale import Mode, Positive, Scale
from vaekit_likelihoods.stirling import HALF_LOG_2PI, rest

_STRAIGHT = 8.0


class _OfCounts(Likelihood):
    support = constraints.nonnegative_integer
    base_measure = "counting"

    def seen(self, x: Tensor) -> Tensor:
        return x.clamp(min=0).log1p()


class Poisson(_OfCounts):
    r"""$\log p(x \mid \theta) = \sum_d x_d \log \mu_d - \mu_d - \log x_d!$, in nats per example.

    θ (N, *data_shape) gives a distribution over counts x: whole numbers from 0, as floats. The rate is $\mu = e^\theta$ up to
    $\theta = 8$ and goes on in a straight line from there, $\mu = e^8 (\theta - 7)$, so that no step of training takes it so
    high that none leads back. It is computed so that large terms do not cancel, for counts in the millions too. The encoder
    sees $\log(1 + x)$.

    References:
        Fast and Accurate Computation of Binomial Probabilities (Loader; 2000), section 3, for the way in which it is computed.
    """

    name = "poisson"

    def __init__(self, data_shape: Shape) -> None:
        super().__init__()
        self.in_shape = self.out_shape = data_shape

    def forward(self, theta: Tensor) -> Distribution:
        (theta,) = distributions.promote(theta)
        return _Poisson(_log_mean(theta))


class NegativeBinomial(_OfCounts):
    r"""$\sum_d \log \binom{x_d + r - 1}{x_d} + r \log \frac r{r + \mu_d} + x_d \log \frac{\mu_d}{r + \mu_d}$, in nats.

    θ (N, *in_shape) gives a distribution over counts x of (N, *data_shape): whole numbers from 0, as floats. It is a Poisson
    distribution whose rate has a gamma distribution. The mean μ is made of θ as the rate of `poisson` is, and the variance is
    $\mu + \mu^2 / r$: r is the inverse dispersion, and a large one makes it Poisson. in_shape is data_shape, with twice the
    features where r is predicted. The encoder sees $\log(1 + x)$.

    Args:
        dispersion: of r: `fixed`; `scalar`, one learned number; `pixel`, one learned number a dimension; `predicted` by the
            decoder.
        initial: the fixed r, or the one that learning starts from.
        floor: below every r that is not fixed.

    References:
        Deep generative modeling for single-cell transcriptomics (Lopez, Regier, Cole, Jordan, Yosef; 2018),
        https://doi.org/10.1038/s41592-018-0229-2, methods, for the mean and the inverse dispersion as its parameters.
    """

    name = "negative-binomial"

    def __init__(
        self, data_shape: Shape, *, dispersion: Mode = "pixel", initial: Positive = 1.0, floor: Positive = 1e-3
    ) -> None:
        super().__init__()
        self.dispersion = Scale(data_shape, dispersion, initial, floor)
        self.in_shape = self.dispersion.in_shape
        self.out_shape = data_shape

    def forward(self, theta: Tensor) -> Distribution:
        mean, r = self.dispersion(theta)
        return _NegativeBinomial(_log_mean(mean), r)


def _log_mean(theta: Tensor) -> Tensor:
    r"""$\log \mu$: θ up to 8, and $8 + \log(\theta - 7)$ above."""
    above = F.relu(theta - _STRAIGHT)
    return torch.where(above > 0, _STRAIGHT + torch.log1p(above), theta)


class _Poisson(Factorized):
    def __init__(self, log_rate: Tensor) -> None:
        super().__init__(log_rate.shape)
        self.log_rate = log_rate

    @property
    def mean(self) -> Tensor:
        return self.log_rate.exp()

    def log_terms(self, value: Tensor) -> Tensor:
        k = value.clamp(min=1)
        ratio = self.log_rate - k.log()
        some = k * (ratio - torch.expm1(ratio)) - 0.5 * k.log() - HALF_LOG_2PI - rest(k, k.log())
        return torch.where(value == 0, -self.log_rate.exp(), some)

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        with torch.no_grad():
            return torch.poisson(self.mean.expand(*sample_shape, *self.mean.shape))


class _NegativeBinomial(Factorized):
    def __init__(self, log_mean: Tensor, r: Tensor) -> None:
        super().__init__(log_mean.shape)
        self.log_mean, self.r = log_mean, r

    @property
    def mean(self) -> Tensor:
        return self.log_mean.exp()

    def log_terms(self, value: Tensor) -> Tensor:
        k = value.clamp(min=1)
        n, log_r = k + self.r, self.r.log()
        ratio = self.log_mean - k.log()
        log_n, log_m = n.log(), torch.logaddexp(self.log_mean, log_r)
        close = (log_m - log_n).abs() < 0.5
        log_share = torch.where(close, torch.log1p(torch.where(close, k / n * torch.expm1(ratio), 0.0)), log_m - log_n)
        fit = k * ratio - n * log_share
        spread = 0.5 * (log_r - log_n - k.log()) - HALF_LOG_2PI
        some = fit + spread + rest(n, log_n) - rest(self.r, log_r) - rest(k, k.log())
        return torch.where(value == 0, -self.r * F.softplus(self.log_mean - log_r), some)

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        with torch.no_grad():
            rates = Gamma(self.r, self.r / self.mean, validate_args=False).sample(torch.Size(sample_shape))
            return torch.poisson(rates)
