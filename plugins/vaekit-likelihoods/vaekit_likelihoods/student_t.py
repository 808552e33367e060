"""Student's t likelihood."""

import torch
from torch import Tensor
from torch.distributions import Distribution, StudentT, constraints

from vaekit import Likelihood, Shape, widen
from vaekit_likelihoods.density import Factorized, Sizes
from vaekit_likelihoods.scale import Mode, Positive, Scale, features, with_scales
from vaekit_likelihoods.stirling import HALF_LOG_2PI, rest


class Student(Likelihood):
    r"""$-\sum_d \frac{\nu + 1}2 \log(1 + \frac{(x_d - \mu_d)^2}{\nu s^2}) + \log s + \log Z(\nu)$, in nats per example.

    The constant is $Z(\nu) = \sqrt{\pi \nu} \, \Gamma(\frac \nu 2) / \Gamma(\frac{\nu + 1}2)$.
    θ (N, *in_shape) gives a density on all of the reals, over x of (N, *data_shape): a Gaussian with tails so heavy that far
    outliers cost little. The fewer degrees of freedom ν, the heavier: ν = 1 is the Cauchy distribution, and a large ν the
    Gaussian. in_shape is data_shape, with one more of its features for each of s and ν that is predicted: μ, s, ν. What stands
    for the mean is μ, which for ν of 1 and less, where no mean exists, is the median.

    Args:
        scale: of s: `fixed`; `scalar`, one learned number; `pixel`, one learned number a dimension; `predicted` by the decoder.
        initial: the fixed s, or the one that learning starts from.
        floor: below every s that is not fixed.
        freedom: of ν, the degrees of freedom: `fixed`, `scalar`, `pixel` or `predicted`, likewise.
        degrees: the fixed ν, or the one that learning starts from.
        least: below every ν that is not fixed.

    References:
        Robust Statistical Modeling Using the t Distribution (Lange, Little, Taylor; 1989),
        https://doi.org/10.1080/01621459.1989.10478852, section 2.
    """

    name = "student-t"
    support = constraints.real
    base_measure = "lebesgue"

    def __init__(
        self,
        data_shape: Shape,
        *,
        scale: Mode = "scalar",
        initial: Positive = 1.0,
        floor: Positive = 1e-3,
        freedom: Mode = "scalar",
        degrees: Positive = 5.0,
        least: Positive = 1.0,
    ) -> None:
        super().__init__()
        self.scale = Scale(data_shape, scale, initial, floor)
        self.freedom = Scale(data_shape, freedom, degrees, least)
        self.in_shape = widen(data_shape, times=features(self.scale, self.freedom))
        self.out_shape = data_shape

    def forward(self, theta: Tensor) -> Distribution:
        return _Student(*with_scales(theta, self.scale, self.freedom))


class _Student(Factorized):
    def __init__(self, loc: Tensor, scale: Tensor, degrees: Tensor) -> None:
        super().__init__(loc.shape)
        self.loc, self.scale, self.degrees = loc, scale, degrees

    @property
    def mean(self) -> Tensor:
        return self.loc

    def log_terms(self, value: Tensor) -> Tensor:
        half = self.degrees / 2
        gammas = half * torch.log1p(0.5 / half) - 0.5 + rest(half + 0.5, (half + 0.5).log()) - rest(half, half.log())
        away = (value - self.loc) / self.scale
        return gammas - HALF_LOG_2PI - self.scale.log() - (half + 0.5) * torch.log1p(away**2 / self.degrees)

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        p = StudentT(self.degrees, self.loc, self.scale, validate_args=False)
        drawn: Tensor = p.sample(torch.Size(sample_shape))
        return drawn
